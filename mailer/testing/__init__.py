"""Embedded parts, for try-outs and tests: a Redis server, an SMTP server, worker processes."""

from mailer.testing.faults import (
    Action,
    Fault,
    go_away,
    greylist,
    hang,
    hang_up_once,
    lose_reply,
    refuse,
    say,
    slow,
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
    "eventually",
    "go_away",
    "greylist",
    "hang",
    "hang_up_once",
    "lose_reply",
    "refuse",
    "say",
    "slow",
]
