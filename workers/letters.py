"""Jobs of batches: the message of each is written from the letter that they have in common."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from mailer.errors import BatchNotFound, MailerError, StoreUnavailable
from mailer.store.agenda import Assignment
from mailer.store.batches import Batches
from mailer.store.keys import batch_of
from mailer.store.runners import AsyncRunner

if TYPE_CHECKING:
    from mailer.templates.letter import FiledLetter

_MOST_KEPT = 50  # letters
_AT_ONCE = 10  # messages, before other tasks get their turn
Unwritten = tuple[Assignment, MailerError | ImportError]


class Letters:
    """Writes messages from letters, which it keeps as long as the store has the same ones."""

    def __init__(self, batches: Batches, runner: AsyncRunner) -> None:
        self._batches = batches
        self._runner = runner
        self._kept: dict[str, tuple[bytes, FiledLetter]] = {}  # by the digits of the batch

    async def written(self, jobs: Sequence[Assignment]) -> tuple[list[Assignment], list[Unwritten]]:
        """Write the messages of those jobs that are of batches.

        Returns all jobs that have a message now, and the others, each with the reason:
        `StoreUnavailable`, or an `ImportError` where this worker lacks what letters need; what else
        it is stays so.
        """
        if all(job.message.merged is None for job in jobs):
            return list(jobs), []
        ready, unwritten = list[Assignment](), list[Unwritten]()
        digits = {batch_of(job.lease.job_id) for job in jobs if job.message.merged is not None}
        fault: MailerError | ImportError | None = None
        try:
            await self._refresh(filter(None, digits))
        except (StoreUnavailable, ImportError) as error:
            fault = error
        for number, job in enumerate(jobs):
            if job.message.merged is None:
                ready.append(job)
            elif fault:
                unwritten.append((job, fault))
            else:
                try:
                    ready.append(self._filled_in(job))
                except MailerError as error:
                    unwritten.append((job, error))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return ready, unwritten

    def _filled_in(self, job: Assignment) -> Assignment:
        digits = batch_of(job.lease.job_id) or ""
        if digits not in self._kept:
            raise BatchNotFound(digits)
        _, letter = self._kept[digits]
        return msgspec.structs.replace(job, message=letter.filled_in(job.message))

    async def _refresh(self, batches: Iterable[str]) -> None:
        """Read the letters that are not known, or have become others under the same name."""
        from mailer.templates.letter import FiledLetter  # noqa: PLC0415 - needs an extra

        wanted = list(batches)
        digests = await self._runner.run_many([self._batches.digest(name) for name in wanted])
        for name, digest in zip(wanted, digests, strict=True):
            known = self._kept.pop(name, None)
            if digest is None:
                continue
            if known is None or known[0] != digest:
                stored = await self._runner.run(self._batches.letter(name))
                if stored is None:
                    continue
                known = digest, FiledLetter.from_json(stored)
            self._kept[name] = known  # as the last one
        for name in list(self._kept)[:-_MOST_KEPT]:
            del self._kept[name]
