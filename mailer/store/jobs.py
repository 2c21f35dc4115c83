"""What producers ask of the store, each as one operation."""

from collections.abc import Sequence
from typing import Any

import attrs

from mailer.errors import (
    IdempotencyConflict,
    InvalidArgument,
    InvalidEmail,
    JobNotFound,
    MailerError,
    QueueFull,
)
from mailer.job import Job, JobState, Receipt, Recipient
from mailer.message import Message
from mailer.store import records
from mailer.store.batches import Chunk
from mailer.store.blobs import MissingBlobs
from mailer.store.keys import Keys
from mailer.store.new_jobs import ANY_AMOUNT, Capacity, NewJob, Writer
from mailer.store.operation import Argument, Operation, pairs, run_command, run_script


@attrs.frozen
class StoredJob:
    """A job as read, with the raw words that a compare-and-set needs."""

    job: Job
    raw_recipients: bytes
    has_message: bool


class Jobs:
    """Operations on jobs under one key prefix."""

    def __init__(
        self, keys: Keys, *, idempotency_seconds: int, capacity: Capacity = ANY_AMOUNT
    ) -> None:
        self._keys = keys
        self._writer = Writer(keys, idempotency_seconds, capacity)

    def enqueue(
        self, jobs: Sequence[NewJob], first: int | None = None, chunk: Chunk | None = None
    ) -> Operation[list[Receipt] | MissingBlobs]:
        """Record all of ``jobs``, or none of them.

        Small blobs go along. Of large ones only the digests do, for the store may have them.

        Args:
            first: the place of the first one among the caller's, for errors to name them.
            chunk: of a batch that they are; it is recorded once, however often it is enqueued.
        """

        def parse(reply: list[Any]) -> list[Receipt] | MissingBlobs:
            if reply[0] == b"ok":
                return [_receipt(job, word) for job, word in zip(jobs, reply[2:], strict=True)]
            if reply[0] == b"missing":
                return MissingBlobs([digest.decode() for digest in reply[1:]])
            if chunk and reply[0] == b"known":
                return [_receipt(job, 0) for job in jobs]
            raise _refusal(reply, jobs, first, chunk)

        writer = self._writer
        return run_script("enqueue", writer.keys(jobs, chunk), writer.arguments(jobs, chunk), parse)

    def get(self, job_id: str) -> Operation[StoredJob]:
        """Read one job (HGETALL)."""

        def parse(reply: Any) -> StoredJob:
            fields = pairs(reply)
            if not fields:
                raise JobNotFound(job_id)
            fields = records.whole(fields)
            job = records.decode_job(job_id, fields)
            return StoredJob(job, fields[b"recipients"], b"message" in fields)

        return run_command("HGETALL", self._keys.job(job_id), parse=parse)

    def look(self, job_ids: Sequence[str]) -> Operation[list[Job | None]]:
        """Read jobs for a list, without their messages; None for one that was retired since."""

        def parse(reply: list[Any]) -> list[Job | None]:
            return [_listed(*each) for each in zip(job_ids, map(pairs, reply), strict=True)]

        return run_script("look", [self._keys.job(job_id) for job_id in job_ids], [], parse)

    def message(self, job_id: str) -> Operation[Message | None]:
        """Read the message of a job, or None where it is kept no more (HGETALL)."""

        def parse(reply: Any) -> Message | None:
            fields = records.whole(pairs(reply))
            if not fields:
                raise JobNotFound(job_id)
            if b"message" not in fields:
                return None
            message_id = records.decode_head(fields[b"head"], job_id).message_id
            return records.decode_message(fields[b"message"], int(fields[b"date"]), message_id)

        return run_command("HGETALL", self._keys.job(job_id), parse=parse)

    def newest(
        self, state: JobState, limit: int, until: float | None = None
    ) -> Operation[list[tuple[float, str]]]:
        """List the ids that came into ``state`` last, with the time (ms) (ZRANGE BYSCORE REV).

        Args:
            until: of those only that came into it then or before.
        """

        def parse(reply: list[Any]) -> list[tuple[float, str]]:
            entries = reply if reply and isinstance(reply[0], list) else _in_twos(reply)
            return [(float(score), job_id.decode()) for job_id, score in entries]

        begin = "+inf" if until is None else until
        by_time = (begin, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit, "WITHSCORES")
        return run_command("ZRANGE", self._keys.state(state), *by_time, parse=parse)

    def count(self, state: JobState) -> Operation[int]:
        """Count the jobs recorded in ``state`` (ZCARD)."""
        return run_command("ZCARD", self._keys.state(state), parse=int)

    def cancel(self, ids: Sequence[str]) -> Operation[list[JobState | None]]:
        """Cancel those that wait; the result is the state each is in afterwards, if recorded."""

        def parse(reply: list[bytes | None]) -> list[JobState | None]:
            return [JobState(state.decode()) if state else None for state in reply]

        keys = self._keys
        names = [*keys.lanes, *keys.states, *map(keys.job, ids)]
        return run_script("cancel", names, ids, parse)

    def reschedule(self, job_id: str, due_ms: int) -> Operation[tuple[JobState, bool]]:
        """Give a job that waits another time; the result says whether it did wait."""

        def parse(reply: list[Any] | None) -> tuple[JobState, bool]:
            if reply is None:
                raise JobNotFound(job_id)
            if reply[1] < 0:
                raise InvalidArgument("at", "is not before the email's expires_at")
            return JobState(reply[0].decode()), bool(reply[1])

        keys = self._keys
        names = [keys.job(job_id), keys.wake, *keys.lanes]
        names += [keys.state(JobState.SCHEDULED), keys.state(JobState.QUEUED)]
        return run_script("reschedule", names, [job_id, due_ms], parse)

    def revive(self, stored: StoredJob, recipients: tuple[Recipient, ...]) -> Operation[bool]:
        """Queue an ended job again, unless it has changed since it was read."""
        keys, job = self._keys, stored.job
        names = [keys.job(job.id), keys.wake, *keys.lanes]
        names += [keys.state(job.state), keys.state(JobState.QUEUED)]
        args: list[Argument] = [
            job.id,
            job.state,
            stored.raw_recipients,
            records.encode_recipients(recipients),
        ]
        return run_script("revive", names, args, bool)

    def resolve(
        self, stored: StoredJob, recipients: tuple[Recipient, ...], state: JobState, words: str
    ) -> Operation[bool]:
        """End the doubt about an unconfirmed job, unless it has changed since it was read."""
        keys, job = self._keys, stored.job
        names = [keys.job(job.id), keys.state(JobState.UNCONFIRMED), keys.state(state)]
        names += [keys.blob_prefix, keys.blob_uses]
        args: list[Argument] = [job.id, stored.raw_recipients]
        return run_script(
            "resolve", names, [*args, records.encode_recipients(recipients), state, words], bool
        )


