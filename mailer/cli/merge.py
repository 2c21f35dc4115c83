"""``mailer send --csv``: one letter to all people of a list."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import typer
from rich.progress import (
    BarColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mailer.batch import BatchReceipt
from mailer.cli import views
from mailer.cli.people import People
from mailer.client import Mailer
from mailer.errors import InvalidEmail

if TYPE_CHECKING:
    from mailer.templates import Letter

_MOST_TOLD = 20  # mistakes


@attrs.frozen
class Merge:
    """What is asked for.

    Attributes:
        name: of the batch; without it, one that goes by what is in the list and in the letter.
        skip: send to the others where rows are bad; else a bad one keeps all from being sent.
        dry_run: only look for bad rows.
    """

    people: People
    letter: "Letter"
    name: str | None
    skip: bool
    dry_run: bool

    def run(self, mailer: Mailer) -> BatchReceipt:
        """Check every row, then enqueue them.

        Raises:
            typer.Exit: rows are bad, and nothing was sent.
        """
        name = self.name or self._own_name()
        mistakes = dict[int, str]()

        def note(row: int, mistake: InvalidEmail) -> None:
            field = mistake.field.partition("].")[2]
            fault = self.people.fault_of(row) or f"{field}: {mistake.reason}"
            mistakes[self.people.line_of(row)] = fault

        with _progress("checking", self.people.file) as told:
            rows = self.people.rows(told)
            checked = mailer.enqueue_batch(name, self.letter, rows, on_mistake=note, dry_run=True)
        if mistakes:
            self._tell(mistakes)
        if self.dry_run or not checked.rows:
            return checked
        with _progress("enqueueing", self.people.file) as told:
            rows = self.people.rows(told)
            return mailer.enqueue_batch(name, self.letter, rows, on_mistake=lambda _, __: None)

    def _tell(self, mistakes: Mapping[int, str]) -> None:
        for line, reason in list(mistakes.items())[:_MOST_TOLD]:
            typer.echo(f"line {line}: {reason}", err=True)
        if len(mistakes) > _MOST_TOLD:
            typer.echo(f"and {len(mistakes) - _MOST_TOLD} more", err=True)
        if not self.skip:
            count = "a bad row" if len(mistakes) == 1 else f"{len(mistakes)} bad rows"
            hint = "nothing was sent; --skip-bad-rows sends to the others"
            typer.echo(f"error: {count}; {hint}", err=True)
            raise typer.Exit(1)

    def _own_name(self) -> str:
        content = self.letter.filed(()) + self.people.digest().encode()
        return f"{self.people.file.name[:100]}-{hashlib.sha256(content).hexdigest()[:12]}"


@contextmanager
def _progress(what: str, file: Path) -> Iterator[Callable[[int], None]]:
    """Show how far reading a file has come, where a person looks on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with views.progress_bar(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(what, total=file.stat().st_size)
        yield lambda read: progress.update(task, completed=read)
