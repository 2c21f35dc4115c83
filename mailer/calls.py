"""Every public call, written once: a generator that yields operations and receives their results.

`Mailer` runs it synchronously, `AsyncMailer` awaits each step; see ``client``.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from mailer.batching import Batching
from mailer.email import Email
from mailer.errors import (
    AttachmentUnavailable,
    InvalidArgument,
    JobNotFound,
    WaitTimeout,
    WrongState,
)
from mailer.following import Reader
from mailer.job import Job, JobState, Recipient, RecipientState, end_of
from mailer.listing import Listing
from mailer.message import Message, Source
from mailer.preview import preview, rendered
from mailer.recording import Recording
from mailer.settings import Settings
from mailer.steps import Call, Pause, Reading, Together
from mailer.store.blobs import Blobs
from mailer.store.jobs import Jobs, StoredJob
from mailer.store.keys import Keys
from mailer.store.limits import Limits, Pace
from mailer.store.new_jobs import Capacity
from mailer.store.records import milliseconds
from mailer.store.relays import RelayPause, Relays
from mailer.suppressing import Suppressing

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
        self._blobs = Blobs(keys)
        self._relays = Relays(keys)
        self._limits = Limits(keys)
        self.recording = Recording(settings, keys, self._jobs)
        self.batching = Batching(settings, keys, self._jobs, self.recording)
        self.suppressing = Suppressing(keys)
        self.listing = Listing(self._jobs)
        self.reader = partial(Reader, settings)

    def get(self, job_id: str) -> Call[Job]:
        stored: StoredJob = yield self._jobs.get(job_id)
        return stored.job

    def message(self, job_id: str) -> Call[bytes]:
        message: Message | None = yield self._jobs.message(job_id)
        if message is None:
            raise WrongState(f"the job {job_id} was sent, and its content is kept no more")
        if message.merged is not None:
            message = yield from self.batching.filled_in(job_id, message)
        blobs = {}
        for source in message.sources:
            if not source.path and not source.uri:
                blobs[source.sha256] = yield from self.content(source)
        wire: bytes = yield Reading(partial(rendered, message, blobs, self._settings))
        return wire

    def preview(self, email: Email) -> Call[bytes]:
        wire: bytes = yield Reading(partial(preview, self.recording.hooked(email), self._settings))
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
        states: list[JobState | None] = yield self._jobs.cancel([job_id])
        if states == [None]:
            raise JobNotFound(job_id)
        return states == [JobState.CANCELED]

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

    def counts(self) -> Call[dict[JobState, int]]:
        numbers: list[int] = yield Together([self._jobs.count(state) for state in JobState])
        return dict(zip(JobState, numbers, strict=True))

    def paces(self) -> Call[dict[str, Pace]]:
        paces: dict[str, Pace] = yield self._limits.paces()
        return paces

    def paused_relays(self) -> Call[dict[str, RelayPause]]:
        paused: dict[str, RelayPause] = yield self._relays.pauses()
        return paused

    def content(self, source: Source) -> Call[bytes]:
        content = bytearray()
        while len(content) < source.size:
            part: bytes = yield self._blobs.part(source.sha256, len(content))
            if not part:
                raise AttachmentUnavailable("the content of an attachment is gone from the store")
            content += part
        return bytes(content)

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
