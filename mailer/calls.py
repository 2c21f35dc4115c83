"""Every public call, written once: a generator that yields operations and receives their results.

`Mailer` runs it synchronously, `AsyncMailer` awaits each step; see ``client``.
"""

import time
from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

import msgspec

from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.errors import (
    AttachmentUnavailable,
    InvalidArgument,
    InvalidEmail,
    MailerError,
    NotDurable,
    StoreUnavailable,
    WaitTimeout,
    WrongState,
)
from mailer.job import Job, JobState, Receipt, Recipient, RecipientState, end_of
from mailer.message import Message, Source
from mailer.preview import preview, rendered
from mailer.settings import Settings
from mailer.steps import Call, Pause, Reading, Together
from mailer.store.blobs import Blobs, MissingBlobs
from mailer.store.durability import Durability
from mailer.store.jobs import INLINE_BYTES, Capacity, Jobs, NewJob, StoredJob
from mailer.store.keys import Keys
from mailer.store.limits import Limits, Pace
from mailer.store.records import milliseconds
from mailer.store.relays import RelayPause, Relays
from mailer.suppressing import Suppressing

# One Lua call records a chunk of emails: large enough to amortise the round trip, small enough
# not to keep Redis from answering others (some 10 µs for each email).
CHUNK_EMAILS = 100
CHUNK_BYTES = 1024 * 1024
CHUNK_CONTENTS = 32 * 1024 * 1024  # of large attachments, which are held until they are uploaded
_MOST_UPLOADS = 5  # of what the store loses as soon as it has it
_MOST_LISTED = 1_000_000
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.5  # seconds between looks in `wait`


