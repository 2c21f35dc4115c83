"""At most once: that a message is about to be completed is on record before it is."""

import asyncio
from collections.abc import Callable

from mailer.store.agenda import Agenda, Assignment, Commitment, Lease
from mailer.store.runners import AsyncRunner
from workers.leases import LeaseLost


class Commits:
    """Notes of several jobs go to Redis in one call: what comes while one is under way waits.

    Args:
        note: told of every message that is about to be completed, however it is delivered.
    """

    def __init__(
        self,
        agenda: Agenda,
        runner: AsyncRunner,
        note: Callable[[Commitment], None] | None = None,
    ) -> None:
        self._agenda = agenda
        self._runner = runner
        self._note = note
        self._waiting: list[tuple[Commitment, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._made: dict[Lease, Commitment] = {}

    def needed(self, job: Assignment) -> bool:
        """Whether anybody must know before the job's message is complete."""
        return job.head.delivery == "at-most-once" or self._note is not None

    async def commit(self, job: Assignment, made: Commitment) -> None:
        """Put on record that a message may have left from now on.

        Raises:
            LeaseLost: another worker may have the job: its message must not be completed.
            StoreUnavailable: likewise, for nobody would know of it.
        """
        if job.head.delivery == "at-most-once":
            await self._record(made)
        self._made[made.lease] = made
        if self._note:
            self._note(made)

    def made(self, lease: Lease) -> Commitment | None:
        """Tell what the holder of a lease has committed itself to."""
        return self._made.get(lease)

    def forget(self, lease: Lease) -> None:
        """Let go of a lease whose attempt is over."""
        self._made.pop(lease, None)

    async def _record(self, made: Commitment) -> None:
        noted = asyncio.get_running_loop().create_future()
        self._waiting.append((made, noted))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if not await noted:
            raise LeaseLost

    async def _write(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                commitments = [made for made, _ in group]
                answers = await self._runner.run(self._agenda.commit(commitments))
            except Exception as error:  # noqa: BLE001 - who waits must hear of it, or waits for ever
                for _, noted in group:
                    if not noted.done():
                        noted.set_exception(error)
            else:
                for (_, noted), ours in zip(group, answers, strict=True):
                    if not noted.done():
                        noted.set_result(ours)
