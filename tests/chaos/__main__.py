"""``python -m chaos``: run the campaign, and tell what came of it."""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from chaos.campaign import Round, play
from chaos.faults import KINDS
from chaos.report import plot, summary, table, write_table

_AT_ONCE = 25  # rounds on one stage
_DOCS = Path(__file__).parents[2] / "docs"


def main() -> int:
    """Run it; the exit code is 1 where a promise was broken."""
    given = _parser().parse_args()
    unknown = set(given.fault or ()) - KINDS.keys()
    if unknown:
        sys.exit(f"there is no fault {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    names = given.fault or list(KINDS)
    tasks = list(_tasks(names, given.share, given.seed))
    total = sum(count for _, count, _ in tasks)
    columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
    rounds: list[Round] = []
    console = Console(stderr=True)
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(given.parallel, maxtasksperchild=1) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        bar = progress.add_task("rounds", total=total)
        for some in pool.imap_unordered(_play, tasks):
            rounds += some
            progress.advance(bar, len(some))
            for one in some:
                if one.failed:
                    console.print(f"[red]{one}")
    sys.stdout.write(summary(rounds) + "\n")
    if given.write:
        command = f"make chaos ARGS='{' '.join(sys.argv[1:])}'"
        write_table(_DOCS / "reliability.md", table(rounds), command, given.seed)
        plot(rounds, _DOCS / "reliability.png")
    return int(any(one.failed for one in rounds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make chaos ARGS=…",
        description="Kill, freeze and cut off real processes while they send email, and check "
        "what became of every one.",
        epilog="Example: make chaos ARGS='--share 0.01', or ARGS='--fault begun --fault frozen'",
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the full campaign's rounds (default 1)"
    )
    parser.add_argument("--fault", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance")
    parser.add_argument(
        "--parallel", type=int, default=2 * (os.cpu_count() or 1), help="stages at the same time"
    )
    parser.add_argument(
        "--write", action="store_true", help="put table and plot into docs/reliability.md"
    )
    return parser


def _tasks(names: list[str], share: float, seed: int) -> Iterator[tuple[str, int, int]]:
    for name in names:
        left = max(1, round(KINDS[name].rounds * share))
        part = 0
        while left:
            count = min(left, _AT_ONCE)
            yield name, count, seed * 1000 + part
            left -= count
            part += 1


def _play(task: tuple[str, int, int]) -> list[Round]:
    name, count, seed = task
    return list(play(KINDS[name], count, seed))


if __name__ == "__main__":
    sys.exit(main())
