"""What was promised for each email, against what relays accepted and what is on record: pure."""

from collections.abc import Mapping, Sequence

import attrs

from mailer import Attempt, Decision, Job, JobState


@attrs.frozen
class Entry:
    """An email whose enqueueing was acknowledged.

    Attributes:
        poison: it ends every process that builds it, and is to fail.
    """

    job_id: str
    message_id: str
    once: bool = False
    poison: bool = False


@attrs.frozen
class Verdict:
    """How many emails of a round fared well or otherwise.

    Attributes:
        lost: neither accepted by a relay nor in doubt, although it had to be sent.
        duplicated: second and further copies that relays accepted.
        unmarked: of these, those of which the record of attempts knows nothing.
        wrong: the record contradicts what the relays have.
        stuck: not ended in time.
        doubtful: ended as unconfirmed, as at-most-once demands.
    """

    jobs: int = 0
    lost: int = 0
    duplicated: int = 0
    unmarked: int = 0
    wrong: int = 0
    stuck: int = 0
    doubtful: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        pairs = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return Verdict(*(one + another for one, another in pairs))


def judge(entry: Entry, job: Job | None, copies: int) -> Verdict:
    """Judge one email.

    Args:
        job: what is on record, or None where nothing is.
        copies: how often relays have accepted it.
    """
    if job is None or job.message_id != entry.message_id:
        return Verdict(jobs=1, wrong=1, lost=not copies)
    if not job.state.ended:
        return Verdict(jobs=1, stuck=1)
    if entry.poison:
        return Verdict(jobs=1, wrong=job.state is not JobState.FAILED or copies > 0)
    doubtful = job.state is JobState.UNCONFIRMED and entry.once
    more = max(copies - 1, 0)
    right = doubtful or (job.state is JobState.SENT and copies > 0)
    return Verdict(
        jobs=1,
        lost=not copies and not doubtful,
        duplicated=more,
        unmarked=more if more > sum(map(_may_have_left, job.attempts)) else 0,
        wrong=not right or (entry.once and more > 0),
        doubtful=doubtful,
    )


def balance(
    entries: Sequence[Entry], jobs: Mapping[str, Job | None], copies: Mapping[str, int]
) -> Verdict:
    """Judge all emails of a round; copies are counted by Message-ID."""
    total = Verdict()
    for entry in entries:
        total += judge(entry, jobs.get(entry.job_id), copies.get(entry.message_id, 0))
    return total


def _may_have_left(attempt: Attempt) -> bool:
    """Whether the record says that this attempt's outcome is unknown."""
    lost_reply = attempt.phase == "dot" and attempt.code is None
    return attempt.decision is Decision.INTERRUPTED or lost_reply
