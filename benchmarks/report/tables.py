"""Tables of figures, as rows of text; for the terminal and for Markdown."""

from collections import defaultdict
from collections.abc import Sequence

from attrs import frozen
from results import Found, Results, Row, Series
from rich.table import Table as RichTable
from workloads.delivery import DELIVERED

_ON_POSTFIX = "_on_postfix"
_TIMES = "this mailer / it"


@frozen
class Table:
    """A heading and rows; all cells but the first of a row are aligned to the right.

    Attributes:
        marked: the rows that are ours, by their numbers, or that do not hold.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """Write it in Markdown; marked rows are bold."""
        lines = [_line(self.heading), "|---|" + "--:|" * (len(self.heading) - 1)]
        for i, row in enumerate(self.rows):
            lines.append(_line([f"**{c}**" if c else "" for c in row] if i in self.marked else row))
        return "\n".join(lines) + "\n"

    def rich(self, title: str, mark: str) -> RichTable:
        """Draw it in the terminal.

        Args:
            mark: the style of marked rows.
        """
        drawn = RichTable(title=title, title_justify="left")
        for i, name in enumerate(self.heading):
            drawn.add_column(name, justify="right" if i else "left")
        for i, row in enumerate(self.rows):
            lines = [text.replace(" <br> ", "\n") for text in row]
            drawn.add_row(*lines, style=mark if i in self.marked else None)
        return drawn


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Write a figure with no more digits than it deserves."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def cell(series: Series | None) -> str:
    """Write the median, and the spread where there is one."""
    if series is None:
        return "-"
    if not series.values[1:]:
        return number(series.median)
    return f"{number(series.median)} ({number(series.lowest)} to {number(series.highest)})"


def of_workload(found: Found) -> Table:
    """Put what a workload has found into a table; where others took part, with our ratio."""
    names = list(dict.fromkeys(name for row in found.rows for name in row.figures))
    if len(found.rows) == 1:  # one figure a line reads better than one wide line
        (row,) = found.rows
        return Table((row.label, ""), [(name, cell(row.figures[name])) for name in names])
    rows = list(found.rows)
    if _compared(found):
        rows.sort(key=lambda row: _rank(row, names[0]))
    heading = ["", *names, *([_TIMES] if _compared(found) else [])]
    cells = []
    for row in rows:
        written = [row.label + (f" <br> {row.note}" if row.note else "")]
        written += [cell(row.figures.get(name)) for name in names]
        if _compared(found):
            written.append(_ratio(found, row, names[0]))
        cells.append(written)
    ours = {i for i, row in enumerate(rows) if row.kind == "ours" and _compared(found)}
    return Table(heading, cells, frozenset(ours))


def _compared(found: Found) -> bool:
    kinds = {row.kind for row in found.rows}
    return "ours" in kinds and "peer" in kinds


def _rank(row: Row, figure: str) -> tuple[bool, float]:
    """Put those that deliver first, then the limits; the fastest first."""
    series = row.figures.get(figure)
    return row.kind == "limit", -(series.median if series else 0.0)


def _ratio(found: Found, row: Row, figure: str) -> str:
    ours = found.series("ours" + (_ON_POSTFIX if row.name.endswith(_ON_POSTFIX) else ""), figure)
    theirs = row.figures.get(figure)
    if row.kind == "ours" or not ours or not theirs:
        return ""
    return f"{cell(ours / theirs)} x"


def of_verdicts(results: Results) -> Table:
    """Put the verdicts into a table; those that do not hold are marked."""
    words = {True: "holds", False: "does not hold", None: "not measured"}
    rows = [(v.figure, v.bound, v.aim, cell(v.found), words[v.holds]) for v in results.verdicts]
    broken = frozenset(i for i, v in enumerate(results.verdicts) if v.holds is False)
    return Table(("Figure", "Promised", "Aim", "Found", ""), rows, broken)


def of_machine(results: Results) -> Table:
    """List the machine, and the versions of all that took part."""
    labels: dict[str, list[str]] = defaultdict(list)
    for label, has in results.versions.items():
        labels[", ".join(f"{name} {number}" for name, number in has.items())].append(label)
    versions = [("; ".join(them), words) for words, them in labels.items() if words]
    return Table(("", ""), [*results.machine.items(), *versions])


__all__ = ["DELIVERED", "Table", "cell", "number", "of_machine", "of_verdicts", "of_workload"]
