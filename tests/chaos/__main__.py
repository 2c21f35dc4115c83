"""The campaign as a command: ``make chaos``; ``make chaos ARGS=--help`` tells more."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from chaos.campaign import Round, play_all, tasks
from chaos.faults import FAULTS
from chaos.report import COLUMNS, Row, cells, plot, rows, table
from chaos.world import LEASE

_DOCS = Path(__file__).parents[2] / "docs"
_PAGE, _PLOT = _DOCS / "reliability.md", _DOCS / "recovery.png"
_BEGIN, _END = "<!-- campaign -->\n", "<!-- end -->"

console = Console(width=None if sys.stdout.isatty() else 150)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description="Kills, stops and starves real workers, producers, Redis and relays, and "
        "compares every email that was acknowledged with what came and what is recorded.",
        epilog="""examples:
  make chaos                                       all faults, some rounds each: five minutes
  make chaos ARGS='--rounds 50 --fault "at random"'
  make chaos ARGS='--full --write'                 the table of docs/reliability.md: an hour""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each fault (5)")
    parser.add_argument("--full", action="store_true", help="as many as the table has for each")
    parser.add_argument(
        "--fault",
        action="append",
        choices=FAULTS,
        metavar="NAME",
        help="only this one; may be repeated. "
        + "; ".join(f"“{fault.name}”: {fault.what}" for fault in FAULTS.values()),
    )
    parser.add_argument("--worlds", type=int, default=4, help="at a time (4)")
    parser.add_argument(
        "--results",
        type=Path,
        help="keep each round there, a line of JSON each, and go on after those that it has",
    )
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/")
    return parser.parse_args()


def main() -> None:
    """Play, and tell; the exit code is 1 where a promise was broken."""
    given = _arguments()
    names = given.fault or list(FAULTS)
    played = _earlier(given.results)
    done = {(each.fault, each.seed) for each in played}
    every = tasks({name: FAULTS[name].rounds if given.full else given.rounds for name in names})
    todo = [task for task in every if (task.faults[0], task.seed) not in done]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("rounds", total=sum(len(task.faults) for task in todo))
        for some in play_all(todo, given.worlds):
            played += some
            _keep(given.results, some)
            progress.advance(bar, len(some))
            for each in some:
                for problem in each.verdict.problems:
                    progress.console.print(f"{each.fault}, seed {each.seed}: {problem}")
    found = rows(played)
    console.print(_shown(found))
    if given.write:
        _write(found)
    sys.exit(any(row.total.problems for row in found))


def _earlier(results: Path | None) -> list[Round]:
    if results is None or not results.exists():
        return []
    return [msgspec.json.decode(line, type=Round) for line in results.read_bytes().splitlines()]


def _keep(results: Path | None, some: list[Round]) -> None:
    if results is not None:
        with results.open("ab") as file:
            file.writelines(msgspec.json.encode(each) + b"\n" for each in some)


def _shown(found: list[Row]) -> Table:
    shown = Table("Fault")
    for name in COLUMNS:
        shown.add_column(name, justify="right")
    for row in found:
        shown.add_row(row.fault.name, *cells(row), style="red" if row.total.problems else None)
    return shown


def _write(found: list[Row]) -> None:
    before, rest = _PAGE.read_text().split(_BEGIN)
    _, after = rest.split(_END, 1)
    when = f"{datetime.now(UTC):%Y-%m-%d}, by `make chaos ARGS='--full --write'`:\n\n"
    _PAGE.write_text(before + _BEGIN + when + table(found) + _END + after)
    plot(found, LEASE, _PLOT)
    console.print(f"written: {_PAGE}, {_PLOT}")


if __name__ == "__main__":
    main()
