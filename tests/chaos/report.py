"""The table and the plot of a campaign."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import attrs

from chaos.campaign import Round
from chaos.faults import FAULTS, Fault
from chaos.ledger import Verdict

_SURE = 3.0  # 0 of N: with 95 % confidence the rate is below 3/N (the rule of three)


@attrs.frozen
class Row:
    """What all rounds of one fault have shown together.

    Attributes:
        most_twice: the most copies that one strike has doubled.
        gone_wrong: rounds in which something was not as promised, or that could not be played.
    """

    fault: Fault
    rounds: int
    total: Verdict
    recoveries: tuple[float, ...]
    most_twice: int
    gone_wrong: int

    @property
    def bound(self) -> str:
        """The rate of strikes that lose an email, at most (95 %)."""
        if self.total.lost:
            return f"{self.total.lost} lost"
        return f"< {min(1.0, _SURE / self.rounds):.1%}".replace("%", " %")

    @property
    def median(self) -> float:
        """The usual recovery, in seconds."""
        return statistics.median(self.recoveries)


def rows(rounds: Iterable[Round]) -> list[Row]:
    """Put the rounds together, in the order of the table of faults."""
    by_name: dict[str, list[Round]] = {}
    for played in rounds:
        by_name.setdefault(played.fault, []).append(played)
    return [_row(fault, by_name[name]) for name, fault in FAULTS.items() if name in by_name]


def _row(fault: Fault, played: Sequence[Round]) -> Row:
    total = sum((each.verdict for each in played), Verdict())
    recoveries = tuple(sorted(each.recovery for each in played))
    most_twice = max(each.verdict.duplicated for each in played)
    gone_wrong = sum(bool(each.verdict.problems) for each in played)
    return Row(fault, len(played), total, recoveries, most_twice, gone_wrong)


COLUMNS: Mapping[str, Callable[[Row], object]] = {
    "Rounds": lambda row: f"{row.rounds:,}",
    "Gone wrong": lambda row: row.gone_wrong,
    "Emails": lambda row: f"{row.total.jobs:,}",
    "Lost": lambda row: row.total.lost,
    "Twice": lambda row: row.total.duplicated,
    "at most in one round": lambda row: row.most_twice,
    "of those at most once": lambda row: row.total.doubled_at_most_once,
    "Twice, not marked": lambda row: row.total.unmarked,
    "Wrongly recorded": lambda row: row.total.wrong,
    "Stuck": lambda row: row.total.stuck,
    "Unconfirmed": lambda row: row.total.unconfirmed,
    "Strikes that lose an email (95 %)": lambda row: row.bound,
    "Recovery": lambda row: f"{row.median:.1f} s",
}


def cells(row: Row) -> list[str]:
    """Write what stands in each of the columns."""
    return [str(cell(row)) for cell in COLUMNS.values()]


def table(rows: Sequence[Row]) -> str:
    """Write the table in Markdown."""
    lines = [f"| Fault | {' | '.join(COLUMNS)} |", "|---|" + "--:|" * len(COLUMNS)]
    for group, members in groupby(rows, lambda row: row.fault.group):
        lines.append(f"| **{group}** |" + " |" * len(COLUMNS))
        lines += [f"| {row.fault.what} | {' | '.join(cells(row))} |" for row in members]
    return "\n".join(lines) + "\n"


def plot(rows: Sequence[Row], lease: float, file: Path) -> None:
    """Draw how long it took until every job had ended, for each fault."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [f"{row.fault.group}: {row.fault.what} ({row.rounds:,})" for row in rows]
    figure, axes = plt.subplots(figsize=(13, 0.36 * len(rows) + 1.6), layout="constrained")
    axes.boxplot(
        [row.recoveries for row in rows],
        orientation="horizontal",
        tick_labels=names,
        whis=(5, 95),
        widths=0.6,
        flierprops={"marker": ".", "markersize": 3, "alpha": 0.4},
        medianprops={"color": "tab:red"},
    )
    axes.axvline(lease, linestyle="--", linewidth=0.8, color="tab:blue")
    axes.annotate(
        f"lease and dispatch timeout: {lease:g} s",
        (lease, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, 4),
        textcoords="offset points",
        color="tab:blue",
        fontsize=8,
    )
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds from the end of the fault until every job had ended; box: quartiles")
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(axis="y", labelsize=8)
    figure.savefig(file, dpi=110)
    plt.close(figure)
