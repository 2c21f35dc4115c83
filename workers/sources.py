"""Where contents are read from: files under the allowed roots, and blobs; checked as they pass."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import attrs

from mailer.attachments.files import open_allowed, size_of
from mailer.errors import AttachmentUnavailable
from mailer.message import Source
from mailer.store.blobs import PART_BYTES, Blobs
from mailer.store.runners import AsyncRunner


@attrs.frozen
class Sources:
    """Reads what is pinned, part by part; what differs from its pin is never handed out whole."""

    blobs: Blobs
    runner: AsyncRunner
    roots: Sequence[Path]

    async def whole(self, source: Source) -> bytes:
        """Read a content at once; raises what `parts` does."""
        async with aclosing(self.parts(source)) as parts:
            return b"".join([part async for part in parts])

    async def parts(self, source: Source) -> AsyncGenerator[bytes]:
        """Read a content in parts of `PART_BYTES`.

        The last part comes only when all of it has turned out to be what was enqueued.

        Raises:
            AttachmentUnavailable: it is gone, or has changed.
            StoreUnavailable, OSError: it can't be read now.
        """
        digest = hashlib.sha256()
        left = source.size
        async with aclosing(self._raw(source)) as parts:
            async for part in parts:
                left -= len(part)
                digest.update(part)
                if left <= 0:
                    break
                yield part
            else:
                part = b""
        if left or digest.hexdigest() != source.sha256:
            raise AttachmentUnavailable(f"{_named(source)} has changed since it was enqueued")
        yield part

    def _raw(self, source: Source) -> AsyncGenerator[bytes]:
        return self._file(Path(source.path), source) if source.path else self._blob(source)

    async def _file(self, path: Path, source: Source) -> AsyncGenerator[bytes]:
        file = await asyncio.to_thread(open_allowed, path, self.roots)
        try:
            if size_of(file) != source.size:
                return  # it has changed; no need to read it
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                yield part
        finally:
            file.close()

    async def _blob(self, source: Source) -> AsyncGenerator[bytes]:
        start = 0
        while start < source.size:
            part = await self.runner.run(self.blobs.part(source.sha256, start))
            if not part:
                raise AttachmentUnavailable("the content of an attachment is gone from the store")
            start += len(part)
            yield part


def _named(source: Source) -> str:
    return source.path or "the content of an attachment"
