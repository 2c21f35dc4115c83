"""What came of a campaign, as a table and as a plot."""

import platform
import re
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from chaos.campaign import Round
from chaos.faults import IN_WINDOW, KINDS
from chaos.ledger import Verdict

_HEAD = (
    "| Fault | Rounds | Emails | Lost | Second copies (most in a round) | Unmarked | "
    "Wrongly recorded | Stuck | Unconfirmed | Recovery, median and longest | "
    "Loss rate, 95 % bound |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)


def _of(rounds: Sequence[Round], kind: str) -> list[Round]:
    return [one for one in rounds if one.kind == kind]


def _row(kind: str, rounds: Sequence[Round]) -> str:
    total, most = Verdict(), 0
    for one in rounds:
        total += one.verdict
        most = max(most, one.verdict.duplicated)
    times = [one.recovery for one in rounds]
    copies = f"{total.duplicated} ({most})" if KINDS[kind].copies else str(total.duplicated)
    # the rule of three: no case in N trials bounds the rate at 3/N
    bound = f"{3 / total.jobs:.1e}" if total.jobs and not total.lost else "—"
    cells = [
        KINDS[kind].title,
        *map(str, (len(rounds), total.jobs, total.lost)),
        copies,
        *map(str, (total.unmarked, total.wrong, total.stuck, total.doubtful)),
        f"{statistics.median(times):.1f} s, {max(times):.1f} s",
        bound,
    ]
    return f"| {' | '.join(cells)} |\n"


def table(rounds: Sequence[Round]) -> str:
    """A row for each fault, in the order of the campaign."""
    rows = [_row(kind, some) for kind in KINDS if (some := _of(rounds, kind))]
    return _HEAD + "".join(rows)


def summary(rounds: Sequence[Round]) -> str:
    """Tell it to a person at a terminal."""
    lines = []
    for kind in KINDS:
        if not (some := _of(rounds, kind)):
            continue
        total = Verdict()
        for one in some:
            total += one.verdict
        failed = sum(one.failed for one in some)
        verdict = f"{failed} FAILED" if failed else "ok"
        lines.append(
            f"{kind:20} {len(some):5} rounds {total.jobs:7} emails  lost {total.lost}  "
            f"copies {total.duplicated}  unmarked {total.unmarked}  wrong {total.wrong}  "
            f"stuck {total.stuck}  unconfirmed {total.doubtful}  "
            f"recovery {statistics.median(one.recovery for one in some):.1f} s  {verdict}"
        )
        lines += [f"    {one.problem}" for one in some if one.problem]
    return "\n".join(lines)


def write_table(page: Path, rows: str, command: str, seed: int) -> None:
    """Put the table into a page, between its marks, with date and command."""
    made = (
        f"Run on {datetime.now(UTC):%Y-%m-%d} by `{command}` (seed {seed}), "
        f"Python {platform.python_version()}, {platform.machine()}.\n\n{rows}"
    )
    text = page.read_text()
    pattern = re.compile(r"(<!-- campaign -->\n).*?(<!-- end -->)", re.DOTALL)
    page.write_text(pattern.sub(lambda match: match[1] + made + match[2], text))


def plot(rounds: Sequence[Round], file: Path) -> None:
    """Draw how long it took until every email had ended, by fault."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    kinds = [kind for kind in KINDS if _of(rounds, kind)]
    times = [[one.recovery for one in _of(rounds, kind)] for kind in kinds]
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(kinds) + 1.2), layout="constrained")
    boxes = axes.boxplot(times, orientation="horizontal", whis=(5, 95), patch_artist=True)
    for box, kind in zip(boxes["boxes"], kinds, strict=True):
        box.set_facecolor("#f4c27a" if KINDS[kind].copies == IN_WINDOW else "#9cc5a1")
    axes.set_yticks(range(1, len(kinds) + 1), [KINDS[kind].title for kind in kinds], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("seconds from the end of the fault until every email had ended (lease 0.6 s)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(file, dpi=130)
    plt.close(figure)
