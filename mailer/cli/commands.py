"""The commands of ``mailer``; each explains itself with ``--help``."""

import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from mailer.cli import batches, processes, sending, suppression, templates, views
from mailer.cli.times import parse_moment
from mailer.client import Mailer
from mailer.job import JobState
from mailer.loading import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Enqueue email, run workers, and see what became of each message.",
    epilog="Settings are MAILER_* variables or mailer.toml. Try it out: `mailer demo --keep`",
)

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Jobs' ids.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def _mailer() -> Mailer:
    return Mailer(settings=load_settings())


@app.command(epilog="Example: `mailer demo --keep`")
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, until Ctrl-C.")] = False,
) -> None:
    """Run the whole loop on embedded parts: Redis, an SMTP server, a worker and Flower."""
    from mailer.cli.demo import run  # noqa: PLC0415 - needs parts that production doesn't

    raise typer.Exit(run(keep=keep))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `mailer worker --name relay1 -- --logfile=worker.log`",
)
def worker(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(help="Tells workers of one machine apart, in Flower and in attempts.")
    ] = "mailer",
) -> None:
    """Run a worker: it dispatches what is due, and delivers it. SIGTERM stops it gently.

    One process uses one core; for more, run more, each with a --name of its own. What follows
    `--` goes to `celery worker`.
    """
    processes.become_worker(name, context.args)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: `mailer flower --port 5555 -- --basic-auth=me:secret`",
)
def flower(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Where its pages are.")] = 5555,
    address: Annotated[
        str, typer.Option(help="Its pages are open to all who reach this address.")
    ] = "127.0.0.1",
) -> None:
    """Run Flower: a row for each email, with its retries and the relay's replies."""
    processes.become_flower(port, address, context.args)


@app.command(
    epilog="Example: `mailer show 01a207bc-7fbf-7fc9-a827-8f69585200b1 --eml > message.eml`"
)
def show(
    job_id: JobId,
    *,
    eml: Annotated[
        bool, typer.Option("--eml", help="Print its message instead, as a relay gets it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all that is recorded of a job: recipients, attempts, the next attempt and why."""
    with _mailer() as mailer:
        if eml:
            sys.stdout.buffer.write(mailer.message(job_id))
            return
        job = mailer.get(job_id)
    views.print_json(job) if as_json else views.console.print(views.job_details(job))


@app.command(epilog="Example: `mailer explain 01a207bc-7fbf-7fc9-a827-8f69585200b1`")
def explain(job_id: JobId) -> None:
    """Tell the story of a job: attempts and all replies, what holds it, when it goes on and why."""
    from mailer.cli.explain import story  # noqa: PLC0415 - only here

    with _mailer() as mailer:
        job, pauses, paces = mailer.get(job_id), mailer.paused_relays(), mailer.paces()
    views.console.print(story(job, pauses, paces, datetime.now(UTC)))


@app.command(name="list", epilog="Example: `mailer list --state deferred --limit 20`")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only those in this state.")] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Only those to `ann@example.org`, or to `@example.org`.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    *,
    as_json: AsJson = False,
) -> None:
    """List jobs, those first that changed their state last.

    With --recipient or --tag the newest 10,000 are looked through.
    """
    with _mailer() as mailer:
        page = mailer.page(state, limit, recipient=recipient, tag=tag)
    if as_json:
        views.print_json(page.jobs)
    elif page.jobs:
        views.console.print(views.job_list(page.jobs))
    else:
        typer.echo("no jobs", err=True)
    if (recipient or tag) and page.older and len(page.jobs) < limit:
        typer.echo(f"looked through the newest {page.looked_at:,} jobs; there are more", err=True)


@app.command(epilog="Example: `mailer cancel 01a207bc-7fbf-7fc9-a827-8f69585200b1`")
def cancel(job_ids: JobIds) -> None:
    """Keep jobs from being sent; exit code 1 where it was too late for one."""
    too_late = False
    with _mailer() as mailer:
        for job_id in job_ids:
            done = mailer.cancel(job_id)
            too_late |= not done
            typer.echo(f"{job_id} {'canceled' if done else 'too late'}")
    raise typer.Exit(int(too_late))


@app.command(epilog="Example: `mailer retry 01a207bc-7fbf-7fc9-a827-8f69585200b1`")
def retry(job_ids: JobIds) -> None:
    """Try jobs again now: those that wait, and those that ended without reaching everybody."""
    with _mailer() as mailer:
        for job_id in job_ids:
            mailer.retry(job_id)
            typer.echo(f"{job_id} due now")


@app.command(epilog="Example: `mailer resolve 01a207bc-7fbf-7fc9-a827-8f69585200b1 --sent`")
def resolve(
    job_id: JobId,
    *,
    sent: Annotated[bool, typer.Option("--sent/--failed", help="It arrived, or it did not.")],
) -> None:
    """Say what became of an unconfirmed job, of which nobody else knows."""
    with _mailer() as mailer:
        state = mailer.resolve(job_id, sent=sent)
    typer.echo(f"{job_id} {state}")


@app.command(epilog="Example: `mailer reschedule 01a207bc-7fbf-7fc9-a827-8f69585200b1 --at 2h`")
def reschedule(
    job_id: JobId, at: Annotated[str, typer.Option(help="10m, 2h, 1d or a date and time.")]
) -> None:
    """Give a job that waits another time."""
    moment = parse_moment(at)
    with _mailer() as mailer:
        mailer.reschedule(job_id, moment)
    typer.echo(f"{job_id} due {moment.isoformat(timespec='seconds')}")


@app.command(epilog="Example: `mailer stats --watch`")
def stats(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Every second, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Count the jobs in each state, and name the relays that are paused."""
    from rich.live import Live  # noqa: PLC0415 - only here

    from mailer.cli.statistics import read, table  # noqa: PLC0415 - only here

    with _mailer() as mailer:
        if as_json:
            views.print_json(read(mailer))
        elif not watch:
            views.console.print(table(read(mailer)))
        else:
            with Live(console=views.console, auto_refresh=False) as live:
                while True:
                    live.update(table(read(mailer)), refresh=True)
                    time.sleep(1)


@app.command(epilog="Example: `mailer events --follow --state failed --json`")
def events(
    state: Annotated[
        list[JobState] | None, typer.Option(help="Only of these; may be given several times.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Go on after this event; `now`: only new ones.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Share the events with other readers of this group.")
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document a line.")] = False,
) -> None:
    """Print the events that are recorded (MAILER_EVENTS): a line for each change of a job's state.

    The columns are time, job, state, number of tries, and the event's id.
    """
    with _mailer() as mailer:
        for event in mailer.events(after=after, states=state, group=group, follow=follow):
            typer.echo(views.event_line(event, as_json=as_json))


@app.command(epilog="Example: `mailer doctor`")
def doctor(*, as_json: AsJson = False) -> None:
    """Check Redis, the broker, the workers, the relay and the clock, and say what to change."""
    from mailer.cli.doctor import examine, report  # noqa: PLC0415 - only here

    findings = examine(load_settings())
    if as_json:
        views.print_json(findings)
    else:
        views.console.print(report(findings))
    raise typer.Exit(int(any(finding.is_bad for finding in findings)))


app.add_typer(sending.commands)
app.add_typer(batches.commands)
app.add_typer(suppression.commands)
app.add_typer(templates.commands)
