"""``mailer batch``: how a batch fares, and how to stop it."""

import time
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from mailer.batch import Batch
from mailer.cli import views
from mailer.cli.times import shown
from mailer.client import Mailer
from mailer.loading import load_settings

commands = typer.Typer()
_EVERY = 1.0  # seconds; of a large batch, more: it is counted each time
_SHARE = 0.05  # of the time that counting may take


@commands.command(
    epilog="Examples: `mailer batch news-2026-12 --watch`, `mailer batch news-2026-12 --cancel`"
)
def batch(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Keep what waits of it from being sent, for good.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Until all of it has ended.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for programs.")
    ] = False,
) -> None:
    """Tell how a batch fares: how many of its emails are in which state."""
    with Mailer(settings=load_settings()) as mailer:
        if cancel:
            number = mailer.cancel_batch(name)
            typer.echo(f"{number:,} canceled", err=True)
        found = follow(mailer, name) if watch else mailer.batch(name)
    views.print_json(found) if as_json else views.console.print(_table(found))


def follow(mailer: Mailer, name: str) -> Batch:
    """Show a batch's progress, where a person looks on, until all of it has ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with views.progress_bar(*columns) as progress:
        task = progress.add_task("sending", total=None)
        while True:
            begin = time.monotonic()
            found = mailer.batch(name)
            progress.update(task, total=found.jobs, completed=found.ended)
            if found.ended == found.jobs:
                return found
            time.sleep(max(_EVERY, (time.monotonic() - begin) / _SHARE))


def _table(found: Batch) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("begun", shown(found.begun_at))
    if found.canceled_at:
        table.add_row("canceled", shown(found.canceled_at))
    table.add_row("rows", f"{found.rows:,}")
    for state, number in found.counts.items():
        if number:
            table.add_row(str(state), f"{number:,}")
    if gone := found.rows - found.jobs:
        table.add_row("bad, or retired", f"{gone:,}")
    return table
