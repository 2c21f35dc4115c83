"""Jobs as tables, for people; ``--json`` is for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text

from mailer.cli.times import from_now, shown
from mailer.job import Attempt, Decision, Job, JobState
from mailer.store.events import Event

_COLORS = {
    JobState.SENT: "green",
    JobState.PARTIALLY_SENT: "yellow",
    JobState.DEFERRED: "yellow",
    JobState.FAILED: "red",
    JobState.EXPIRED: "red",
    JobState.UNCONFIRMED: "magenta",
}

# without a terminal there is no width to keep to: ids and replies stay whole
console = Console(soft_wrap=False)
if not console.is_terminal:
    console = Console(width=200)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Make a bar that is gone in the end; where no person looks on, there is none."""
    watched = Console(stderr=True)
    return Progress(*columns, console=watched, transient=True, disable=not watched.is_terminal)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    document = msgspec.json.format(msgspec.json.encode(value), indent=2)
    console.print(document.decode(), soft_wrap=True, markup=False, highlight=False)


def event_line(event: Event, *, as_json: bool) -> str:
    """One event, in one line."""
    if as_json:
        return msgspec.json.encode(event).decode()
    return f"{shown(event.at)}  {event.job_id}  {event.state:<14}  {event.tries}  {event.id}"


def job_list(jobs: Iterable[Job]) -> Table:
    """A line for each job."""
    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "to", "subject", "tries", "next attempt"):
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for job in jobs:
        first, *others = (recipient.address for recipient in job.recipients)
        table.add_row(
            job.id,
            _state(job.state),
            Text(f"{first} +{len(others)}" if others else first),
            Text(job.subject),
            str(job.retries),
            from_now(job.next_attempt_at) if job.next_attempt_at else "",
        )
    return table


def job_details(job: Job) -> RenderableType:
    """All that is recorded of a job."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("id", job.id)
    facts.add_row("state", _state(job.state))
    if job.next_attempt_at:
        when = f"{shown(job.next_attempt_at)} ({from_now(job.next_attempt_at)})"
        facts.add_row("next attempt", when)
    facts.add_row("from", Text(job.from_email))
    facts.add_row("subject", Text(job.subject))
    facts.add_row("message id", Text(job.message_id))
    facts.add_row("priority", job.priority)
    facts.add_row("enqueued", shown(job.created_at))
    if job.expires_at:
        facts.add_row("expires", shown(job.expires_at))
    if job.tags:
        facts.add_row("tags", Text(", ".join(job.tags)))
    if job.metadata:
        facts.add_row("metadata", Text(msgspec.json.encode(job.metadata).decode()))
    people = Table("recipient", "state", "the relay's last word", box=None, pad_edge=False)
    for recipient in job.recipients:
        people.add_row(Text(recipient.address), str(recipient.state), Text(recipient.reply or ""))
    parts: list[RenderableType] = [facts, "", people]
    if job.attempts:
        parts += ["", _attempts(job.attempts)]
    return Group(*parts)


def _attempts(attempts: Sequence[Attempt]) -> Table:
    table = Table("attempt", "began", "phase", "led to", "why", box=None, pad_edge=False)
    for attempt in attempts:
        next_one = f"; next {shown(attempt.next_attempt_at)}" if attempt.next_attempt_at else ""
        why = attempt.reply or ""
        if attempt.decision is Decision.INTERRUPTED:
            why = f"the worker {attempt.worker} died or lost its lease; what it sent is unknown"
        table.add_row(
            str(attempt.n),
            shown(attempt.started_at),
            attempt.phase or "",
            attempt.decision,
            Text(why + next_one),
        )
    return table


def _state(state: JobState) -> Text:
    return Text(state, style=_COLORS.get(state, ""))