class Calls:
    """The calls that `Mailer` and `AsyncMailer` share; `Mailer` describes each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        keys = Keys(settings.key_prefix)
        self._jobs = Jobs(
            keys,
            idempotency_seconds=settings.idempotency_seconds,
            capacity=Capacity(settings.max_backlog, settings.max_memory_share),
        )
        self._durability = Durability(settings.durable_replicas, settings.store_timeout_seconds)
        self._can_be_durable = False  # unknown yet
        self._blobs = Blobs(keys)
        self._relays = Relays(keys)
        self._limits = Limits(keys)
        self.suppressing = Suppressing(keys)

    def enqueue(self, email: Email, durable: bool | None) -> Call[Receipt]:
        yield from self._prepare(durable)
        job = yield from self._new_job(email)
        receipts = yield from self._record([job], durable)
        return receipts[0]

    def enqueue_many(self, emails: Iterable[Email], durable: bool | None) -> Call[list[Receipt]]:
        yield from self._prepare(durable)
        receipts: list[Receipt] = []
        chunk = _Chunk()
        mistake: InvalidEmail | None = None
        try:
            for email in _up_to_a_mistake(emails):
                try:
                    chunk.add((yield from self._new_job(email)))
                except InvalidEmail as error:
                    place = len(receipts) + len(chunk.jobs)
                    mistake = InvalidEmail(f"emails[{place}].{error.field}", error.reason)
                if chunk.jobs and (chunk.is_full or mistake):
                    receipts += yield from self._record(chunk.jobs, durable, len(receipts))
                    chunk = _Chunk()
                if mistake:
                    raise mistake
            if chunk.jobs:
                receipts += yield from self._record(chunk.jobs, durable, len(receipts))
        except MailerError as error:
            error.receipts = [*receipts, *error.receipts]
            raise
        return receipts

    def get(self, job_id: str) -> Call[Job]:
        stored: StoredJob = yield self._jobs.get(job_id)
        return stored.job

    def message(self, job_id: str) -> Call[bytes]:
        message: Message | None = yield self._jobs.message(job_id)
        if message is None:
            raise WrongState(f"the job {job_id} was sent, and its content is kept no more")
        blobs = {}
        for source in message.sources:
            if not source.path and not source.uri:
                blobs[source.sha256] = yield from self._blob(source)
        wire: bytes = yield Reading(partial(rendered, message, blobs, self._settings))
        return wire

    def preview(self, email: Email) -> Call[bytes]:
        wire: bytes = yield Reading(partial(preview, email, self._settings))
        return wire

    def wait(self, job_id: str, timeout: float) -> Call[Job]:
        deadline = time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            stored: StoredJob = yield self._jobs.get(job_id)
            left = deadline - time.monotonic()
            if stored.job.state.ended:
                return stored.job
            if left <= 0:
                raise WaitTimeout(f"after {timeout:g} s the job {job_id} is {stored.job.state}")
            yield Pause(min(pause, left))
            pause = min(pause * 1.5, _LAST_LOOK)

    def cancel(self, job_id: str) -> Call[bool]:
        state: JobState = yield self._jobs.cancel(job_id)
        return state is JobState.CANCELED

    def reschedule(self, job_id: str, at: datetime) -> Call[None]:
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidArgument("at", "is a datetime with its zone, such as datetime.now(UTC)")
        yield from self._move(job_id, milliseconds(at))

    def retry(self, job_id: str) -> Call[None]:
        while True:
            stored: StoredJob = yield self._jobs.get(job_id)
            if not stored.job.state.ended:
                yield from self._move(job_id, 0)
                return
            recipients = _to_be_tried_again(stored)
            done: bool = yield self._jobs.revive(stored, recipients)
            if done:
                return

    def resolve(self, job_id: str, *, sent: bool) -> Call[JobState]:
        while True:
            stored: StoredJob = yield self._jobs.get(job_id)
            if stored.job.state is not JobState.UNCONFIRMED:
                raise WrongState(f"the job {job_id} is {stored.job.state}, and not unconfirmed")
            words = f"a person says that it was {'sent' if sent else 'not sent'}"
            recipients = _resolved(stored.job.recipients, sent=sent)
            state = end_of(recipients)
            done: bool = yield self._jobs.resolve(stored, recipients, state, words)
            if done:
                return state

    def list(self, state: str | None, limit: int) -> Call[list[Job]]:
        if state is not None and state not in set(JobState):
            raise InvalidArgument("state", f"is one of {', '.join(JobState)}")
        if type(limit) is not int or not 1 <= limit <= _MOST_LISTED:
            raise InvalidArgument("limit", f"is a whole number from 1 to {_MOST_LISTED}")
        states = [JobState(state)] if state else list(JobState)
        found: list[list[tuple[float, str]]] = yield Together(
            [self._jobs.newest(s, limit) for s in states]
        )
        ids = sorted((entry for entries in found for entry in entries), reverse=True)[:limit]
        jobs: list[Job | None] = yield Together([self._jobs.find(job_id) for _, job_id in ids])
        # some may have moved on since they were listed
        return [job for job in jobs if job and job.state in states]

    def counts(self) -> Call[dict[JobState, int]]:
        numbers: list[int] = yield Together([self._jobs.count(state) for state in JobState])
        return dict(zip(JobState, numbers, strict=True))

    def paces(self) -> Call[dict[str, Pace]]:
        paces: dict[str, Pace] = yield self._limits.paces()
        return paces

    def paused_relays(self) -> Call[dict[str, RelayPause]]:
        paused: dict[str, RelayPause] = yield self._relays.pauses()
        return paused

    def _prepare(self, durable: bool | None) -> Call[None]:
        """Refuse what the server can't do, before anything is stored."""
        if self._is_durable(durable) and not self._can_be_durable:
            yield Together(self._durability.requirements())
            self._can_be_durable = True

    def _is_durable(self, durable: bool | None) -> bool:
        return self._settings.durable if durable is None else durable

    def _record(
        self, jobs: Sequence[NewJob], durable: bool | None, first: int | None = None
    ) -> Call[Sequence[Receipt]]:
        """Record jobs, and upload first those of their blobs that the store lacks."""
        contents = ChainMap(*(dict(job.blobs) for job in jobs if job.blobs))
        for _ in range(_MOST_UPLOADS):
            answer = yield from self._enqueue(jobs, durable, first)
            if not isinstance(answer, MissingBlobs):
                return answer
            for digest in answer.digests:
                yield self._blobs.upload(digest, contents[digest])
        raise StoreUnavailable("Redis loses attachments at once; its maxmemory-policy is to blame")

    def _enqueue(
        self, jobs: Sequence[NewJob], durable: bool | None, first: int | None
    ) -> Call[Sequence[Receipt] | MissingBlobs]:
        answer: Sequence[Receipt] | MissingBlobs
        enqueue = self._jobs.enqueue(jobs, first=first)
        if not self._is_durable(durable):
            answer = yield enqueue
            return answer
        # together, for Redis waits for what the same connection has written
        answer, problem = yield Together([enqueue, self._durability.awaited()])
        if problem and not isinstance(answer, MissingBlobs):
            error = NotDurable(problem)
            error.receipts = answer
            raise error
        return answer

    def _blob(self, source: Source) -> Call[bytes]:
        content = bytearray()
        while len(content) < source.size:
            part: bytes = yield self._blobs.part(source.sha256, len(content))
            if not part:
                raise AttachmentUnavailable("the content of an attachment is gone from the store")
            content += part
        return bytes(content)

    def _new_job(self, email: Email | InvalidEmail) -> Call[NewJob]:
        if isinstance(email, InvalidEmail):
            raise email
        if not isinstance(email, Email):
            raise InvalidEmail("email", f"is an Email, not {type(email).__name__}")
        if email.text_from_html or any(attachment.path for attachment in email.attachments):
            job: NewJob = yield Reading(partial(new_job, email, self._settings))
            return job
        return new_job(email, self._settings)

    def _move(self, job_id: str, due_ms: int) -> Call[None]:
        state, moved = yield self._jobs.reschedule(job_id, due_ms)
        if not moved:
            raise WrongState(f"the job {job_id} is {state}; only a job that waits has a next time")


