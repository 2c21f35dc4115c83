"""``mailer preview``: a template as its reader gets it."""

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailer.cli.processes import MissingExtra
from mailer.errors import TemplateError
from mailer.html import text_of
from mailer.loading import load_settings
from mailer.preview import preview as as_sent

if TYPE_CHECKING:
    from mailer.email import Email
    from mailer.templates import Templates

commands = typer.Typer()


@commands.command(
    epilog="Examples: `mailer preview welcome --locale de`, `mailer preview welcome --open`"
)
def preview(
    name: Annotated[str | None, typer.Argument(help="Without it, all are listed.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--templates", help="Instead of MAILER_TEMPLATES.")
    ] = None,
    locale: Annotated[str | None, typer.Option(help="Such as de or de-AT.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="JSON or TOML; without it, the template's sample.json.")
    ] = None,
    sender: Annotated[str, typer.Option("--from")] = "shop@example.com",
    to: Annotated[str, typer.Option()] = "ann@example.org",
    *,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML.")] = False,
    eml: Annotated[
        bool, typer.Option("--eml", help="Print the whole message, as a relay gets it.")
    ] = False,
    browse: Annotated[bool, typer.Option("--open", help="Show the HTML in a browser.")] = False,
) -> None:
    """Render a template with sample data, and print its subject and text; nothing is sent."""
    if html + eml + browse > 1:
        raise typer.BadParameter("only one of --html, --eml and --open")
    templates = _templates(folder)
    if name is None:
        _list(templates)
        return
    email = _email(templates, name, locale, data, from_email=sender, to=to)
    if eml:
        sys.stdout.buffer.write(as_sent(email, load_settings()))
    elif html or browse:
        if email.html is None:
            raise TemplateError(name, "has no body.html")
        _open(name, email.html) if browse else typer.echo(email.html)
    else:
        text = text_of(email.html) if email.html and email.text_from_html else email.text
        typer.echo(f"Subject: {email.subject}\n\n{text or ''}", nl=False)


def _templates(folder: Path | None) -> "Templates":
    try:
        from mailer.templates import Templates  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(str(error)) from None
    return Templates(folder)


def _list(templates: "Templates") -> None:
    for name in templates.names():
        typer.echo(" ".join([name, *templates.locales(name)]))
    if not templates.names():
        typer.echo("no templates", err=True)


def _email(
    templates: "Templates", name: str, locale: str | None, data: Path | None, **fields: Any
) -> "Email":
    from mailer.templates.samples import read_sample  # noqa: PLC0415 - an extra

    sample = read_sample(data) if data else templates.sample(name, locale)
    try:
        return templates.email(name, sample or {}, locale=locale, **fields)
    except TemplateError as error:
        cause = error.__cause__
        if cause is None:
            raise
        # what an exception quotes of sample data may be told
        reason = error.reason if str(cause) == error.reason else f"{error.reason}: {cause}"
        hint = "" if sample else f"; {name}/sample.json or --data would give it data"
        raise TemplateError(error.field, reason + hint) from None


def _open(name: str, html: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix=f"{Path(name).name}-", suffix=".html", delete=False
    ) as file:
        file.write(html)
    typer.echo(file.name)
    if not webbrowser.open(Path(file.name).as_uri()):
        typer.echo("error: there is no browser; open this file in one", err=True)
        raise typer.Exit(1)
