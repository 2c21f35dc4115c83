"""Sessions with one relay: connected when needed, kept warm, never more than allowed."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from mailer.settings import Settings
from workers.relays.relay import Relay
from workers.smtp.connector import Connector, RelayFault
from workers.smtp.lateness import LEAST, Lateness
from workers.smtp.runs import Runs
from workers.smtp.seat import Seat, Transactor
from workers.smtp.seats import Seats
from workers.smtp.session import Session

log = structlog.get_logger()
_UNFIT_SECONDS = 600.0  # for which an extension is not used again that did not work as offered
_LONG_WAIT = 0.3  # seconds, in which nearly every relay has answered
_NARROW_SECONDS = 600.0  # for which no more seats are tried than there were connections for


class Lender(Protocol):
    """What lends them: a `Pool`, or in sandbox mode what stands for one."""

    def seat(self, urgency: int) -> AbstractAsyncContextManager[Transactor]:
        """See `Pool.seat`."""


class Line(Protocol):
    """What waits for sessions without a task for each; see `Orders`."""

    def spread(self) -> None:
        """Use as many sessions as may be."""


class Pool:
    """Lends sessions, never more than allowed; a warm one where there is one, else a new one.

    Must be made on the event loop that it is to run on. Its own steps are taken for each email, so
    they do no more than they must.

    Args:
        late_seconds: after which a reply may be late; see `Lateness`.

    Attributes:
        lines: that wait for sessions.
    """

    def __init__(
        self, connector: Connector, *, idle_seconds: float, late_seconds: float = LEAST
    ) -> None:
        relay = connector.relay
        self.seats: Seats[Seat] = Seats(relay.connections, relay.late_connections)
        self.lines: list[Line] = []
        self._connect = connector
        self._relay = relay
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._unfit: dict[str, float] = {}  # extension → until when it is not used
        self._idle: list[tuple[float, Session]] = []  # the one used last at the end
        self._leaving: set[asyncio.Task[None]] = set()
        self._lateness = Lateness(late_seconds)
        self._runs = Runs(relay.connections)
        self._takes_runs = False  # as the session did that was used last
        self._narrow_until = 0.0
        self._kept_waiting = 0  # sessions

    def seat(self, urgency: int) -> Seat:
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
            session.leave_out(name for name, until in self._unfit.items() if until > now)
        return session

    def warm(self) -> Session | None:
        """Take the session that was used last, if it is good."""
        while self._idle:
            _, session = self._idle.pop()
            if session.usable and self._now() - session.born_at < self._relay.connection_seconds:
                return session
            self._end(session)
        return None

    def put_back(self, session: Session, messages: int) -> None:
        """Keep a session for others, after it was used for so many messages."""
        now, relay = self._now(), self._relay
        if messages:
            self._takes_runs = session.takes_runs
        if session.unfit:
            self._unfit |= dict.fromkeys(session.unfit, now + _UNFIT_SECONDS)
        if not session.usable:
            self._end(session)
            return
        if messages:
            self._lateness.answered(now, session.longest_wait)
            self._runs.answered(now, messages, session.longest_wait)
        if self.room(session) > 0 and now - session.born_at < relay.connection_seconds:
            self._idle.append((now, session))
        else:
            self._end(session)

    def room(self, session: Session) -> int:
        """How many more messages a session may get."""
        return self._relay.messages_per_connection - session.transactions

    @property
    def run(self) -> int:
        """How many messages a session gets at once that takes runs."""
        return self._runs.length

    @property
    def in_use(self) -> int:
        """How many sessions it takes to make use of all seats, by the runs that they take.

        Those do not count that the relay lets wait for long.
        """
        run = self._runs.length if self._takes_runs else 1
        return -(-self._relay.connections // run) + self._kept_waiting

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
        self._share_out()

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

    def _share_out(self) -> None:
        """Let others have what is not begun by those whom the relay lets wait."""
        waiting = [s for s in (*self.seats.taken, *self.seats.aside) if s.waits > _LONG_WAIT]
        self._kept_waiting = len(waiting)
        for seat in waiting:
            seat.on_long_wait(seat in self.seats.aside)
        for line in self.lines:
            line.spread()

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
