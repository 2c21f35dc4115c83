"""Attachments by URI, such as ``s3://bucket/key``: read through fsspec, under allowed prefixes."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress

from mailer.attachments.locations import require_allowed_uri, require_prefix
from mailer.errors import AttachmentUnavailable, AttachmentUnreachable, InvalidSetting

_CHUNK_BYTES = 256 * 1024
_BLOCK_BYTES = 4 * 1024 * 1024  # of one request to the store; some would read 50 MB ahead
_THREADS = 10
_MOST_FOREIGN_CHARACTERS = 150


class ObjectReader:
    """Reads what lies under ``prefixes``, by fsspec's sync API in threads: all systems have it.

    Args:
        prefixes: such as ``s3://invoices/``.
        seconds: for a whole read, the reader's own pauses included. A thread can't be stopped: one
            that hangs stays until its library gives up.

    Raises:
        InvalidSetting: a prefix is malformed, or fsspec is not installed.
    """

    def __init__(self, prefixes: Sequence[str], seconds: float) -> None:
        self._prefixes = tuple(prefixes)
        self._seconds = seconds
        # threads of its own: those that hang must not keep files and names from being looked up
        self._threads = ThreadPoolExecutor(_THREADS, "fsspec")
        for prefix in self._prefixes:
            require_prefix(prefix)
        if self._prefixes:
            _require_fsspec()

    async def fetch(self, uri: str, limit: int) -> AsyncGenerator[bytes, None]:
        """Give the content in chunks; whoever does not read to the end closes it (``aclosing``).

        Raises:
            AttachmentUnavailable: it is not to be had, or has over ``limit`` bytes.
            AttachmentUnreachable: it can't be had now.
        """
        require_allowed_uri(uri, self._prefixes)
        protocol = uri.partition("://")[0]
        deadline = asyncio.get_running_loop().time() + self._seconds
        reading = _Reading(_chunks(uri, limit))
        try:
            while chunk := await _next(self._threads, reading, protocol, deadline):
                yield chunk
        finally:
            await asyncio.get_running_loop().run_in_executor(self._threads, reading.give_up)


class _Reading:
    """Steps through a generator in threads, and closes it: after the last step, or amid one."""

    def __init__(self, chunks: Generator[bytes, None, None]) -> None:
        self._chunks = chunks
        self._given_up = False

    def step(self) -> bytes:
        try:
            return next(self._chunks, b"")
        finally:
            if self._given_up:  # by a reader that no longer waited for this step
                self.give_up()

    def give_up(self) -> None:
        self._given_up = True
        with suppress(ValueError):  # a step is still being taken, and will see to it
            self._chunks.close()


async def _next(threads: Executor, reading: _Reading, protocol: str, deadline: float) -> bytes:
    """Take a step in a thread, and turn what it raises into our errors.

    The libraries' own sentences are not repeated: they may contain keys and signatures.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.get_running_loop().run_in_executor(threads, reading.step)
    except AttachmentUnavailable:
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise AttachmentUnavailable(f"there is no such object ({protocol}://)") from None
    except PermissionError:
        raise AttachmentUnavailable(f"the object may not be read ({protocol}://)") from None
    except ImportError as error:
        advice = str(error)[:_MOST_FOREIGN_CHARACTERS]
        raise AttachmentUnavailable(f"{protocol}:// can't be read here: {advice}") from None
    except TimeoutError:
        raise AttachmentUnreachable(
            f"{protocol}:// took too long; a read may take MAILER_ATTACHMENT_FETCH_SECONDS"
        ) from None
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        raise AttachmentUnreachable(
            f"{protocol}:// can't be read now: {type(error).__name__}"
        ) from None


def _chunks(uri: str, limit: int) -> Generator[bytes, None, None]:
    """Open and read, a step at a time; runs in threads."""
    from fsspec import get_filesystem_class, url_to_fs  # noqa: PLC0415 - optional

    protocol = uri.partition("://")[0]
    try:
        get_filesystem_class(protocol)
    except ValueError:
        raise AttachmentUnavailable(f"fsspec knows no protocol {protocol}://") from None
    system, path = url_to_fs(uri)
    with system.open(path, "rb", block_size=_BLOCK_BYTES) as file:
        if (getattr(file, "size", None) or 0) > limit:
            raise _too_large(limit)
        left = limit
        # one byte more than is allowed tells that there is more
        while chunk := file.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise _too_large(limit)
            yield chunk


def _too_large(limit: int) -> AttachmentUnavailable:
    return AttachmentUnavailable(
        f"the object has more than {limit} bytes (MAILER_MAX_ATTACHMENT_BYTES)"
    )


def _require_fsspec() -> None:
    try:
        import fsspec  # noqa: F401, PLC0415 - optional
    except ImportError:
        raise InvalidSetting(
            "MAILER_ATTACHMENT_URIS: reading URIs needs fsspec; pip install 'celery-mailer[uri]'"
        ) from None
