"""The jobs that this process holds: their leases are renewed while their delivery goes on."""

import asyncio
from collections.abc import Iterable

import structlog

from mailer.errors import StoreUnavailable
from mailer.store.agenda import Agenda, Lease
from mailer.store.runners import AsyncRunner
from workers.clock import steady

log = structlog.get_logger()
_MOST_AT_ONCE = 500  # leases renewed in one Lua call


class LeaseLost(Exception):
    """Another worker may have the job by now."""


class Leases:
    """Leases held, each with the time until which it surely is ours."""

    def __init__(self, agenda: Agenda, runner: AsyncRunner, seconds: float) -> None:
        self.seconds = seconds
        self._agenda = agenda
        self._runner = runner
        self._held: dict[Lease, float] = {}

    def __len__(self) -> int:
        return len(self._held)

    def take(self, leases: Iterable[Lease], asked_at: float) -> None:
        """Hold leases that were asked for at ``asked_at`` (`steady` seconds)."""
        self._held.update(dict.fromkeys(leases, asked_at + self.seconds))

    def drop(self, leases: Iterable[Lease]) -> None:
        """Hold them no longer."""
        for lease in leases:
            self._held.pop(lease, None)

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is ours still; after a long stop of this process it is not."""
        return self._held.get(lease, 0.0) > steady()

    async def keep_renewing(self) -> None:
        """Renew all leases, three times as often as is needed; runs until it is canceled."""
        while True:
            await asyncio.sleep(self.seconds / 3)
            await self.renew()

    async def renew(self) -> None:
        """Renew all leases now; those for which that fails may be lost."""
        held = list(self._held)
        for start in range(0, len(held), _MOST_AT_ONCE):
            await self._renew(held[start : start + _MOST_AT_ONCE])

    async def _renew(self, leases: list[Lease]) -> None:
        asked_at = steady()
        try:
            gone = await self._runner.run(self._agenda.renew(leases, self.seconds))
        except StoreUnavailable as error:
            log.warning("leases not renewed", jobs=len(leases), reason=str(error))
            return
        for lease in leases:
            if lease.job_id in gone:
                self._held.pop(lease, None)
            elif lease in self._held:
                self._held[lease] = asked_at + self.seconds
