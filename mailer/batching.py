"""The public calls on batches; `Mailer` describes each."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from mailer.attachments.pinning import Pinned, pin
from mailer.batch import Batch, BatchReceipt
from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.errors import (
    BatchNotFound,
    InvalidArgument,
    InvalidEmail,
    MailerError,
    Vetoed,
)
from mailer.hooks import require_same_content
from mailer.job import JobState, Receipt
from mailer.message import Message
from mailer.portions import CHUNK_EMAILS, Portion
from mailer.recording import Recording
from mailer.settings import Settings
from mailer.steps import Call, Reading, Together
from mailer.store.batches import TALLIED_AT_ONCE, Batches, Chunk, StoredBatch
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys, batch_of, ids_of_batch, job_of_batch
from mailer.store.new_jobs import NewJob

if TYPE_CHECKING:
    from mailer.templates.letter import Letter

Row = Mapping[str, Any]
OnMistake = Callable[[int, InvalidEmail], None]
_LONGEST_NAME = 200  # characters
_MOST_ROWS = 2**32
_TALLIES_AT_ONCE = 20
_CANCELED_AT_ONCE = 500  # jobs in one Lua call: it holds Redis for some milliseconds


class Batching:
    """Calls on batches, as generators like those of `Calls`."""

    def __init__(self, settings: Settings, keys: Keys, jobs: Jobs, recording: Recording) -> None:
        self._settings = settings
        self._jobs = jobs
        self._recording = recording
        self._batches = Batches(keys)

    def enqueue(
        self,
        name: str,
        letter: "Letter",
        rows: Iterable[Row],
        on_mistake: OnMistake | None,
        durable: bool | None,
        *,
        dry_run: bool,
    ) -> Call[BatchReceipt]:
        """See `Mailer.enqueue_batch`. While Redis records one chunk, the next one is prepared."""
        _check_name(name)
        tell = on_mistake or _raised
        pinned: Pinned = yield Reading(partial(pin, letter.attachments, self._settings))
        begun = datetime.now(UTC)
        if not dry_run:
            yield from self._recording.prepare(durable)
            begun = yield from self._open(name, letter.filed(pinned.references), pinned.blobs)
        totals, ahead = _Totals(name, begun), None
        make = partial(_job, letter, self._settings, self._recording.hooked)
        try:
            for chunk, some in _chunks(name, rows):
                write = partial(_written, chunk, begun, some, make)
                written: _Written = yield Reading(write)
                for row, mistake in written.mistakes:
                    tell(row, mistake)
                totals.rows, totals.refused = chunk.rows, totals.refused + len(written.mistakes)
                if not dry_run:
                    one_before, ahead = ahead, None
                    totals.take((yield from self._recording.recorded(one_before)))
                    portion = Portion(written.jobs, durable, chunk=chunk)
                    ahead = yield from self._recording.begin(portion)
            last, ahead = ahead, None
            totals.take((yield from self._recording.recorded(last)))
        except Exception:  # of whoever makes the rows, too: what was sent before it is recorded
            with suppress(MailerError):
                yield from self._recording.recorded(ahead)
            raise
        finally:
            if ahead:
                ahead.answers.cancel()
        return totals.receipt()

    def batch(self, name: str) -> Call[Batch]:
        """See `Mailer.batch`."""
        _check_name(name)
        stored: StoredBatch = yield self._batches.find(name)
        ids = ids_of_batch(name, stored.begun_at)
        counts = dict.fromkeys(JobState, 0)
        parts = list(_parts(stored.rows, TALLIED_AT_ONCE))
        for start in range(0, len(parts), _TALLIES_AT_ONCE):
            tallies: list[list[int]] = yield Together(
                [
                    self._batches.tally(ids, first, last)
                    for first, last in parts[start : start + _TALLIES_AT_ONCE]
                ]
            )
            for tally in tallies:
                for state, number in zip(JobState, tally, strict=True):
                    counts[state] += number
        return Batch(name, stored.rows, counts, stored.begun_at, stored.canceled_at)

    def cancel(self, name: str) -> Call[int]:
        """See `Mailer.cancel_batch`."""
        _check_name(name)
        yield self._batches.close(name)
        stored: StoredBatch = yield self._batches.find(name)
        canceled = 0
        for first, last in _parts(stored.rows, _CANCELED_AT_ONCE):
            ids = [job_of_batch(name, stored.begun_at, row) for row in range(first, last + 1)]
            states: list[JobState | None] = yield self._jobs.cancel(ids)
            canceled += states.count(JobState.CANCELED)
        return canceled

    def filled_in(self, job_id: str, message: Message) -> Call[Message]:
        """Write a message of which only the values are stored with its job."""
        from mailer.templates.letter import FiledLetter  # noqa: PLC0415 - needs an extra

        digits = batch_of(job_id) or ""
        letter: bytes | None = yield self._batches.letter(digits)
        if letter is None:
            raise BatchNotFound(digits)
        return FiledLetter.from_json(letter).filled_in(message)

    def _open(self, name: str, letter: bytes, blobs: Mapping[str, bytes]) -> Call[datetime]:
        """Begin the batch or go on with it, and upload first what its letter needs."""
        digest = hashlib.sha256(letter).hexdigest()
        operation = self._batches.open(name, letter, digest, list(blobs))
        answers = yield Together([operation])
        (begun,) = yield from self._recording.uploaded(answers, blobs, lambda: [operation])
        return begun  # type: ignore[no-any-return]  # when it was


@attrs.define
class _Totals:
    """Counts what comes of the rows of a batch."""

    name: str
    begun: datetime
    rows: int = 0
    created: int = 0
    known: int = 0
    refused: int = 0

    def take(self, receipts: Sequence[Receipt]) -> None:
        new = sum(receipt.created for receipt in receipts)
        self.created, self.known = self.created + new, self.known + len(receipts) - new

    def receipt(self) -> BatchReceipt:
        return BatchReceipt(
            self.name, self.begun, self.rows, self.created, self.known, self.refused
        )


@attrs.frozen
class _Written:
    """The jobs of a chunk, and what is wrong with the rows that make none."""

    jobs: list[NewJob]
    mistakes: list[tuple[int, InvalidEmail]]


def _written(
    chunk: Chunk, begun: datetime, rows: Sequence[Row], make: Callable[[str, Row], NewJob]
) -> _Written:
    written = _Written([], [])
    for number, row in enumerate(rows, chunk.first):
        try:
            job = make(job_of_batch(chunk.batch, begun, number), row)
        except InvalidEmail as error:
            mistake = InvalidEmail(f"rows[{number}].{error.field}", error.reason)
            written.mistakes.append((number, mistake))
        except Vetoed as error:
            written.mistakes.append((number, InvalidEmail(f"rows[{number}]", str(error))))
        else:
            written.jobs.append(job)
    return written


def _job(
    letter: "Letter", settings: Settings, hooked: Callable[[Email], Email], job_id: str, row: Row
) -> NewJob:
    """Check a row by writing its email; what is stored is what a worker writes it from."""
    written, values = letter.filled_in(row)
    email = hooked(written)
    if email is not written:
        require_same_content(written, email)
    job = new_job(email, settings, job_id)
    of_the_row = Message(job.message.message_id, email.from_email, to=job.message.to, merged=values)
    return msgspec.structs.replace(job, message=of_the_row)


def _chunks(name: str, rows: Iterable[Row]) -> Iterator[tuple[Chunk, Sequence[Row]]]:
    """Cut rows, each chunk with the digest by which it is known when it comes again."""
    left = iter(rows)
    for number in count():
        some = list(islice(left, CHUNK_EMAILS))
        if not some:
            return
        first = number * CHUNK_EMAILS
        if first + len(some) > _MOST_ROWS:
            raise InvalidArgument("rows", f"are more than {_MOST_ROWS}")
        yield Chunk(name, number, first, first + len(some), _digest(some)), some


def _digest(rows: Sequence[Row]) -> str:
    """Identify rows; those that can't be kept are refused for that reason, and not here."""
    try:
        text = msgspec.json.encode(rows, enc_hook=lambda value: type(value).__name__)
    except (TypeError, ValueError, RecursionError):
        text = repr(rows).encode(errors="backslashreplace")
    return hashlib.sha256(text).hexdigest()[:32]


def _raised(_: int, mistake: InvalidEmail) -> None:
    raise mistake


def _parts(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut rows into parts; gives the first and the last of each."""
    for first in range(0, rows, size):
        yield first, min(first + size, rows) - 1


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidArgument("batch", f"is a name of 1 to {_LONGEST_NAME} printable characters")
