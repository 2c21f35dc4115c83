"""Turns within limits: asked for in groups, given back, and learned from replies."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import structlog

from mailer.errors import StoreUnavailable
from mailer.store.limits import FIRST_PACE, Limit, Limits, Pace, Request, Turn
from mailer.store.operation import Operation
from mailer.store.records import at
from mailer.store.runners import AsyncRunner
from workers.clock import ServerClock

log = structlog.get_logger()
HORIZON = 1.0  # seconds ahead for which a time is reserved, and waited for here
_PERMIT_SECONDS = 60.0  # after which that of a worker that died is free again
_LOOK_EVERY = 0.5  # seconds between looks at what other workers learned
_MOST_AT_ONCE = 200  # requests in one Lua call


class Pass:
    """The right to send one message at its time.

    Attributes:
        at_ms: the time, by the Redis server's clock.
    """

    def __init__(self, permit: str, limits: Sequence[Limit], turn: Turn) -> None:
        self.permit = permit
        self.limits = limits
        self.at_ms = turn.at_ms
        self._until_ms = turn.at_ms + min((limit.grace for limit in limits), default=0) * 1000

    def is_late(self, now_ms: float) -> bool:
        """Whether it must not be used any more: another message's time is too near."""
        return now_ms > self._until_ms


class Limiter:
    """What all workers may send together, as this one sees it.

    Args:
        later: runs an operation for which nobody waits.

    Attributes:
        paces: what servers want, by the limit's name; half a second old at most.
    """

    def __init__(
        self,
        worker: str,
        store: Limits,
        runner: AsyncRunner,
        clock: ServerClock,
        later: Callable[[Operation[Any]], None],
    ) -> None:
        self.paces: dict[str, Pace] = {}
        self._worker = worker
        self._store = store
        self._runner = runner
        self._clock = clock
        self._later = later
        self._numbers = count()
        self._waiting: list[tuple[Request, asyncio.Future[Turn]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._held: dict[str, tuple[Pass, float]] = {}  # permit → pass, since (ms)

    async def enter(self, limits: Sequence[Limit]) -> Pass | Turn:
        """Ask to send a message now, or at most `HORIZON` from now.

        Returns a pass, to be given back by `leave`; or the turn at which to ask again.

        Raises:
            StoreUnavailable: nobody knows what others send.
        """
        request = Request(f"{self._worker}:{next(self._numbers)}", limits)
        answered = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answered))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        turn: Turn = await answered
        if not turn.reserved:
            return turn
        given = Pass(request.permit, limits, turn)
        self._held[given.permit] = given, self._clock.now_ms
        return given

    def leave(self, given: Pass) -> None:
        """Give a pass back."""
        _, since = self._held.pop(given.permit, (given, self._clock.now_ms))
        seconds = (self._clock.now_ms - since) / 1000
        counted = [limit for limit in given.limits if limit.connections is not None]
        if counted:
            held = [(given.permit, limit.name, seconds) for limit in counted]
            self._later(self._store.leave(held))

    def slow_down(self, limit: str, reason: str) -> None:
        """Send less from now on: the server said so."""
        if limit not in self.paces:
            log.warning("a server wants less to be sent", limit=limit, reason=reason)
            # from the next message on, and not only from the next look
            first = Pace(limit, FIRST_PACE / 1000, at(self._clock.now_ms), reason)
            self.paces = {**self.paces, limit: first}
        self._later(self._store.slow_down(limit, reason))

    def speed_up(self, limit: str) -> None:
        """Send a little more from now on: the server took a message."""
        if limit in self.paces:
            self._later(self._store.speed_up(limit))

    async def keep_watching(self) -> None:
        """Learn what other workers found, and keep permits; runs until it is canceled."""
        while True:
            try:
                self.paces = await self._runner.run(self._store.paces())
                until_ms = self._clock.now_ms + _PERMIT_SECONDS * 1000
                for given, since in list(self._held.values()):
                    if self._clock.now_ms - since > _PERMIT_SECONDS * 250:
                        for limit in given.limits:
                            renew = self._store.renew(given.permit, limit.name, until_ms)
                            await self._runner.run(renew)
            except StoreUnavailable as error:
                log.debug("paces of servers unknown", reason=str(error))
            await asyncio.sleep(_LOOK_EVERY)

    async def _ask(self) -> None:
        while self._waiting:
            group = self._waiting[:_MOST_AT_ONCE]
            del self._waiting[: len(group)]
            enter = self._store.enter([r for r, _ in group], HORIZON, _PERMIT_SECONDS)
            try:
                turns = await self._runner.run(enter)
            except StoreUnavailable as error:
                for _, answered in group:
                    if not answered.done():
                        answered.set_exception(error)
                continue
            for (request, answered), turn in zip(group, turns, strict=True):
                if not answered.done():
                    answered.set_result(turn)
                elif turn.reserved:  # nobody waits for it any more
                    self.leave(Pass(request.permit, request.limits, turn))
