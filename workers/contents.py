"""The contents of a batch's attachments, encoded: what several jobs need, once for all of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from io import BytesIO
from typing import NamedTuple

from mailer.message import AttachmentRef, Message, Source
from mailer.mime import Encoded, Streamed, encode_attachment, stream_attachment
from mailer.mime.bodies import base64_length, encode_base64, is_message
from mailer.store.blobs import PART_BYTES
from workers.sources import Sources

_SHARED_BYTES = 64 * 1024 * 1024


class Budget:
    """How many bytes of shared contents one process may hold."""

    def __init__(self, room: int = _SHARED_BYTES) -> None:
        self._room = room

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes, if there is room."""
        if size > self._room:
            return False
        self._room -= size
        return True

    def give_back(self, size: int) -> None:
        """End a reservation."""
        self._room += size


class Contents:
    """Encodes the attachments of one batch.

    Small contents are read at once, large ones while they are sent: a transaction never holds more
    than a few parts of those. What several jobs of the batch need is encoded once and held as long
    as one of them may need it, within the budget. A message within a message is read at once,
    however large: how it crosses the wire depends on all of it.
    """

    def __init__(self, sources: Sources, budget: Budget, messages: Iterable[Message]) -> None:
        self._sources = sources
        self._budget = budget
        uses = Counter(a.source for message in messages for a in message.attachments)
        self._uses = {source: number for source, number in uses.items() if number > 1}
        self._held: dict[Source, _Held] = {}

    async def of(self, enqueued: Message, message: Message, *, eight_bit: bool) -> list[Encoded]:
        """Encode the attachments of one message.

        Args:
            enqueued: as it was begun, which tells what it shares with others.
            message: the same with all its attachments fetched.

        Raises:
            AttachmentUnavailable, StoreUnavailable, OSError: as `Sources.parts`.
        """
        pairs = zip(enqueued.attachments, message.attachments, strict=True)
        return [await self._one(a.source, b, eight_bit=eight_bit) for a, b in pairs]

    async def lines(self, source: Source, *, whole: bool) -> bytes | Streamed:
        """Return a content that goes as it is: at hand where it is small or needed ``whole``."""
        if whole or source.size <= PART_BYTES:
            return await self._sources.whole(source)
        return Streamed(source, source.size, base64=False)

    async def chunks(self, streamed: Streamed) -> AsyncGenerator[bytes]:
        """Read a content; each chunk begins where a line does, or with a line end."""
        async with aclosing(self._sources.parts(streamed.source)) as parts:
            rest = b""
            async for part in parts:
                if streamed.base64:
                    yield rest + encode_base64(part)
                    rest = b"\r\n"
                else:
                    end = part.rfind(b"\n") + 1
                    yield rest + part[:end]
                    rest = part[end:]
        if not streamed.base64:
            yield rest

    def done(self, enqueued: Message) -> None:
        """Let go of what no other job of the batch needs."""
        for attachment in enqueued.attachments if self._uses else ():
            source = attachment.source
            if source in self._uses:
                self._uses[source] -= 1
                if not self._uses[source] and (held := self._held.pop(source, None)):
                    held.task.cancel()
                    self._budget.give_back(held.size)

    async def _one(self, shared: Source, attachment: AttachmentRef, *, eight_bit: bool) -> Encoded:
        source = attachment.source
        if is_message(attachment.content_type):
            data = await self._sources.whole(source)
            return encode_attachment(attachment.content_type, data, eight_bit=eight_bit)
        if shared not in self._held and self._uses.get(shared, 0) > 1:
            size = base64_length(source.size)
            if self._budget.take(size):
                task = asyncio.create_task(self._encoded(source))
                task.add_done_callback(_heard)
                self._held[shared] = _Held(task, size)
        if held := self._held.get(shared):
            # shielded: a job that is canceled takes nothing away from the others
            return await asyncio.shield(held.task)
        if source.size > PART_BYTES:
            return stream_attachment(source)
        return await self._encoded(source)

    async def _encoded(self, source: Source) -> Encoded:
        whole = BytesIO()  # which hands out its buffer without a copy
        async with aclosing(self.chunks(Streamed(source, 0))) as chunks:
            async for chunk in chunks:
                whole.write(chunk)
        return Encoded("base64", whole.getvalue())


class _Held(NamedTuple):
    task: asyncio.Task[Encoded]
    size: int


def _heard(task: asyncio.Task[Encoded]) -> None:
    """Take note of a failure, although those who waited for it may be gone."""
    if not task.cancelled():
        task.exception()
