"""Which relays are worth trying now: pauses after faults, shared by all workers through Redis."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from mailer.errors import StoreUnavailable
from mailer.store.operation import Operation
from mailer.store.records import milliseconds
from mailer.store.relays import FIRST_PAUSE, Relays
from mailer.store.runners import AsyncRunner
from workers.clock import ServerClock

log = structlog.get_logger()
_LOOK_EVERY = 0.5  # seconds between looks at what other workers found
_PROBE_PATIENCE = 30.0  # seconds
_ASK_AGAIN = 1.0  # seconds, where another worker tries the relay


class Breakers:
    """A circuit breaker for each relay: closed, open for a while, then half open for one message.

    What this worker knows is half a second old at most; what counts is in Redis.

    Args:
        later: runs an operation for which nobody waits.
    """

    def __init__(
        self,
        worker: str,
        store: Relays,
        runner: AsyncRunner,
        clock: ServerClock,
        later: Callable[[Operation[bool]], None],
    ) -> None:
        self._worker = worker
        self._store = store
        self._runner = runner
        self._clock = clock
        self._later = later
        self._paused: dict[str, tuple[int, str]] = {}  # relay → until (ms), reason

    def closed(self, relay: str) -> bool:
        """Whether nothing is known against a relay, so that nobody need be asked."""
        return relay not in self._paused

    def wait(self, relay: str) -> float:
        """Seconds until the relay may be tried again; 0 where it may be now."""
        if relay not in self._paused:
            return 0.0
        until, _ = self._paused[relay]
        return max(0.0, (until - self._clock.now_ms) / 1000)

    def reason(self, relay: str) -> str:
        """Say why a relay is paused."""
        return self._paused.get(relay, (0, "paused"))[1]

    def hold(self, relay: str) -> tuple[float, str] | None:
        """Tell for how many seconds a relay is paused, and why; None where it is not."""
        wait = self.wait(relay)
        return (wait, f"relay {relay} is paused: {self.reason(relay)}") if wait else None

    def held_up(self, relays: Iterable[str]) -> float:
        """Seconds for which none of ``relays`` may be tried; 0 where one may be."""
        return min(map(self.wait, relays))

    def probing(self, relays: Iterable[str]) -> bool:
        """Whether the last thing heard of each was a fault: try one message, not many."""
        return all(relay in self._paused for relay in relays)

    async def admit(self, relay: str) -> float:
        """Ask to use a relay now; returns how many seconds to wait, 0 for none.

        Raises:
            StoreUnavailable: nobody knows whether another worker tries it.
        """
        if relay not in self._paused:
            return 0.0
        if wait := self.wait(relay):
            return wait
        wait = await self._runner.run(self._store.probe(relay, _PROBE_PATIENCE))
        return min(wait, _ASK_AGAIN) if wait else 0.0

    async def fault(self, relay: str, reason: str) -> None:
        """Pause a relay."""
        if self.wait(relay):
            return
        try:
            trip = await self._runner.run(self._store.trip(relay, reason, self._worker))
        except StoreUnavailable:  # it is paused for this worker alone
            self._paused[relay] = self._clock.now_ms + round(FIRST_PAUSE * 1000), reason
            return
        self._clock.heard(trip.now_ms)
        self._paused[relay] = trip.until_ms, reason
        if trip.news:
            log.error(
                "relay paused; no attempt is used up",
                relay=relay,
                seconds=self.wait(relay),
                reason=reason,
            )

    def success(self, relay: str) -> None:
        """Note that a relay works. While it is paused, that is no news of now."""
        if relay in self._paused and not self.wait(relay):
            del self._paused[relay]
            log.info("relay works again", relay=relay)
            self._later(self._store.heal(relay))

    async def keep_watching(self) -> None:
        """Learn what other workers find; runs until it is canceled."""
        while True:
            try:
                pauses = await self._runner.run(self._store.pauses())
            except StoreUnavailable as error:
                log.debug("pauses of relays unknown", reason=str(error))
            else:
                self._paused = {
                    name: (milliseconds(pause.until), pause.reason)
                    for name, pause in pauses.items()
                }
            await asyncio.sleep(_LOOK_EVERY)
