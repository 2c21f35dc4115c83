"""The figures of ``mailer stats``."""

import json
from datetime import UTC, datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailer.client import Mailer
from mailer.job import JobState


class Pause(msgspec.Struct, frozen=True):
    """A relay that some worker has paused."""

    relay: str
    reason: str
    until: datetime
    by: str


class Statistics(msgspec.Struct, frozen=True):
    """What is recorded now."""

    counts: dict[JobState, int]
    paused: list[Pause]


def read(mailer: Mailer) -> Statistics:
    """Ask the store."""
    pauses = [
        msgspec.convert({"relay": relay, **json.loads(note)}, Pause, strict=False)
        for relay, note in mailer.paused_relays().items()
    ]
    now = datetime.now(UTC)
    return Statistics(mailer.counts(), [pause for pause in pauses if pause.until > now])


def table(statistics: Statistics) -> RenderableType:
    """Show them to a person."""
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_column()
    counts.add_column(justify="right")
    for state, count in statistics.counts.items():
        counts.add_row(str(state), f"{count:,}", style="" if count else "dim")
    notes = [
        Text(f"paused: {p.relay} until {p.until:%H:%M:%S} UTC: {p.reason}", style="red")
        for p in statistics.paused
    ]
    return Group(counts, *notes)
