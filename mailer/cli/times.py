"""Times as people write and read them."""

import re
from datetime import UTC, datetime, timedelta

import typer

_FROM_NOW = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str) -> datetime:
    """Read ``10m``, ``2h`` or ``1d`` from now, or a date and time with its zone."""
    if match := _FROM_NOW.fullmatch(text):
        return datetime.now(UTC) + timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write 10m, 2h, 1d or 2026-12-24T18:00+01:00"
        ) from None
    return moment if moment.utcoffset() is not None else moment.astimezone()


def shown(moment: datetime | None) -> str:
    """Write a time in this machine's zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def how_long(seconds: float) -> str:
    """Write a span of time: ``in 5 min``, ``3 h ago``."""
    amount, unit = abs(seconds), "s"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if amount >= size:
            amount, unit = amount / size, name
            break
    span = f"{amount:.0f} {unit}"
    return f"in {span}" if seconds >= 0 else f"{span} ago"


def from_now(moment: datetime) -> str:
    """Say how far a time is from now, by this machine's clock."""
    return how_long((moment - datetime.now(UTC)).total_seconds())
