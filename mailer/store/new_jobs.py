"""Emails on their way into Redis, as ``enqueue.lua`` takes them."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from mailer.job import JobState, Priority, Recipient
from mailer.message import Message
from mailer.store import records
from mailer.store.batches import Chunk
from mailer.store.keys import LANES, Keys
from mailer.store.operation import Packed
from mailer.store.packing import pack, pack_one

INLINE_BYTES = 16 * 1024  # up to which a blob goes along with its job, in one round trip
_TWO_WORDS = b"$%d\r\n%b\r\n$%d\r\n%b\r\n"
_WORD_AND_SIZE = b"$%d\r\n%b\r\n$%d\r\n"


class NewJob(msgspec.Struct, frozen=True, gc=False):
    """An email, checked and ready to be recorded.

    Attributes:
        scheduled_ms: Unix time in milliseconds, or 0 for now; ``expires_ms`` 0 for never.
        fingerprint: of the content, where an idempotency key is given; else empty.
        blobs: attachments' contents by their SHA-256.
    """

    id: str
    head: records.Head
    message: Message
    recipients: tuple[Recipient, ...]
    priority: Priority
    scheduled_ms: int = 0
    expires_ms: int = 0
    idempotency_key: str | None = None
    fingerprint: str = ""
    supersede_key: str | None = None
    blobs: Mapping[str, bytes] = {}

    def __repr__(self) -> str:
        """Name the job, and nothing of its content: this may come into logs."""
        return f"NewJob({self.id})"


class Capacity(msgspec.Struct, frozen=True):
    """How much may be stored; 0 stands for any amount.

    Attributes:
        backlog: the most jobs that have not ended.
        memory_share: of ``maxmemory``, or of the machine's memory where that is not set.
    """

    backlog: int = 0
    memory_share: float = 0.0


ANY_AMOUNT = Capacity()


class Writer:
    """Writes the keys and arguments of ``enqueue.lua``: what all calls share, once for all."""

    def __init__(self, keys: Keys, idempotency_seconds: int, capacity: Capacity) -> None:
        self._keys = keys
        names = [keys.wake, keys.urgent_wake, keys.blob_prefix, keys.blob_uses, *keys.lanes]
        names += [keys.state(JobState.QUEUED), keys.state(JobState.SCHEDULED)]
        names += [keys.state(JobState.SUPPRESSED), keys.state(JobState.DEFERRED)]
        names += [keys.state(JobState.CANCELED), keys.suppressed, keys.suppressed_tags]
        names += [keys.job_prefix, keys.memory]
        self._names = names
        self._bounds = (idempotency_seconds, capacity.backlog, capacity.memory_share)
        self._number = 1 + len(names) + 1 + 7  # of words, but for those of jobs
        self._frame = lru_cache(maxsize=8)(self._framed)  # nearly all are of one job, or of 100

    def written(self, jobs: Sequence[NewJob], chunk: Chunk | None) -> Packed:
        """Write the number of keys, the keys and the arguments."""
        before_keys, before_arguments = self._frame(len(jobs), chunk)
        pieces = [before_keys]
        for job in jobs:
            pieces += self._keys_of(job)
        pieces.append(before_arguments)
        number = self._number + 13 * len(jobs)
        for job in jobs:
            pieces += _arguments(job)
            for sha256, content in job.blobs.items():
                inline = content if len(content) <= INLINE_BYTES else b""
                pieces += (pack([sha256]), pack_one(inline))
                number += 2
        return Packed(number, pieces)

    def _framed(self, number: int, chunk: Chunk | None) -> tuple[bytes, bytes]:
        """Write what stands before the keys of so many jobs, and before their arguments."""
        keys = [*self._names, self._keys.batch(chunk.batch) if chunk else self._keys.memory]
        part = (chunk.number, chunk.rows, chunk.digest) if chunk else ("", "", "")
        return pack([len(keys) + 3 * number, *keys]), pack([number, *self._bounds, *part])

    def _keys_of(self, job: NewJob) -> tuple[bytes, bytes, bytes]:
        keys = self._keys
        record = once = latest = pack_one(keys.job(job.id).encode())
        if job.idempotency_key:
            once = pack([keys.once(job.idempotency_key)])
        if job.supersede_key:
            latest = pack([keys.latest(job.supersede_key)])
        return record, once, latest


def _arguments(job: NewJob) -> tuple[bytes, ...]:
    """Write what is said of a job; its message, which is long, is not copied for that."""
    job_id, message_id = job.id.encode(), job.head.message_id.encode()
    lane = b"%d" % (LANES.index(job.priority) + 1)
    scheduled, expires = b"%d" % job.scheduled_ms, b"%d" % job.expires_ms
    head = records.encode_head(job.head, job.id)
    message = records.encode_message(job.message)
    recipients = records.encode_recipients(job.recipients)
    mark, blobs = job.fingerprint.encode(), b"%d" % len(job.blobs)
    return (
        _TWO_WORDS % (len(job_id), job_id, len(lane), lane),
        _TWO_WORDS % (len(scheduled), scheduled, len(expires), expires),
        _WORD_AND_SIZE % (len(head), head, len(message)),
        message,
        b"\r\n",
        _TWO_WORDS % (len(recipients), recipients, len(message_id), message_id),
        _TWO_WORDS % (len(mark), mark, len(blobs), blobs),
    )
