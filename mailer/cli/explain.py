"""The story of one email: each attempt, what was said, and why it waits now."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mailer.cli.times import how_long, shown
from mailer.job import Attempt, Decision, Job, JobState, RecipientState
from mailer.store.limits import Pace
from mailer.store.relays import RelayPause

_SOON = timedelta(seconds=2)  # past its time, and no reason for worry
_ENDS = {
    JobState.SENT: "every recipient was accepted",
    JobState.PARTIALLY_SENT: "some recipients were accepted, the others not",
    JobState.FAILED: "no recipient was accepted; `mailer retry` tries again",
    JobState.UNCONFIRMED: (
        "nobody knows whether it left; ask the relay, then `mailer resolve` it, "
        "or `mailer retry` it at the risk of a second copy"
    ),
    JobState.EXPIRED: "its `expires_at` came before it could be sent",
    JobState.CANCELED: "a person canceled it",
    JobState.SUPPRESSED: "every recipient is on the suppression list, or kept back in sandbox mode",
}


def standing(
    job: Job,
    pauses: Mapping[str, RelayPause],
    now: datetime,
    paces: Mapping[str, Pace] = MappingProxyType({}),
) -> Iterator[str]:
    """Say where a job stands, in sentences: what it waits for, and until when.

    Args:
        pauses: the relays that are paused, by name.
        now: by any clock; a few seconds of error do no harm.
        paces: the domains and relays that want less to be sent, by the limit's name.
    """
    if job.state.ended:
        why = _ENDS[job.state]
        if job.state is JobState.CANCELED and job.superseded_by:
            why = f"a newer email has taken its place, {job.superseded_by}"
        yield f"{job.state} since {shown(job.updated_at)}: {why}."
    elif job.next_attempt_at is None:
        yield f"A worker has been sending it since {shown(job.updated_at)}."
    else:
        yield _waiting(job, job.next_attempt_at, now)
        if job.expires_at:
            yield f"It expires at {shown(job.expires_at)}."
        tried = {attempt.relay for attempt in job.attempts}
        for pause in pauses.values():
            if pause.relay in tried or f"relay {pause.relay} " in (job.held or ""):
                yield _paused(pause, now)
        for pace in paces.values():
            if job.held and job.held.startswith(f"{pace.name} "):
                yield f"{pace.name} takes a message every {pace.interval:g} s: {pace.reason}."


def story(
    job: Job, pauses: Mapping[str, RelayPause], paces: Mapping[str, Pace], now: datetime
) -> RenderableType:
    """Tell it to a person."""
    parts: list[RenderableType] = [
        Text(f"{job.id}  {job.state}", style="bold"),
        Text(f"{job.subject!r}, from {job.from_email} to {len(job.recipients)} recipients"),
        Text(""),
        Text(f"{shown(job.created_at)}  enqueued, priority {job.priority}"),
    ]
    for attempt in job.attempts:
        parts.append(Text(f"{shown(attempt.started_at)}  {_headline(attempt)}"))
        parts += [Padding(Text(line), (0, 0, 0, 4)) for line in _lines(attempt)]
    parts += [Text(""), *(Text(line) for line in standing(job, pauses, now, paces))]
    parts += [Text(line) for line in _left(job)]
    return Group(*parts)


def _headline(attempt: Attempt) -> str:
    took = ""
    if attempt.ended_at:
        took = f", {(attempt.ended_at - attempt.started_at).total_seconds():.3f} s"
    by = f" by {attempt.worker}" if attempt.worker else ""
    to = f" at {attempt.relay}" if attempt.relay else ""
    return f"attempt {attempt.n}{by}{to}{took}: {attempt.decision}"


def _lines(attempt: Attempt) -> Iterator[str]:
    """What was said, what it means, and what was decided."""
    if attempt.decision is Decision.INTERRUPTED and not attempt.reply:
        yield "the worker died or lost its lease; what it sent is unknown"
    if attempt.reply:
        rule = f" [{attempt.rule}]" if attempt.rule else ""
        yield f"{attempt.phase}: {attempt.reply}{rule}" if attempt.phase else attempt.reply + rule
    for address, reply in attempt.replies.items():
        yield f"{address}: {reply}"
    if attempt.next_attempt_at:
        because = f": {attempt.because}" if attempt.because else ""
        yield f"next attempt at {shown(attempt.next_attempt_at)}{because}"
    if attempt.decision is Decision.PAUSE:
        yield "a fault of the relay; no attempt was used up"


def _paused(pause: RelayPause, now: datetime) -> str:
    since = f"since {shown(pause.since)}, found by {pause.by}"
    if pause.until <= now:
        return f"Relay {pause.relay} is at fault {since}: {pause.reason}. The next email tries it."
    return f"Relay {pause.relay} is paused until {shown(pause.until)}, {since}: {pause.reason}."


def _left(job: Job) -> Iterator[str]:
    """Name those whom it has not reached."""
    for recipient in job.recipients:
        if recipient.state is not RecipientState.ACCEPTED:
            said = f": {recipient.reply}" if recipient.reply else ""
            later = f", not before {shown(recipient.not_before)}" if recipient.not_before else ""
            yield f"  {recipient.address} {recipient.state}{later}{said}"


def _waiting(job: Job, due: datetime, now: datetime) -> str:
    when = f"{shown(due)} ({how_long((due - now).total_seconds())})"
    if job.held:
        return f"It waits until {when}: {job.held}."
    if due <= now - _SOON:
        return f"It has been due since {when}; no worker takes it. Is one running?"
    if due <= now:
        return "It is due now."
    if job.state is JobState.SCHEDULED:
        return f"It is scheduled for {when}."
    last = job.attempts[-1] if job.attempts else None
    if last and last.because and last.next_attempt_at == due:
        return f"The next attempt is at {when}: {last.because}."
    return f"The next attempt is at {when}, as somebody asked."