def _to_be_tried_again(stored: StoredJob) -> tuple[Recipient, ...]:
    """Who of an ended job gets another try: never one who was accepted.

    Nor one in doubt, where the job did not end for that reason: a second copy is asked for by name.
    """
    done = {RecipientState.ACCEPTED}
    if stored.job.state is not JobState.UNCONFIRMED:
        done.add(RecipientState.UNCONFIRMED)
    again = tuple(
        r if r.state in done else msgspec.structs.replace(r, state=RecipientState.PENDING)
        for r in stored.job.recipients
    )
    if not stored.has_message or all(r.state in done for r in again):
        raise WrongState(
            f"the job {stored.job.id} is {stored.job.state}: nobody is left to send to"
        )
    return again


def _resolved(recipients: Sequence[Recipient], *, sent: bool) -> tuple[Recipient, ...]:
    known = RecipientState.ACCEPTED if sent else RecipientState.REFUSED
    in_doubt = RecipientState.UNCONFIRMED
    return tuple(
        msgspec.structs.replace(r, state=known) if r.state is in_doubt else r for r in recipients
    )


class _Chunk:
    """Jobs that are recorded in one call, and how much there is to send for them."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self._bytes = 0
        self._contents: dict[str, int] = {}  # those that go by themselves, each once

    def add(self, job: NewJob) -> None:
        message = job.message
        texts = (message.text, message.html, message.amp, message.calendar)
        self._bytes += sum(len(text) for text in texts if text)
        for digest, content in job.blobs.items():
            if len(content) <= INLINE_BYTES:
                self._bytes += len(content)
            else:
                self._contents[digest] = len(content)
        self.jobs.append(job)

    @property
    def is_full(self) -> bool:
        return (
            len(self.jobs) >= CHUNK_EMAILS
            or self._bytes >= CHUNK_BYTES
            or sum(self._contents.values()) >= CHUNK_CONTENTS
        )


def _up_to_a_mistake(emails: Iterable[Email]) -> Iterator[Email | InvalidEmail]:
    """Yield emails and, where making the next one fails as it goes, its mistake as the last."""
    try:
        yield from emails
    except InvalidEmail as error:
        yield error
