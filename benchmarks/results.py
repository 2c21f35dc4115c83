"""What was measured: figures of every round, so that ratios are taken within one."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import frozen

Kind = Literal["ours", "peer", "limit"]


@frozen
class Series:
    """One figure, once for each round."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> "Series":
        """Keep the values."""
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)

    def __truediv__(self, other: "Series") -> "Series":
        """Return the ratio of each round; what was measured once is compared with each."""
        rounds = max(len(self.values), len(other.values))
        ours, theirs = (s.values if s.values[1:] else s.values * rounds for s in (self, other))
        return Series(tuple(a / b for a, b in zip(ours, theirs, strict=True)))


@frozen
class Row:
    """What one contender, or one case, has shown in a workload.

    Attributes:
        name: for code and command lines.
        label: for tables.
        figures: by their names, which have the unit in them.
        note: what else there is to know, such as the layout.
    """

    name: str
    label: str
    figures: Mapping[str, Series]
    kind: Kind = "ours"
    note: str = ""


@frozen
class Curve:
    """Points of a plot."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@frozen
class Found:
    """What a workload has shown.

    Attributes:
        notes: sentences that belong below the table.
    """

    workload: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()

    def row(self, name: str) -> Row | None:
        """Return the row of that name, where it was measured."""
        return next((row for row in self.rows if row.name == name), None)

    def series(self, name: str, figure: str) -> Series | None:
        """Return a figure, where it was measured."""
        row = self.row(name)
        return row.figures.get(figure) if row else None


@frozen
class Verdict:
    """A figure that was promised, and what was found; ``holds`` is None where it wasn't measured.

    Attributes:
        bound: in words, such as ``≥ 5``.
        aim: what would be better yet, in words, or nothing.
    """

    figure: str
    bound: str
    aim: str
    found: Series | None
    holds: bool | None


@frozen
class Results:
    """All of a run.

    Attributes:
        machine: what it ran on.
        versions: of all that took part, by their labels.
        complete: whether nothing was left out or made smaller.
        missing: what could not be measured here, and why.
    """

    when: str
    command: str
    seconds: float
    rounds: int
    machine: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]
    complete: bool
    founds: tuple[Found, ...] = ()
    missing: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()

    def found(self, workload: str) -> Found | None:
        """Return what a workload has shown, where it was run."""
        return next((found for found in self.founds if found.workload == workload), None)

    def series(self, workload: str, name: str, figure: str) -> Series | None:
        """Return a figure, where it was measured."""
        found = self.found(workload)
        return found.series(name, figure) if found else None
