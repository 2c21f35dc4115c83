"""Emails on their way into Redis, as ``enqueue.lua`` takes them."""

from collections.abc import Mapping, Sequence

import msgspec

from mailer.job import Priority, Recipient
from mailer.message import Message
from mailer.store import records
from mailer.store.batches import Chunk
from mailer.store.keys import LANES, Keys
from mailer.store.operation import Argument

INLINE_BYTES = 16 * 1024  # up to which a blob goes along with its job, in one round trip
_LANES = {lane: b"%d" % number for number, lane in enumerate(LANES, 1)}


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
    """Writes the keys and arguments of ``enqueue.lua``."""

    def __init__(self, keys: Keys, idempotency_seconds: int, capacity: Capacity) -> None:
        self._keys = keys
        self._bounds = (idempotency_seconds, capacity.backlog, capacity.memory_share)

    def keys(self, jobs: Sequence[NewJob], chunk: Chunk | None) -> list[str]:
        """Name the records, then the batch: of a chunk whose rows are all refused, it alone."""
        records_of_jobs = [self._keys.job(job.id) for job in jobs]
        return [*records_of_jobs, self._keys.batch(chunk.batch)] if chunk else records_of_jobs

    def arguments(self, jobs: Sequence[NewJob], chunk: Chunk | None) -> list[Argument]:
        """Write what is to be recorded, and within which bounds."""
        words: list[Argument] = [*self._bounds, _of_batch(chunk) if chunk else b""]
        for job in jobs:
            words += (
                _LANES[job.priority],
                records.encode_head(job.head, job.id),
                records.encode_message(job.message),
                records.encode_recipients(job.recipients),
                self._more(job),
            )
            for sha256, content in job.blobs.items():
                words += (sha256, content if len(content) <= INLINE_BYTES else b"")
        return words

    def _more(self, job: NewJob) -> bytes:
        """Say what few jobs have; nothing of most."""
        more: dict[str, int | str] = {}
        if job.scheduled_ms:
            more["scheduled"] = job.scheduled_ms
        if job.expires_ms:
            more["expires"] = job.expires_ms
        if job.idempotency_key:
            more["once"] = self._keys.once(job.idempotency_key)
            more |= {"message_id": job.head.message_id, "fingerprint": job.fingerprint}
        if job.supersede_key:
            more["latest"] = self._keys.latest(job.supersede_key)
        if job.blobs:
            more["contents"] = len(job.blobs)
        return records.encode(more) if more else b""


def _of_batch(chunk: Chunk) -> bytes:
    return records.encode((chunk.number, chunk.rows, chunk.digest))
