"""The dispatcher: claims what is due, and publishes it as batches of job ids.

One runs inside every worker. It sleeps until it is woken, until the next job is due, or for a
second, whichever comes first; and it claims only as much as workers can soon take.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from uuid import uuid4

import attrs
import structlog

from mailer.errors import StoreUnavailable
from mailer.job import JobState, Priority
from mailer.store.agenda import Agenda
from mailer.store.runners import AsyncRunner
from workers.clock import ServerClock
from workers.window import Window

log = structlog.get_logger()
_LONGEST_SLEEP = 1.0  # seconds; also how long a lost wake-up can delay anything
_RETIRE_EVERY, _RETIRE_AT_ONCE = 60.0, 500

Publish = Callable[[Sequence[str], str, str, Priority], Awaitable[None]]


@attrs.frozen
class Portions:
    """How the dispatcher portions what it claims; see the settings of these names."""

    batch_size: int
    dispatch_timeout: float
    retention: float


class Dispatcher:
    """Moves due jobs from the agenda to the workers.

    Args:
        worker: part of the name to which its tickets come back, and which no other one has, nor
            one before it in a worker of that name.
        publish: sends ids, that name, a ticket and their priority as one Celery message.
        held_up: seconds for which claiming makes no sense, for the relay is paused.
        probing: whether the relay should be tried with a single job.
    """

    def __init__(
        self,
        worker: str,
        agenda: Agenda,
        runner: AsyncRunner,
        clock: ServerClock,
        window: Window,
        limits: Portions,
        publish: Publish,
        held_up: Callable[[], float],
        probing: Callable[[], bool],
    ) -> None:
        self._name = f"{worker}.{uuid4().hex[:8]}"
        self._agenda = agenda
        self._runner = runner
        self._clock = clock
        self._window = window
        self._limits = limits
        self._publish = publish
        self._held_up = held_up
        self._probing = probing
        self._tickets = count(1)
        self._retire_at = 0.0
        self._ceased = False
        self._claiming = asyncio.Lock()  # from a claim until all of it is published

    async def run(self) -> None:
        """Dispatch until canceled. While Redis is away, ask for it every second."""
        away = False
        while True:
            try:
                await self._round()
                await self._retire()
            except StoreUnavailable as error:
                if not away:
                    log.error("dispatcher waits for Redis", reason=str(error))
                away = True
                await asyncio.sleep(_LONGEST_SLEEP)
            else:
                if away:
                    log.info("dispatcher goes on")
                away = False

    async def cease(self) -> None:
        """Claim nothing more; returns once what was claimed is published, or due again."""
        self._ceased = True
        async with self._claiming:
            pass

    async def _round(self) -> None:
        """Claim and publish once, then wait for a reason to do so again."""
        room, urgent_room = self._room()
        sleep = min(_LONGEST_SLEEP, self._held_up() or _LONGEST_SLEEP)
        if room or urgent_room:
            wait = await self._claim(room, urgent_room)
            sleep = sleep if wait is None else min(sleep, wait)
        room, urgent_room = self._room()
        if sleep == 0 and room:
            return  # more is due
        await self._news(sleep or _LONGEST_SLEEP, room=bool(room), urgent_room=bool(urgent_room))

    async def _claim(self, room: int, urgent_room: int) -> float | None:
        """Claim and publish what is due; returns in how many seconds the next job is."""
        async with self._claiming:
            timeout = self._limits.dispatch_timeout
            claim = await self._runner.run(self._agenda.claim(room, urgent_room, timeout))
            self._clock.heard(claim.now)
            for priority, ids in claim.ids.items():
                await self._dispatch(ids, priority)
        return claim.wait

    def _room(self) -> tuple[int, int]:
        if self._held_up() or self._ceased:
            return 0, 0
        if self._probing():
            return (0, 0) if self._window.used else (1, 1)
        return self._window.room, self._window.urgent_room

    async def _dispatch(self, ids: Sequence[str], priority: Priority) -> None:
        size = self._limits.batch_size
        for start in range(0, len(ids), size):
            if self._ceased:
                await self._runner.run(self._agenda.undispatch(ids[start:]))
                return
            batch = ids[start : start + size]
            ticket = str(next(self._tickets))
            self._window.take(ticket, len(batch), urgent=priority is Priority.HIGH)
            try:
                await self._publish(batch, self._name, ticket, priority)
            except Exception as error:  # noqa: BLE001 - the broker client raises what it likes
                log.error("broker unavailable", jobs=len(batch), reason=repr(error))
                self._window.release(ticket)
                await self._runner.run(self._agenda.undispatch(batch))
                if not self._ceased:
                    await asyncio.sleep(_LONGEST_SLEEP)

    async def _news(self, sleep: float, *, room: bool, urgent_room: bool) -> None:
        """Wait for a wake-up, for a batch that has left the queue, or for ``sleep`` seconds."""
        # to Redis, 0 means for ever; and a socket that is silent too long counts as dead
        sleep = min(max(sleep, 0.001), self._runner.timeout / 2)
        news = self._agenda.await_news(
            self._name, room=room, urgent_room=urgent_room, timeout=sleep
        )
        ticket = await self._runner.run(news, timeout=sleep + self._runner.timeout)
        if ticket is not None:
            self._window.release(ticket)

    async def _retire(self) -> None:
        """Forget ended jobs whose retention is over, some at a time."""
        if time.monotonic() < self._retire_at or not self._clock.known:
            return
        self._retire_at = time.monotonic() + _RETIRE_EVERY
        before = self._clock.now_ms - round(self._limits.retention * 1000)
        for state in filter(lambda state: state.ended, JobState):
            while ids := await self._runner.run(
                self._agenda.ended_before(state, before, _RETIRE_AT_ONCE)
            ):
                if not await self._runner.run(self._agenda.retire(state, before, ids)):
                    break
