"""What is recorded of an email: its state, its recipients' states and its attempts."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec


class JobState(StrEnum):
    """Where a job stands."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    SENT = "sent"
    PARTIALLY_SENT = "partially_sent"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    EXPIRED = "expired"
    CANCELED = "canceled"
    SUPPRESSED = "suppressed"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to the job by itself."""
        return self not in _WAITING and self is not JobState.SENDING


_WAITING = frozenset({JobState.SCHEDULED, JobState.QUEUED, JobState.DEFERRED})


class RecipientState(StrEnum):
    """What became of one recipient."""

    PENDING = "pending"
    DEFERRED = "deferred"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"
    SUPPRESSED = "suppressed"


class Decision(StrEnum):
    """What an attempt led to."""

    SENT = "sent"
    RETRY = "retry"
    FAIL = "fail"
    PAUSE = "pause"  # the relay is at fault: tried again, and no attempt used up
    UNCONFIRMED = "unconfirmed"  # nobody knows whether it left, and it was to leave once at most
    SUPPRESSED = "suppressed"  # nobody was sent to: sandbox mode keeps it back
    RESOLVED = "resolved"  # no attempt, but a person's word about one
    INTERRUPTED = "interrupted"  # the worker died or lost its lease; what it sent is unknown


class Priority(StrEnum):
    """Which email leaves first when several are due."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


