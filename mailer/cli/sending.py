"""``mailer send``: one email, or one to each of a list of people."""

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailer.batch import BatchReceipt
from mailer.cli import views
from mailer.cli.batches import follow
from mailer.cli.processes import MissingExtra
from mailer.cli.times import parse_moment
from mailer.client import Mailer
from mailer.job import JobState
from mailer.loading import load_settings

if TYPE_CHECKING:
    from mailer.templates import Letter

commands = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]
_NOT_SENT = 3  # exit code of `send --wait`
_LIST = "To a list of people"


@commands.command(
    epilog="Examples: `echo Hello | mailer send --from me@example.com --to you@example.org "
    "--subject Hi --wait`, `mailer send --from me@example.com --csv people.csv --template welcome "
    "--dry-run`"
)
def send(
    sender: Annotated[str, typer.Option("--from", help="`Name <local@domain>`")],
    to: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    cc: Annotated[list[str] | None, typer.Option()] = None,
    bcc: Annotated[list[str] | None, typer.Option()] = None,
    reply_to: Annotated[list[str] | None, typer.Option()] = None,
    subject: Annotated[str, typer.Option()] = "",
    text: Annotated[str | None, typer.Option(help="Without it, standard input.")] = None,
    html_file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False)] = None,
    attach: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Read here, now.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option(help="Such as 'X-Order: 42'.")] = None,
    tag: Annotated[list[str] | None, typer.Option()] = None,
    priority: Annotated[str, typer.Option(help="high, normal or low")] = "normal",
    at: Annotated[
        str | None, typer.Option(help="Not before: 10m, 2h, 1d or 2026-12-24T18:00+01:00.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Not after; written likewise.")] = None,
    key: Annotated[str | None, typer.Option(help="An idempotency key.")] = None,
    retry: Annotated[
        str | None, typer.Option(metavar="NAME", help="A retry policy of mailer.toml.")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="An email to each row, with what its columns fill in.",
            rich_help_panel=_LIST,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="With the addresses: else `to` or `email`.", rich_help_panel=_LIST),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="Instead of --subject, --text and --html-file.", rich_help_panel=_LIST),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--templates", help="Instead of MAILER_TEMPLATES.", rich_help_panel=_LIST),
    ] = None,
    locale: Annotated[
        str | None, typer.Option(help="Such as de or de-AT.", rich_help_panel=_LIST)
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="A name for it. Without one, the same list and letter are the same batch, and "
            "nobody gets it twice.",
            rich_help_panel=_LIST,
        ),
    ] = None,
    *,
    skip_bad_rows: Annotated[
        bool,
        typer.Option("--skip-bad-rows", help="Send to the others.", rich_help_panel=_LIST),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check every row, send nothing.", rich_help_panel=_LIST),
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Print the message as a relay gets it; send nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Enqueue an email and print its id; with --wait, what became of it (exit code 3: not sent).

    With --csv, one to each row of a list: where one row is bad, to nobody. An interrupted run is
    simply repeated.
    """
    from mailer.attachment import Attachment  # noqa: PLC0415 - only here
    from mailer.email import Email  # noqa: PLC0415 - only here

    if text is None and not template and not sys.stdin.isatty():
        text = sys.stdin.read()
    html = html_file.read_text() if html_file else None
    common: dict[str, Any] = {
        "from_email": sender,
        "reply_to": reply_to or [],
        "attachments": [
            Attachment.from_bytes(path.read_bytes(), filename=path.name) for path in attach or []
        ],
        "headers": dict(_header(line) for line in header or []),
        "tags": tag or [],
        "priority": priority,
        "scheduled_at": parse_moment(at) if at else None,
        "expires_at": parse_moment(expires) if expires else None,
        "retry": retry,
    }
    if csv:
        if to or cc or bcc or key or preview:
            raise typer.BadParameter("--to, --cc, --bcc, --key and --preview are for one email")
        from mailer.cli.merge import Merge  # noqa: PLC0415 - needs an extra
        from mailer.cli.people import People  # noqa: PLC0415 - only here

        bodies = {"subject": subject, "text": text, "html": html}
        letter = _letter(template, folder, locale, {n: v for n, v in bodies.items() if v}, common)
        merge = Merge(People(csv, column), letter, batch, skip_bad_rows, dry_run)
        with Mailer(settings=load_settings()) as mailer:
            enqueued = merge.run(mailer)
            fine = _told(mailer, enqueued, dry_run=dry_run, wait=wait, as_json=as_json)
        raise typer.Exit(0 if fine else _NOT_SENT)
    if any((column, template, folder, locale, batch, skip_bad_rows, dry_run)):
        raise typer.BadParameter("what is listed under “To a list of people” needs --csv")
    email = Email(
        to=to or [],
        cc=cc or [],
        bcc=bcc or [],
        subject=subject,
        text=text,
        html=html,
        idempotency_key=key,
        **common,
    )
    with Mailer(settings=load_settings()) as mailer:
        if preview:
            sys.stdout.buffer.write(mailer.preview(email))
            return
        receipt = mailer.enqueue(email)
        if not wait:
            if as_json:
                views.print_json(receipt)
            else:
                typer.echo(receipt.id)
            return
        job = mailer.wait(receipt.id, timeout)
    views.print_json(job) if as_json else views.console.print(views.job_details(job))
    if job.state is not JobState.SENT:
        raise typer.Exit(_NOT_SENT)


def _letter(
    template: str | None,
    folder: Path | None,
    locale: str | None,
    bodies: dict[str, Any],
    common: dict[str, Any],
) -> "Letter":
    try:
        from mailer.templates import Letter, Templates  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(str(error)) from None
    if template is None:
        return Letter(**bodies, **common)
    if bodies:
        raise typer.BadParameter("--template, or --subject, --text and --html-file: give either")
    return Letter(Templates(folder).load(template, locale=locale), **common)


def _told(
    mailer: Mailer, enqueued: BatchReceipt, *, dry_run: bool, wait: bool, as_json: bool
) -> bool:
    """Tell what came of a list; False where not all of it was sent, as far as it was waited for."""
    if as_json:
        views.print_json(enqueued)
    elif dry_run:
        good = enqueued.rows - enqueued.refused
        typer.echo(f"{enqueued.rows:,} rows, {good:,} of them good; nothing was sent")
    else:
        known = f", {enqueued.known:,} were before" if enqueued.known else ""
        refused = f", {enqueued.refused:,} bad" if enqueued.refused else ""
        look = f"mailer batch {quote(enqueued.batch)}"
        typer.echo(f"{enqueued.created:,} enqueued{known}{refused}; see: {look}")
        if enqueued.refused:
            typer.echo(
                "send mended rows as a list of their own: all of it would be another batch, and go "
                "to everybody again",
                err=True,
            )
    if dry_run or not wait or not enqueued.rows:
        return True
    fared = follow(mailer, enqueued.batch)
    return fared.counts[JobState.SENT] == fared.jobs


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise typer.BadParameter(f"--header {line!r} looks like 'Name: value'")
    return name.strip(), value.strip()
