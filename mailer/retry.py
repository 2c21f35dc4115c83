"""How long to wait between attempts, and when to give up: the policy, as a value."""

from datetime import timedelta
from typing import Any

import msgspec

from mailer.errors import InvalidEmail

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_LONGEST = 366 * DAY
_ENDLESS = 1e15


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a deferred message is tried again (RFC 5321, section 4.5.4.1).

    Attributes:
        delays: seconds after the first, second, … attempt; the last one repeats.
        jitter: each delay is lengthened by a random share of itself, up to this one.
        give_up_after: seconds since the message was first due, after which a deferral is final.
        max_attempts: the most attempts in all, or None for no limit.
    """

    delays: tuple[float, ...] = (
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
    )
    jitter: float = 0.2
    give_up_after: float = 5 * DAY
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        # What JSON can't hold would be stored, and could never be read again: inf becomes null.
        if not isinstance(self.delays, tuple | list) or not self.delays:
            raise InvalidEmail("retry.delays", "needs at least one delay, none of them negative")
        if not all(_is_number(delay) and 0 <= delay <= _LONGEST for delay in self.delays):
            raise InvalidEmail("retry.delays", "are seconds, none of them negative or over a year")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise InvalidEmail("retry.jitter", "is a share of the delay, from 0 to 1")
        if not _is_number(self.give_up_after) or self.give_up_after <= 0:
            raise InvalidEmail("retry.give_up_after", "is a finite number of seconds above 0")
        attempts = self.max_attempts
        if attempts is not None and (type(attempts) is not int or attempts < 1):
            raise InvalidEmail("retry.max_attempts", "is at least 1, or None for no limit")
        msgspec.structs.force_setattr(self, "delays", tuple(self.delays))

    def delay(self, attempts: int) -> timedelta:
        """Return the wait after ``attempts`` attempts (at least 1), before jitter."""
        return timedelta(seconds=self.delays[min(attempts, len(self.delays)) - 1])


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) < _ENDLESS
