"""Batches: emails of one letter, of which each row of a list makes one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from mailer.errors import BatchConflict, BatchNotFound, MailerError, WrongState
from mailer.job import JobState
from mailer.store.blobs import MissingBlobs
from mailer.store.keys import Keys
from mailer.store.operation import Argument, Operation, run_command, run_script
from mailer.store.records import at

TALLIED_AT_ONCE = 2000  # rows in one Lua call: it holds Redis for a millisecond
_UNUSED_SECONDS = 3600


@attrs.frozen
class Chunk:
    """Some rows of a batch, which are recorded together.

    Attributes:
        number: of the chunk, from 0.
        first: the number of its first row.
        rows: how many rows the batch has with this chunk.
        digest: of the rows' values.
    """

    batch: str
    number: int
    first: int
    rows: int
    digest: str

    def refusal(self, reason: bytes) -> MailerError | None:
        """Say why it was not recorded, if that is the batch's reason, and none of its emails'."""
        if reason == b"no batch":
            return BatchNotFound(self.batch)
        if reason == b"canceled":
            return _canceled(self.batch)
        if reason != b"other rows":
            return None
        return BatchConflict(
            f"rows {self.first} to {self.rows - 1} are others than those that were enqueued in the "
            f"batch {self.batch!r} before; take another name for another list"
        )


@attrs.frozen
class StoredBatch:
    """What is kept of a batch itself."""

    rows: int
    begun_at: datetime
    canceled_at: datetime | None


class Batches:
    """Operations on batches under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def open(
        self, name: str, letter: bytes, digest: str, blobs: Sequence[str]
    ) -> Operation[MissingBlobs | datetime]:
        """Begin a batch or go on with it.

        The result is when it was begun, or names blobs that are to be uploaded first.
        """

        def parse(reply: list[Any]) -> MissingBlobs | datetime:
            answer, *rest = reply
            if answer == b"missing":
                return MissingBlobs([sha.decode() for sha in rest])
            if answer == b"canceled":
                raise _canceled(name)
            if answer == b"other letter":
                raise BatchConflict(
                    f"the batch {name!r} has another letter; take another name for another one"
                )
            return at(rest[0])

        keys = [self._keys.batch(name), self._keys.blob_prefix, self._keys.blob_uses]
        return run_script("open", keys, [name, letter, digest, _UNUSED_SECONDS, *blobs], parse)

    def find(self, name: str) -> Operation[StoredBatch]:
        """Read what is kept of a batch (HMGET)."""

        def parse(reply: list[bytes | None]) -> StoredBatch:
            rows, created, canceled = (None if word is None else int(word) for word in reply)
            if rows is None or created is None:
                raise BatchNotFound(name)
            return StoredBatch(rows, at(created), None if canceled is None else at(canceled))

        key = self._keys.batch(name)
        return run_command("HMGET", key, "rows", "created", "canceled", parse=parse)

    def tally(self, ids: str, first: int, last: int) -> Operation[list[int]]:
        """Count the jobs of rows ``first`` to ``last`` by state, in the order of `JobState`.

        Args:
            ids: what those of the batch begin with.
        """
        states = list(JobState)
        args: list[Argument] = [len(states), *states, ids, first, last]
        return run_script("tally", [self._keys.job_prefix], args, list)

    def close(self, name: str) -> Operation[bool]:
        """Let nothing more come into a batch; False where there is none."""
        return run_script("close", [self._keys.batch(name)], [], bool)

    def digest(self, digits: str) -> Operation[bytes | None]:
        """Read the digest of a batch's letter (HGET)."""
        return run_command("HGET", self._keys.batch_prefix + digits, "digest", parse=_as_it_is)

    def letter(self, digits: str) -> Operation[bytes | None]:
        """Read the letter of a batch (HGET)."""
        return run_command("HGET", self._keys.batch_prefix + digits, "letter", parse=_as_it_is)


def _as_it_is(reply: bytes | None) -> bytes | None:
    return reply


def _canceled(name: str) -> WrongState:
    return WrongState(f"the batch {name!r} was canceled; take another name to send after all")
