"""Embedded parts, for try-outs and tests: a Redis server, an SMTP server, worker processes."""

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
from mailer.testing.redis import EmbeddedRedis, EmbeddedRedisError
from mailer.testing.smtp import SmtpServer, SmtpServerThread
from mailer.testing.smtp_state import Options, Received
from mailer.testing.waiting import eventually

__all__ = [
    "Action",
    "EmbeddedRedis",
    "EmbeddedRedisError",
    "Fault",
    "Options",
    "Received",
    "SmtpServer",
    "SmtpServerThread",
    "add",
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
    "refuse",
    "say",
    "slow",
    "too_fast",
    "trickle",
]
