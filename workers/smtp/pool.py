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
from workers.smtp.runs import Runs
from workers.smtp.seats import Seats
from workers.smtp.session import Session
from workers.smtp.transaction import Check, Envelope, Look, Segment, Transcript

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
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._unfit: dict[str, float] = {}  # extension → until when it is not used
        self._idle: list[tuple[float, Session]] = []  # the one used last at the end
        self._leaving: set[asyncio.Task[None]] = set()
        self._open: Session | None = None  # in this turn of the loop, for more than one
        self._lateness = Lateness(late_seconds)
        self._runs = Runs(relay.connections)
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
        session.holders = session.in_run = 1
        if self._unfit:
            now = self._now()
            session.leave_out(name for name, until in self._unfit.items() if until > now)
        return session

    def warm(self, *, alone: bool = False) -> Session | None:
        """Take the session that others are taking for a run, else the one used last, if it is good.

        Args:
            alone: nobody else may have it.
        """
        if not alone and (session := self._open) and self._has_room(session):
            session.holders += 1
            session.in_run += 1
            return session
        while self._idle:
            _, session = self._idle.pop()
            if session.usable and self._now() - session.born_at < self._relay.connection_seconds:
                session.holders = session.in_run = 1
                if not alone and session.takes_runs and self._runs.length > 1:
                    self._open = session
                    self._loop.call_soon(self.keep_alone, session)
                return session
            self._end(session)
        return None

    def keep_alone(self, session: Session) -> None:
        """Lend a session to nobody besides those who have it."""
        if self._open is session:
            self._open = None

    def put_back(self, session: Session) -> None:
        """Keep a session for others, once all who had it are through."""
        session.holders -= 1
        if session.holders:
            return
        self.keep_alone(session)
        now = self._now()
        if session.unfit:
            self._unfit |= dict.fromkeys(session.unfit, now + _UNFIT_SECONDS)
        if not session.usable:
            self._end(session)
            return
        self._lateness.answered(now, session.longest_wait)
        self._runs.answered(now, session.in_run, session.longest_wait)
        relay = self._relay
        if (
            session.transactions < relay.messages_per_connection
            and now - session.born_at < relay.connection_seconds
        ):
            self._idle.append((now, session))
        else:
            self._end(session)

    def _has_room(self, session: Session) -> bool:
        """Whether a run may have one more message."""
        messages = session.transactions + session.in_run
        return session.in_run < self._runs.length and messages < self._relay.messages_per_connection

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
            self._runs.pause(self._now())
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
        where it does not know what it offered: in both it has nothing of the message. On another
        session, too, where others take this one for a run, and the message must have it alone.

        Args:
            build: called for each try, as another session may offer less.
            check: called right before each try; what it raises comes through.
            look, before_final: see `Session.transact`.

        Raises:
            RelayFault: no session could be had.
        """
        pool, built_for = self._pool, None
        session = self._session = pool.warm() or await pool.connect()
        while True:
            extensions = session.extensions
            if extensions != built_for:
                envelope, segments = await build(extensions)
                built_for = extensions
            chunk = session.one_write(segments, before_final)
            if chunk is None:
                if session.holders > 1:
                    self.leave()
                    session = self._session = pool.warm(alone=True) or await pool.connect()
                    continue
                pool.keep_alone(session)
            check()  # connecting and building may have taken long
            if chunk is None:
                transcript = await session.transact(
                    envelope, *segments, before_final=before_final, look=look
                )
            else:
                transcript = await session.transact_at_once(envelope, chunk)
            if session.was_dead(transcript):
                self.leave()
                session = self._session = await pool.connect()
            elif not session.stepped_down(transcript, extensions):
                return transcript

    def leave(self) -> None:
        """Give the session back."""
        if self._session:
            self._pool.put_back(self._session)
            self._session = None
