"""Sessions with one relay: connected when needed, kept warm, never more than allowed."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count

from mailer.settings import Settings
from workers.relays.relay import Relay
from workers.smtp.connector import Connector
from workers.smtp.session import Check, Look, Session
from workers.smtp.transaction import Envelope, Segment, Transcript

_UNFIT_SECONDS = 600.0  # for which an extension is not used again that did not work as offered

# Builds what a server with these extensions can take.
Build = Callable[[Mapping[str, str]], Awaitable[tuple[Envelope, list[Segment]]]]


class Pool:
    """Lends sessions, never more than allowed; a warm one where there is one, else a new one.

    Who waits gets a seat by priority, and in order of arrival within one.
    """

    def __init__(self, connector: Connector, *, idle_seconds: float) -> None:
        self._connect = connector
        self._relay = connector.relay
        self._idle_seconds = idle_seconds
        self._unfit: dict[str, float] = {}  # extension → until when it is not used
        self._idle: list[tuple[float, Session]] = []  # the one used last at the end
        self._taken = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._leaving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def seat(self, urgency: int) -> AsyncIterator["Seat"]:
        """Wait for the right to use one session; the least ``urgency`` comes first."""
        await self._turn(urgency)
        seat = Seat(self)
        try:
            yield seat
        finally:
            seat.leave()
            self._pass_on()

    async def connect(self) -> Session:
        """Make a new session.

        Raises:
            RelayFault: none could be had.
        """
        session = await self._connect()
        now = asyncio.get_running_loop().time()
        for name in [name for name, until in self._unfit.items() if until > now]:
            session.extensions.pop(name, None)
        return session

    def warm(self) -> Session | None:
        """Take the session that was used last, if one is still good."""
        while self._idle:
            _, session = self._idle.pop()
            if self._is_good(session):
                return session
            self._end(session)
        return None

    def put_back(self, session: Session) -> None:
        """Keep a session for others."""
        now = asyncio.get_running_loop().time()
        self._unfit |= dict.fromkeys(session.unfit, now + _UNFIT_SECONDS)
        if self._is_good(session):
            self._idle.append((now, session))
        else:
            self._end(session)

    async def close(self) -> None:
        """End the sessions that are not lent."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.quit() for _, session in idle), *self._leaving)

    def close_idle(self) -> None:
        """End sessions that nobody has used for a while."""
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        stale = [session for since, session in self._idle if since < oldest or not session.usable]
        self._idle = [(since, session) for since, session in self._idle if session not in stale]
        for session in stale:
            self._end(session)

    def _is_good(self, session: Session) -> bool:
        age = asyncio.get_running_loop().time() - session.born_at
        return (
            session.usable
            and session.transactions < self._relay.messages_per_connection
            and age < self._relay.connection_seconds
        )

    def _end(self, session: Session) -> None:
        """Take leave of a session; nobody waits for it."""
        task = asyncio.create_task(session.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _turn(self, urgency: int) -> None:
        if self._taken < self._relay.connections:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the turn to the one who waits first, or free it."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1


def pools(relays: Mapping[str, Relay], settings: Settings) -> dict[str, Pool]:
    """Make the pool of each relay, by the relay's name."""
    return {
        name: Pool(Connector.of(relay, settings), idle_seconds=settings.smtp_idle_seconds)
        for name, relay in relays.items()
    }


class Seat:
    """The right to use one session at a time, for the length of one delivery."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._session: Session | None = None

    async def transact(
        self, build: Build, check: Look, look: Look, before_final: Check | None = None
    ) -> Transcript:
        """Run one transaction, on a warm session or a new one.

        Again at once where the server was through with the warm session before it heard of us, and
        where it does not know what it offered: in both it has nothing of the message.

        Args:
            build: called for each try, as another session may offer less.
            check: called right before each try; what it raises comes through.
            look, before_final: see `Session.transact`.

        Raises:
            RelayFault: no session could be had.
        """
        session = self._session = self._pool.warm() or await self._pool.connect()
        while True:
            envelope, segments = await build(session.extensions)
            check()  # connecting and building may have taken long
            transcript = await session.transact(
                envelope, *segments, before_final=before_final, look=look
            )
            if session.was_dead(transcript):
                self.leave()
                session = self._session = await self._pool.connect()
            elif not session.stepped_down(transcript):
                return transcript

    def leave(self) -> None:
        """Give the session back."""
        if self._session:
            self._pool.put_back(self._session)
            self._session = None