def _refusal(
    reply: list[Any], jobs: Sequence[NewJob], first: int | None, chunk: Chunk | None
) -> MailerError:
    """Say why jobs were not recorded."""
    reason, *more = reply
    if reason == b"full":
        return _queue_full(*more)
    if chunk and (refusal := chunk.refusal(reason)):
        return refusal
    at = more[0] - 1
    place = "" if first is None else f"emails[{first + at}]."
    if reason == b"expired":
        return InvalidEmail(f"{place}expires_at", "is in the past, by the Redis server's clock")
    return IdempotencyConflict(
        f"{place}idempotency_key: {jobs[at].idempotency_key!r} is known, "
        "with other content; use another key for another email"
    )


def _queue_full(there: int, allowed: int, kind: bytes) -> QueueFull:
    if kind == b"jobs":
        return QueueFull(
            f"{there} emails wait, of {allowed} that MAILER_MAX_BACKLOG allows; nothing was "
            "stored. Enqueue later, run more workers, or raise it"
        )
    return QueueFull(
        f"Redis uses {there // 2**20} MB, and {allowed // 2**20} are allowed "
        "(MAILER_MAX_MEMORY_SHARE); nothing was stored. Enqueue later, run more workers, or give "
        "it more memory"
    )


def _receipt(job: NewJob, word: int | bytes) -> Receipt:
    if isinstance(word, bytes):
        earlier_id, message_id = word.decode().split()
        return Receipt(id=earlier_id, message_id=message_id, created=False)
    return Receipt(job.id, job.head.message_id, bool(word))


def _listed(job_id: str, fields: dict[bytes, bytes]) -> Job | None:
    return records.decode_job(job_id, records.whole(fields)) if fields else None


def _in_twos(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
