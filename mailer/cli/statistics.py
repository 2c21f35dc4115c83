"""The figures of ``mailer stats``."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mailer.cli.times import shown
from mailer.client import Mailer
from mailer.job import JobState
from mailer.store.limits import Pace
from mailer.store.relays import RelayPause


class Statistics(msgspec.Struct, frozen=True):
    """What is recorded now."""

    counts: dict[JobState, int]
    paused: list[RelayPause]
    paces: list[Pace]


def read(mailer: Mailer) -> Statistics:
    """Ask the store."""
    pauses, paces = mailer.paused_relays(), mailer.paces()
    return Statistics(mailer.counts(), list(pauses.values()), list(paces.values()))


def table(statistics: Statistics) -> RenderableType:
    """Show them to a person."""
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_column()
    counts.add_column(justify="right")
    for state, count in statistics.counts.items():
        counts.add_row(str(state), f"{count:,}", style="" if count else "dim")
    slow = [
        Text(f"{p.name}: a message every {p.interval:g} s, for it said: {p.reason}", style="yellow")
        for p in statistics.paces
    ]
    return Group(counts, *paused(statistics.paused), *slow)


def paused(pauses: Iterable[RelayPause]) -> Iterator[Text]:
    """Show the relays that are paused, a line for each."""
    now = datetime.now(UTC)
    for pause in pauses:
        until = f"until {shown(pause.until)}" if pause.until > now else "until one gets through"
        yield Text(f"relay {pause.relay} is paused {until}: {pause.reason}", style="red")
