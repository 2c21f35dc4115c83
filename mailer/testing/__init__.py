"""For tests: an outbox; and real parts, an SMTP server, a Redis server, a worker."""

from mailer.testing.criteria import Criteria, containing
from mailer.testing.faults import (
    Action,
    Fault,
    add,
    endless_line,
    endless_reply,
    garbage,
    go_away,
    greylist,
    hang,
    hang_up_once,
    lose_pipelined,
    lose_reply,
    no_chunking,
    refuse,
    say,
    slow,
    too_fast,
    trickle,
)
from mailer.testing.live import LiveWorker
from mailer.testing.outbox import Outbox, OutboxMixin, outbox
from mailer.testing.redis import EmbeddedRedis, EmbeddedRedisError
from mailer.testing.sent import SentAttachment, SentEmail
from mailer.testing.smtp import SmtpServer, SmtpServerThread
from mailer.testing.smtp_state import Options, Received
from mailer.testing.waiting import eventually

__all__ = [
    "Action",
    "Criteria",
    "EmbeddedRedis",
    "EmbeddedRedisError",
    "Fault",
    "LiveWorker",
    "Options",
    "Outbox",
    "OutboxMixin",
    "Received",
    "SentAttachment",
    "SentEmail",
    "SmtpServer",
    "SmtpServerThread",
    "add",
    "containing",
    "endless_line",
    "endless_reply",
    "eventually",
    "garbage",
    "go_away",
    "greylist",
    "hang",
    "hang_up_once",
    "lose_pipelined",
    "lose_reply",
    "no_chunking",
    "outbox",
    "refuse",
    "say",
    "slow",
    "too_fast",
    "trickle",
]
