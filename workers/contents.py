"""The contents of attachments, from where their references point, checked against their pins."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from mailer.errors import AttachmentUnavailable
from mailer.files import read_allowed, sha256_of
from mailer.message import AttachmentRef
from mailer.store.agenda import Agenda
from mailer.store.runners import AsyncRunner


class Contents:
    """Reads blobs from the store and files under the allowed roots."""

    def __init__(self, agenda: Agenda, runner: AsyncRunner, roots: Sequence[Path]) -> None:
        self._agenda = agenda
        self._runner = runner
        self._roots = roots

    async def of(self, references: Sequence[AttachmentRef]) -> dict[str, bytes]:
        """Return the contents by their SHA-256.

        Raises:
            AttachmentUnavailable: one is gone, or is not what was enqueued.
            StoreUnavailable, OSError: one can't be read now.
        """
        return {reference.sha256: await self._one(reference) for reference in references}

    async def _one(self, reference: AttachmentRef) -> bytes:
        if reference.path is None:
            content = await self._runner.run(self._agenda.blob(reference.sha256))
            if content is None:
                raise AttachmentUnavailable(f"the content of {reference.filename} is gone")
            return content
        return await asyncio.to_thread(self._read, Path(reference.path), reference)

    def _read(self, path: Path, reference: AttachmentRef) -> bytes:
        # one byte more than is expected tells a file that has grown
        content = read_allowed(path, self._roots, reference.size + 1, whole=False)
        if sha256_of(content) != reference.sha256:
            raise AttachmentUnavailable(f"{path} has changed since it was enqueued")
        return content
