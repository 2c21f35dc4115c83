"""The commands of ``mailer`` on the suppression list."""

import codecs
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mailer.address import Address
from mailer.cli import views
from mailer.cli.times import shown
from mailer.client import Mailer
from mailer.errors import InvalidEmail
from mailer.loading import load_settings
from mailer.store.suppressions import Suppression

commands = typer.Typer()
Tag = Annotated[str | None, typer.Option(help="Only emails of this tag are meant.")]
_MOST_TOLD = 20  # mistakes


def _mailer() -> Mailer:
    return Mailer(settings=load_settings())


@commands.command(
    epilog="Examples: `mailer suppress jm@example.org --reason 'asked to'`, "
    "`mailer suppress --file unsubscribed.txt --tag news`"
)
def suppress(
    addresses: Annotated[list[str] | None, typer.Argument(metavar="ADDRESS…")] = None,
    tag: Tag = None,
    reason: Annotated[str, typer.Option(help="Kept with the entry, and shown with jobs.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="With an address on each line, in UTF-8."),
    ] = None,
) -> None:
    """Send nothing to these addresses any more: put them on the suppression list.

    Where one address or line is malformed, none is put on it.
    """
    named = [("", text) for text in addresses or []]
    if file:
        content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
        # what is no UTF-8 becomes a character that is in no address
        lines = content.decode(errors="surrogateescape").split("\n")
        named += [(f"line {i}: ", line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if not named:
        raise typer.BadParameter("name addresses, or a --file of them")
    checked = _checked(named)
    with _mailer() as mailer:
        new = mailer.suppress_many(checked, tag=tag, reason=reason, by="cli")
    typer.echo(f"{new} suppressed, {len(checked) - new} on the list already")


@commands.command(epilog="Example: `mailer unsuppress jm@example.org`")
def unsuppress(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS…")], tag: Tag = None
) -> None:
    """Take addresses off the suppression list; exit code 1 where one is not on it."""
    checked = _checked(("", text) for text in addresses)
    unknown = False
    with _mailer() as mailer:
        for address in checked:
            known = mailer.unsuppress(address, tag=tag)
            unknown |= not known
            typer.echo(f"{address} {'may be sent to' if known else 'is not on the list'}")
    raise typer.Exit(int(unknown))


@commands.command(epilog="Example: `mailer suppressed --address jm@example.org`")
def suppressed(
    address: Annotated[str | None, typer.Option(help="Only the entries of this one.")] = None,
    tag: Tag = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 1000,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document, for programs.")
    ] = False,
) -> None:
    """List who is on the suppression list, and why."""
    with _mailer() as mailer:
        found = mailer.suppressions(address=address, tag=tag, limit=limit)
    if as_json:
        views.print_json(found)
    elif found:
        views.console.print(_table(found))
    else:
        typer.echo("nobody", err=True)


def _checked(named: Iterable[tuple[str, str]]) -> list[Address]:
    """Read all of the addresses, or say what is wrong with each that can't be read."""
    checked, mistakes = [], []
    for place, text in named:
        try:
            checked.append(Address.parse(text))
        except InvalidEmail as error:
            mistakes.append(f"{place}{error.reason}")
    if mistakes:
        more = len(mistakes) - _MOST_TOLD
        told = mistakes[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])
        typer.echo("\n".join(["error: nothing was changed", *told]), err=True)
        raise typer.Exit(1)
    return checked


def _table(entries: Sequence[Suppression]) -> Table:
    table = Table("address", "tag", "since", "by", "reason", box=None, pad_edge=False)
    for entry in sorted(entries, key=lambda entry: (entry.address, entry.tag or "")):
        words = (entry.address, entry.tag or "", shown(entry.since), entry.by, entry.reason)
        table.add_row(*map(Text, words))
    return table
