"""When to try again, or that it is over: a pure decision, made in one place."""

import msgspec

from mailer.retry import RetryPolicy


class Retry(msgspec.Struct, frozen=True):
    """Try again after this many milliseconds, and why just then."""

    delay_ms: int
    because: str


class GiveUp(msgspec.Struct, frozen=True):
    """Try no more."""

    reason: str


LEAST_SECONDS = 60.0  # however soon a server wants to be tried again, unless the policy is quicker


def decide(
    policy: RetryPolicy,
    *,
    tries: int,
    age_ms: int,
    chance: float,
    wait: float | None = None,
    least: float = 0.0,
) -> Retry | GiveUp:
    """Decide after a temporary failure.

    Args:
        policy: what was agreed for this email.
        tries: attempts made so far, this one included.
        age_ms: since the email was first due.
        chance: from 0 up to 1, for the jitter.
        wait: the seconds that the server asked for, which count instead of the policy's.
        least: what servers that say so usually want; never more than the policy's longest.
    """
    if policy.max_attempts is not None and tries >= policy.max_attempts:
        return GiveUp(f"given up after {tries} attempts")
    delay = policy.delay(tries).total_seconds()
    because = f"the retry policy waits {_duration(delay)} after attempt {tries}"
    usual = min(least, max(policy.delays))
    if wait is None and usual > delay:
        delay = usual
        because = f"servers that say so want to be left alone for {_duration(usual)}"
    if wait is not None:
        delay = max(wait, min(delay, LEAST_SECONDS))
        because = f"the server asked for {_duration(wait)}"
    if jitter := policy.jitter * chance * delay:
        because += f", and {_duration(jitter)} more by chance"
        delay += jitter
    if age_ms / 1000 + delay > policy.give_up_after:
        return GiveUp(f"given up after {_duration(policy.give_up_after)}")
    return Retry(round(delay * 1000), because)


def _duration(seconds: float) -> str:
    units = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, name = next((unit for unit in units if seconds >= unit[0]), units[-1])
    amount = f"{seconds / size:.3g}"
    return f"{amount} {name}" if amount == "1" else f"{amount} {name}s"
