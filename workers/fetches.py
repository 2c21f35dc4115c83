"""Attachments that lie elsewhere: fetched once, kept as blobs, and pinned on the job's record."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import attrs
import msgspec

from mailer.errors import AttachmentUnavailable, StoreUnavailable
from mailer.message import Message, Source
from mailer.store.agenda import Agenda, Assignment, Pinning
from mailer.store.blobs import Blobs
from mailer.store.runners import AsyncRunner
from workers.leases import LeaseLost

_AT_ONCE = 10  # fetches of one process
_REMEMBERED_SECONDS = 60.0  # for which one fetch serves other emails with the same attachment

Fetch = Callable[[str, int], AsyncGenerator[bytes]]


@attrs.define
class Fetches:
    """Fetches what is attached by URL or URI.

    Args:
        fetch: yields the content of a URI, of at most so many bytes.
        limit: the most bytes of all attachments of one email.
    """

    _agenda: Agenda
    _blobs: Blobs
    _runner: AsyncRunner
    _fetch: Fetch
    _limit: int
    _running: dict[Source, asyncio.Task[Source]] = attrs.field(factory=dict, init=False)
    _slots: asyncio.Semaphore = attrs.field(factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False)

    async def pinned(self, job: Assignment) -> Message:
        """Return the message with each attachment's content at hand, and that on record.

        So all attempts send the same, and what was fetched is not fetched again.

        Raises:
            AttachmentUnavailable: one is gone, or not what its producer said.
            AttachmentUnreachable: one can't be fetched now.
            LeaseLost: another worker has the job.
        """
        remote = [a.source for a in job.message.attachments if a.source.uri]
        if not remote:
            return job.message
        while True:
            found = {source: await self._shared(source) for source in remote}
            message = self._with(job.message, found)
            digests = sorted({source.sha256 for source in found.values()})
            match await self._runner.run(self._agenda.pin(job.lease, message, digests)):
                case Pinning.DONE:
                    return message
                case Pinning.LEASE_LOST:
                    raise LeaseLost
                case Pinning.BLOB_GONE:  # the last job that needed it was sent meanwhile
                    for source in remote:
                        self._running.pop(source, None)

    def _with(self, message: Message, found: dict[Source, Source]) -> Message:
        attachments = tuple(
            msgspec.structs.replace(a, source=found.get(a.source, a.source))
            for a in message.attachments
        )
        if sum(attachment.source.size for attachment in attachments) > self._limit:
            raise AttachmentUnavailable(
                f"the attachments have more than {self._limit} bytes together "
                "(MAILER_MAX_ATTACHMENT_BYTES)"
            )
        return msgspec.structs.replace(message, attachments=attachments)

    async def _shared(self, source: Source) -> Source:
        """Fetch a content, or wait for the fetch that another job has begun."""
        task = self._running.get(source)
        if task is None:
            task = self._running[source] = asyncio.create_task(self._fetched(source))
            task.add_done_callback(lambda done: self._fetch_ended(source, done))
        return await asyncio.shield(task)

    def _fetch_ended(self, source: Source, task: asyncio.Task[Source]) -> None:
        if task.cancelled() or task.exception():
            self._forget(source, task)
        else:
            asyncio.get_running_loop().call_later(_REMEMBERED_SECONDS, self._forget, source, task)

    def _forget(self, source: Source, task: asyncio.Task[Source]) -> None:
        if self._running.get(source) is task:
            del self._running[source]

    async def _fetched(self, source: Source) -> Source:
        """Gather a content in the store, part by part."""
        name, digest, size = uuid.uuid4().hex, hashlib.sha256(), 0
        try:
            async with self._slots:
                await self._runner.run_many(self._blobs.gather(name, 0, b""))  # it may be empty
                async with aclosing(self._fetch(source.uri or "", self._limit)) as chunks:
                    async for chunk in chunks:
                        await self._runner.run_many(self._blobs.gather(name, size, chunk))
                        digest.update(chunk)
                        size += len(chunk)
            sha256 = digest.hexdigest()
            _require_pin(source, sha256)
            await self._runner.run_many(self._blobs.adopt(name, sha256))
        except BaseException:
            with suppress(StoreUnavailable):
                await self._runner.run(self._blobs.discard(name))
            raise
        return Source(sha256, size)


def _require_pin(source: Source, sha256: str) -> None:
    if source.sha256 not in {"", sha256}:
        raise AttachmentUnavailable("an attachment is not what its producer's sha256 says")