# Every way from one state to another, with its cause. None stands for "not recorded yet".
TRANSITIONS: MappingProxyType[tuple[JobState | None, JobState], str] = MappingProxyType(
    {
        (None, JobState.QUEUED): "enqueued, due now",
        (None, JobState.SCHEDULED): "enqueued with `scheduled_at` ahead",
        (None, JobState.SUPPRESSED): "enqueued; every recipient is on a suppression list",
        (JobState.SCHEDULED, JobState.SENDING): "its time came and a worker began",
        (JobState.SCHEDULED, JobState.QUEUED): "rescheduled to now",
        (JobState.SCHEDULED, JobState.CANCELED): "canceled, or superseded by a newer email",
        (JobState.SCHEDULED, JobState.EXPIRED): "`expires_at` passed before a worker began",
        (JobState.SCHEDULED, JobState.SUPPRESSED): "every recipient was suppressed since",
        (JobState.SCHEDULED, JobState.FAILED): "some were refused, the others suppressed since",
        (JobState.SCHEDULED, JobState.PARTIALLY_SENT): "the others were suppressed since",
        (
            JobState.SCHEDULED,
            JobState.UNCONFIRMED,
        ): "some are in doubt, the others suppressed since",
        (JobState.QUEUED, JobState.SENDING): "a worker began",
        (JobState.QUEUED, JobState.SCHEDULED): "rescheduled to a later time",
        (JobState.QUEUED, JobState.CANCELED): "canceled, or superseded by a newer email",
        (JobState.QUEUED, JobState.EXPIRED): "`expires_at` passed before a worker began",
        (JobState.QUEUED, JobState.SUPPRESSED): "every recipient was suppressed since",
        (JobState.QUEUED, JobState.FAILED): "some were refused, the others suppressed since",
        (JobState.QUEUED, JobState.PARTIALLY_SENT): "the others were suppressed since",
        (JobState.QUEUED, JobState.UNCONFIRMED): "some are in doubt, the others suppressed since",
        (JobState.SENDING, JobState.SENT): "every recipient was accepted",
        (JobState.SENDING, JobState.PARTIALLY_SENT): "some were accepted, and not the others",
        (JobState.SENDING, JobState.FAILED): "nobody was accepted, and nobody is left to try",
        (JobState.SENDING, JobState.DEFERRED): "a temporary refusal or a fault of the relay",
        (
            JobState.SENDING,
            JobState.QUEUED,
        ): "not tried: its worker stops, or a paused relay or a limit holds it up",
        (
            JobState.SENDING,
            JobState.UNCONFIRMED,
        ): "perhaps it left, and is not sent again: at most once, expired, suppressed, superseded",
        (
            JobState.SENDING,
            JobState.CANCELED,
        ): "it did not get through, and a newer email has superseded it meanwhile",
        (JobState.SENDING, JobState.SUPPRESSED): "sandbox mode keeps it back from every recipient",
        (JobState.DEFERRED, JobState.SENDING): "the next attempt was due and a worker began",
        (JobState.DEFERRED, JobState.CANCELED): "canceled, or superseded by a newer email",
        (JobState.DEFERRED, JobState.EXPIRED): "`expires_at` passed before the next attempt",
        (JobState.DEFERRED, JobState.SUPPRESSED): "every recipient was suppressed since",
        (JobState.DEFERRED, JobState.FAILED): "some were refused, the others suppressed since",
        (JobState.DEFERRED, JobState.PARTIALLY_SENT): "the others were suppressed since",
        (JobState.DEFERRED, JobState.UNCONFIRMED): "some are in doubt, the others suppressed since",
        (JobState.PARTIALLY_SENT, JobState.QUEUED): "retried by a person",
        (JobState.FAILED, JobState.QUEUED): "retried by a person",
        (JobState.UNCONFIRMED, JobState.QUEUED): "retried by a person",
        (JobState.UNCONFIRMED, JobState.SENT): "resolved by a person: it was sent",
        (JobState.UNCONFIRMED, JobState.PARTIALLY_SENT): "resolved by a person",
        (JobState.UNCONFIRMED, JobState.FAILED): "resolved by a person: it was not sent",
        (JobState.EXPIRED, JobState.QUEUED): "retried by a person",
        (JobState.CANCELED, JobState.QUEUED): "retried by a person",
        (JobState.SUPPRESSED, JobState.QUEUED): "retried by a person",
    }
)


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One recipient of a job.

    Attributes:
        address: as SMTP takes it, the domain in A-labels.
        reply: the relay's last word on this recipient, for example ``450 4.7.1 Greylisted``.
        not_before: when to try this one again, where others of the job are tried earlier.
    """

    address: str
    state: RecipientState = RecipientState.PENDING
    reply: str | None = None
    not_before: datetime | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try to deliver a job.

    Attributes:
        n: counts the attempts of the retry policy from 1; a pause repeats the number.
        started_at: Redis server time; so is ``ended_at``.
        phase: where the reply came, or how far it got without one: connect, tls, auth, mail, rcpt,
            data or dot.
        code: the SMTP reply code, where there was a reply.
        enhanced_code: RFC 3463, for example ``4.7.1``.
        reply: what explains best what happened; word for word where the server said it.
        rule: the kind of reply that it is, by the table in docs/delivery.md.
        replies: what was said of recipients besides, by address; of twenty at most, for the last
            word on each recipient is kept with the recipient.
        because: why the next attempt is at the time of ``next_attempt_at``.
    """

    n: int
    started_at: datetime
    decision: Decision
    ended_at: datetime | None = None
    worker: str | None = None
    relay: str | None = None
    phase: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    reply: str | None = None
    rule: str | None = None
    replies: dict[str, str] = {}
    next_attempt_at: datetime | None = None
    because: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of what is recorded of one email. Times are the Redis server's, in UTC.

    Attributes:
        held: why it waits, where that is no matter of its last attempt: a paused relay, a limit.
        superseded_by: id of the newer email of the same supersede key that takes its place.
    """

    id: str
    state: JobState
    message_id: str
    from_email: str
    subject: str
    recipients: tuple[Recipient, ...]
    attempts: tuple[Attempt, ...] = ()
    priority: Priority = Priority.NORMAL
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    next_attempt_at: datetime | None = None
    held: str | None = None
    superseded_by: str | None = None

    @property
    def retries(self) -> int:
        """How many attempts of the retry policy are used up."""
        no_use = {Decision.PAUSE, Decision.INTERRUPTED, Decision.SUPPRESSED, Decision.RESOLVED}
        return max((a.n for a in self.attempts if a.decision not in no_use), default=0)


def end_of(recipients: Sequence[Recipient]) -> JobState:
    """Name the end of a job of which nobody is left to send to."""
    states = {recipient.state for recipient in recipients}
    if RecipientState.UNCONFIRMED in states:
        return JobState.UNCONFIRMED
    if states == {RecipientState.ACCEPTED}:
        return JobState.SENT
    if states == {RecipientState.SUPPRESSED}:
        return JobState.SUPPRESSED
    return JobState.PARTIALLY_SENT if RecipientState.ACCEPTED in states else JobState.FAILED


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What ``enqueue`` returns, once the job is recorded.

    Attributes:
        created: False where the idempotency key was known, and this is the earlier job.
    """

    id: str
    message_id: str
    created: bool
