"""Sessions with one relay: connected when needed, kept warm, never more than allowed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self

import structlog

from mailer.settings import Settings
from workers.relays.relay import Relay
from workers.smtp.connector import Connector, RelayFault
from workers.smtp.lateness import LEAST, Lateness
from workers.smtp.seats import Seats
from workers.smtp.session import Check, Look, Session
from workers.smtp.transaction import Envelope, Segment, Transcript

log = structlog.get_logger()
_UNFIT_SECONDS = 600.0  # for which an extension is not used again that did not work as offered
_NARROW_SECONDS = 600.0  # for which no more seats are tried than there were connections for

# Builds what a server with these extensions can take.
Build = Callable[[Mapping[str, str]], Awaitable[tuple[Envelope, list[Segment]]]]


class Transactor(Protocol):
    """What runs transactions with one relay: a `Seat`, or in sandbox mode what stands for one."""

    async def transact(
        self, build: Build, check: Look, look: Look, before_final: Check | None = None
    ) -> Transcript:
        """See `Seat.transact`."""


class Lender(Protocol):
    """What lends them: a `Pool`, or in sandbox mode what stands for one."""

    def seat(self, urgency: int) -> AbstractAsyncContextManager[Transactor]:
        """See `Pool.seat`."""


class Pool:
    """Lends sessions, never more than allowed; a warm one where there is one, else a new one.

    Must be made on the event loop that it is to run on. Its own steps are taken for each email, so
    they do no more than they must.

    Args:
        late_seconds: after which a reply may be late; see `Lateness`.
    """

    def __init__(
        self, connector: Connector, *, idle_seconds: float, late_seconds: float = LEAST
    ) -> None:
        relay = connector.relay
        self.seats: Seats[Seat] = Seats(relay.connections, relay.late_connections)
        self._connect = connector
        self._relay = relay
        self._idle_seconds = idle_seconds
        self._now = asyncio.get_running_loop().time
        self._unfit: dict[str, float] = {}  # extension → until when it is not used
        self._idle: list[tuple[float, Session]] = []  # the one used last at the end
        self._leaving: set[asyncio.Task[None]] = set()
        self._lateness = Lateness(late_seconds)
        self._narrow_until = 0.0

    def seat(self, urgency: int) -> "Seat":
        """Give what waits, in ``async with``, for the right to use one session.

        Who waits gets it by ``urgency``, the least first, and in order of arrival within one.
        """
        return Seat(self, urgency)

    async def connect(self) -> Session:
        """Make a new session.

        Raises:
            RelayFault: none could be had.
        """
        try:
            session = await self._connect()
        except RelayFault:
            # perhaps it takes no more of them while those that wait for late answers are open
            self.seats.narrow()
            self._narrow_until = self._now() + _NARROW_SECONDS
            raise
        if self._unfit:
            now = self._now()
            for name in [name for name, until in self._unfit.items() if until > now]:
                session.extensions.pop(name, None)
        return session

    def warm(self) -> Session | None:
        """Take the session that was used last, if one is still good."""
        while self._idle:
            _, session = self._idle.pop()
            if session.usable and self._now() - session.born_at < self._relay.connection_seconds:
                return session
            self._end(session)
        return None

    def put_back(self, session: Session) -> None:
        """Keep a session for others."""
        now = self._now()
        if session.unfit:
            self._unfit |= dict.fromkeys(session.unfit, now + _UNFIT_SECONDS)
        if not session.usable:
            self._end(session)
            return
        self._lateness.answered(now, session.longest_wait)
        relay = self._relay
        if (
            session.transactions < relay.messages_per_connection
            and now - session.born_at < relay.connection_seconds
        ):
            self._idle.append((now, session))
        else:
            self._end(session)

    async def close(self) -> None:
        """End the sessions that are not lent."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.quit() for _, session in idle), *self._leaving)

    def tidy(self) -> None:
        """Do what time brings with it, each second or so."""
        self.close_idle()
        if self._narrow_until and self._now() > self._narrow_until:
            self._narrow_until = 0.0
            self.seats.widen()
        self.set_aside_late()

    def close_idle(self) -> None:
        """End sessions that nobody has used for a while."""
        oldest = self._now() - self._idle_seconds
        stale = [session for since, session in self._idle if since < oldest or not session.usable]
        self._idle = [(since, session) for since, session in self._idle if session not in stale]
        for session in stale:
            self._end(session)

    def set_aside_late(self) -> None:
        """Let others have the turns of those whose message the relay leaves unanswered.

        They go on waiting: whoever gives up after the final dot makes duplicates (RFC 1047).
        """
        seats = self.seats
        if not seats.spare or not seats.wanted:
            return
        waits = {seat: seat.waits for seat in seats.taken}
        if late := self._lateness.pick(self._now(), waits)[: seats.spare]:
            seats.set_aside(late)
            log.warning(
                "a relay's answers are late; others take the turns",
                relay=self._relay.name,
                jobs=len(late),
                seconds=round(waits[late[0]], 1),
                late=len(seats.aside),
            )

    def _end(self, session: Session) -> None:
        """Take leave of a session; nobody waits for it."""
        task = asyncio.create_task(session.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def pools(relays: Mapping[str, Relay], settings: Settings) -> dict[str, Pool]:
    """Make the pool of each relay, by the relay's name."""
    return {
        name: Pool(Connector.of(relay, settings), idle_seconds=settings.smtp_idle_seconds)
        for name, relay in relays.items()
    }


class Seat:
    """The right to use one session at a time, for the length of one delivery."""

    def __init__(self, pool: Pool, urgency: int) -> None:
        self._pool = pool
        self._urgency = urgency
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        seats = self._pool.seats
        if not seats.take(self):
            await seats.turn(self, self._urgency)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.leave()
        self._pool.seats.leave(self)

    @property
    def waits(self) -> float:
        """For how many seconds the relay has left unanswered what was said last."""
        return self._session.waits if self._session else 0.0

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
