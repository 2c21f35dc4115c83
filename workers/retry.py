"""When to try again, or that it is over: a pure decision, made in one place."""

import attrs

from mailer.retry import RetryPolicy


@attrs.frozen
class Retry:
    """Try again after this many milliseconds."""

    delay_ms: int


@attrs.frozen
class GiveUp:
    """Try no more."""

    reason: str


LEAST_SECONDS = 60.0  # however soon a server wants to be tried again, unless the policy is quicker


def decide(
    policy: RetryPolicy, *, tries: int, age_ms: int, chance: float, wait: float | None = None
) -> Retry | GiveUp:
    """Decide after a temporary failure.

    Args:
        policy: what was agreed for this email.
        tries: attempts made so far, this one included.
        age_ms: since the email was first due.
        chance: from 0 up to 1, for the jitter.
        wait: the seconds that the server asked for, which count instead of the policy's.
    """
    if policy.max_attempts is not None and tries >= policy.max_attempts:
        return GiveUp(f"given up after {tries} attempts")
    delay = policy.delay(tries).total_seconds()
    if wait is not None:
        delay = max(wait, min(delay, LEAST_SECONDS))
    delay *= 1 + policy.jitter * chance
    if age_ms / 1000 + delay > policy.give_up_after:
        return GiveUp(f"given up after {_duration(policy.give_up_after)}")
    return Retry(round(delay * 1000))


def _duration(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= unit:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} seconds"
