"""What was promised against what came: every email that was enqueued, every copy, every record."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs

from mailer import Decision, Job, JobState, RecipientState
from mailer.testing import Received

Copies = Counter[tuple[str, str]]
_PERHAPS = "perhaps"  # in the reply of an attempt of which nobody knows whether it got through


@attrs.frozen
class Entry:
    """An email whose enqueueing was acknowledged.

    Attributes:
        poison: it ends each process that sends it, and should end as failed.
    """

    job_id: str
    message_id: str
    recipients: tuple[str, ...]
    at_most_once: bool = False
    poison: bool = False


@attrs.frozen
class Verdict:
    """What a round has shown. Copies are counted by recipient.

    Attributes:
        lost: never accepted by the relay, although no record says that it might be so.
        duplicated: accepted again; ``doubled_at_most_once`` of these were to come once at most.
        unmarked: of the duplicated, those whose record does not tell of a second attempt's cause.
        wrong: accepted or not, and recorded otherwise.
        stuck: jobs that had not ended in time.
        unconfirmed: jobs that ended so.
        problems: the first few that are not as they should be, in words.
    """

    jobs: int = 0
    lost: int = 0
    duplicated: int = 0
    doubled_at_most_once: int = 0
    unmarked: int = 0
    wrong: int = 0
    stuck: int = 0
    unconfirmed: int = 0
    problems: tuple[str, ...] = ()

    def __add__(self, other: "Verdict") -> "Verdict":
        mine, others = attrs.astuple(self, recurse=False), attrs.astuple(other, recurse=False)
        return Verdict(*(a + b for a, b in zip(mine, others, strict=True)))


def copies(received: Iterable[Received]) -> Copies:
    """Count how often each recipient was sent each message."""
    return Counter((m.message_id, to) for m in received for to in m.recipients)


def judge(
    entries: Sequence[Entry], jobs: Mapping[str, Job], came: Copies, may_double: int
) -> Verdict:
    """Compare the entries with what came and with what is recorded.

    Args:
        came: copies of these entries, and of no others.
        may_double: how many emails may come twice, unless they were to come at most once.
    """
    total = Verdict()
    for entry in entries:
        total += _of_one(entry, jobs.get(entry.job_id), came)
    ours = {(entry.message_id, to) for entry in entries for to in entry.recipients}
    if strangers := came.keys() - ours:
        total += Verdict(wrong=len(strangers), problems=(f"nobody enqueued {min(strangers)}",))
    twice = {message_id for (message_id, _), count in came.items() if count > 1}
    if len(twice) > may_double:
        total += Verdict(problems=(f"{len(twice)} emails came twice, {may_double} might",))
    return attrs.evolve(total, problems=total.problems[:5])


def _of_one(entry: Entry, job: Job | None, came: Copies) -> Verdict:
    if job is None:
        return Verdict(jobs=1, lost=1, problems=(f"no record of {entry.job_id}",))
    if not job.state.ended:
        return Verdict(jobs=1, stuck=1, problems=(f"{entry.job_id} is {job.state}",))
    if entry.poison:
        return Verdict(jobs=1) + _of_poison(entry, job, came)
    states = {recipient.address: recipient.state for recipient in job.recipients}
    total = Verdict(jobs=1, unconfirmed=job.state is JobState.UNCONFIRMED)
    for address in entry.recipients:
        total += _of_recipient(entry, job, states[address], came[entry.message_id, address])
    if total.problems:
        return attrs.evolve(total, problems=(f"{entry.job_id}: {'; '.join(total.problems)}",))
    return total


def _of_poison(entry: Entry, job: Job, came: Copies) -> Verdict:
    sent = any(came[entry.message_id, to] for to in entry.recipients)
    reason = job.attempts[-1].reply or ""
    if sent or job.state is not JobState.FAILED or "3 are too many" not in reason:
        return Verdict(wrong=1, problems=(f"poison {job.id} is {job.state}: {reason}",))
    return Verdict()


def _of_recipient(entry: Entry, job: Job, state: RecipientState, count: int) -> Verdict:
    total = Verdict()
    in_doubt = state is RecipientState.UNCONFIRMED and entry.at_most_once
    if count == 0 and not in_doubt:
        total += Verdict(lost=1, problems=(f"it never came and is {state}",))
    if count > 0 and not in_doubt and state is not RecipientState.ACCEPTED:
        total += Verdict(wrong=1, problems=(f"it came and is {state}",))
    if count > 1:
        total += Verdict(duplicated=count - 1)
        if entry.at_most_once:
            said = (f"at most once, it came {count} times",)
            total += Verdict(doubled_at_most_once=count - 1, problems=said)
        if not _is_marked(job):
            said = ("it came twice, and the record does not tell",)
            total += Verdict(unmarked=count - 1, problems=said)
    return total


def _is_marked(job: Job) -> bool:
    return any(
        attempt.decision is Decision.INTERRUPTED or _PERHAPS in (attempt.reply or "")
        for attempt in job.attempts
    )
