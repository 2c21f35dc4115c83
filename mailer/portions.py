"""How many emails are recorded in one call, and what is known of them until they are."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mailer.job import Receipt
from mailer.store.batches import Chunk
from mailer.store.new_jobs import INLINE_BYTES, NewJob

# One Lua call records a chunk of emails: large enough to amortise the round trip, small enough
# not to keep Redis from answering others (some 10 µs for each email).
CHUNK_EMAILS = 100
CHUNK_BYTES = 1024 * 1024
CHUNK_CONTENTS = 16 * 1024 * 1024  # of large attachments, which are held until they are uploaded

OnRecorded = Callable[[Sequence[Receipt]], None]


class Receipts:
    """Those of the chunks that are recorded: kept, unless somebody takes them as they come.

    Attributes:
        kept: those that nobody took.
        count: of all.
    """

    def __init__(self, on_recorded: OnRecorded | None) -> None:
        self.kept: list[Receipt] = []
        self.count = 0
        self._hand_on = on_recorded or self.kept.extend

    def take(self, receipts: Sequence[Receipt]) -> None:
        """Take those of one chunk."""
        self.count += len(receipts)
        if receipts:
            self._hand_on(receipts)


class Filling:
    """Jobs that are to be recorded in one call, and how much there is to send for them."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self._bytes = 0
        self._contents: set[str] = set()  # those that go by themselves, each once
        self._bytes_of_contents = 0

    def add(self, job: NewJob) -> None:
        """Put one more into it."""
        self.jobs.append(job)
        message = job.message
        self._bytes += len(message.text or "") + len(message.html or "")
        self._bytes += len(message.amp or "") + len(message.calendar or "")
        for digest, content in job.blobs.items():
            if len(content) <= INLINE_BYTES:
                self._bytes += len(content)
            elif digest not in self._contents:
                self._contents.add(digest)
                self._bytes_of_contents += len(content)

    @property
    def is_full(self) -> bool:
        """Whether the next one had better go with another call."""
        return (
            len(self.jobs) >= CHUNK_EMAILS
            or self._bytes >= CHUNK_BYTES
            or self._bytes_of_contents >= CHUNK_CONTENTS
        )


class Portion(msgspec.Struct, frozen=True):
    """Jobs that are recorded in one call.

    Attributes:
        durable: see `Mailer.enqueue`.
        first: the place of the first one among the caller's emails, for errors to name them.
        chunk: of a batch that they are.
    """

    jobs: Sequence[NewJob]
    durable: bool | None
    first: int | None = None
    chunk: Chunk | None = None


class UnderWay(msgspec.Struct, frozen=True):
    """A portion whose recording has begun."""

    answers: Any
    portion: Portion
