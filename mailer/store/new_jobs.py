"""Emails on their way into Redis, as ``enqueue.lua`` takes them."""

from collections.abc import Mapping, Sequence

import msgspec

from mailer.job import JobState, Priority, Recipient
from mailer.message import Message
from mailer.store import records
from mailer.store.batches import Chunk
from mailer.store.keys import LANES, Keys
from mailer.store.operation import Packed
from mailer.store.packing import pack, pack_one

INLINE_BYTES = 16 * 1024  # up to which a blob goes along with its job, in one round trip
_NO_CHUNK = pack(["", "", ""])


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
        self._number = len(names) + 1
        self._names = pack(names)
        self._no_batch = pack([keys.memory])
        self._bounds = pack([idempotency_seconds, capacity.backlog, capacity.memory_share])

    def written(self, jobs: Sequence[NewJob], chunk: Chunk | None) -> Packed:
        """Write the number of keys, the keys and the arguments."""
        batch = pack([self._keys.batch(chunk.batch)]) if chunk else self._no_batch
        part = pack([chunk.number, chunk.rows, chunk.digest]) if chunk else _NO_CHUNK
        number_of_keys = self._number + 3 * len(jobs)
        pieces = [pack_one(b"%d" % number_of_keys), self._names, batch]
        for job in jobs:
            pieces += self._keys_of(job)
        pieces += (pack_one(b"%d" % len(jobs)), self._bounds, part)
        number = 1 + number_of_keys + 7 + 10 * len(jobs)
        for job in jobs:
            pieces.append(_arguments(job))
            for sha256, content in job.blobs.items():
                inline = content if len(content) <= INLINE_BYTES else b""
                pieces += (pack([sha256]), pack_one(inline))
                number += 2
        return Packed(number, pieces)

    def _keys_of(self, job: NewJob) -> tuple[bytes, bytes, bytes]:
        keys = self._keys
        record = once = latest = pack_one(keys.job(job.id).encode())
        if job.idempotency_key:
            once = pack([keys.once(job.idempotency_key)])
        if job.supersede_key:
            latest = pack([keys.latest(job.supersede_key)])
        return record, once, latest


def _arguments(job: NewJob) -> bytes:
    return pack(
        (
            job.id,
            LANES.index(job.priority) + 1,
            job.scheduled_ms,
            job.expires_ms,
            records.encode_head(job.head, job.id),
            records.encode_message(job.message),
            records.encode_recipients(job.recipients),
            job.head.message_id,
            job.fingerprint,
            len(job.blobs),
        )
    )
