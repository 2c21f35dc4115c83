"""Contents of attachments in the store, by their SHA-256: each is kept once, however many need it.

A blob that is uploaded goes after a while, unless a job comes to need it: the step that records
the job counts the blob's uses and lets it stay, and the last use takes it away.
"""

from collections.abc import Sequence
from typing import Any

import attrs

from mailer.store.keys import Keys
from mailer.store.operation import Operation, run_command

PART_BYTES = 57 * 4096  # what is read at once; whole lines of base64
_UNUSED_SECONDS = 3600


@attrs.frozen
class MissingBlobs:
    """A job can't be recorded yet: these contents are to be uploaded first.

    Attributes:
        digests: their SHA-256, in hex.
    """

    digests: Sequence[str]


class Blobs:
    """Operations on blobs under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def upload(self, sha256: str, content: bytes) -> Operation[bool]:
        """Store a content, unless it is there (SET NX)."""
        key = self._keys.blob(sha256)
        return run_command("SET", key, content, "NX", "EX", _UNUSED_SECONDS, parse=bool)

    def part(self, sha256: str, start: int) -> Operation[bytes]:
        """Read up to `PART_BYTES` of a content; nothing where it is gone (GETRANGE)."""
        return run_command(
            "GETRANGE", self._keys.blob(sha256), start, start + PART_BYTES - 1, parse=bytes
        )

    def gather(self, name: str, at: int, part: bytes) -> list[Operation[Any]]:
        """Write a part of a content whose SHA-256 is not known yet (SET, SETRANGE).

        It may be repeated; the first part, ``at`` 0, begins anew.
        """
        key = self._keys.upload(name)
        if at == 0:
            return [run_command("SET", key, part, "EX", _UNUSED_SECONDS, parse=bool)]
        return [
            run_command("SETRANGE", key, at, part, parse=int),
            run_command("EXPIRE", key, _UNUSED_SECONDS, parse=int),
        ]

    def adopt(self, name: str, sha256: str) -> list[Operation[int]]:
        """Make what was gathered a blob, unless there is one already (RENAMENX, DEL)."""
        key = self._keys.upload(name)
        return [
            run_command("RENAMENX", key, self._keys.blob(sha256), parse=int),
            run_command("DEL", key, parse=int),
        ]

    def discard(self, name: str) -> Operation[int]:
        """Drop what was gathered (DEL)."""
        return run_command("DEL", self._keys.upload(name), parse=int)
