"""At most once: that a message is about to be completed is on record before it is."""

import asyncio

from mailer.store.agenda import Agenda, Commitment
from mailer.store.runners import AsyncRunner
from workers.leases import LeaseLost


class Commits:
    """Notes of several jobs go to Redis in one call: what comes while one is under way waits."""

    def __init__(self, agenda: Agenda, runner: AsyncRunner) -> None:
        self._agenda = agenda
        self._runner = runner
        self._waiting: list[tuple[Commitment, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def commit(self, made: Commitment) -> None:
        """Put on record that a message may have left from now on.

        Raises:
            LeaseLost: another worker may have the job: its message must not be completed.
            StoreUnavailable: likewise, for nobody would know of it.
        """
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
