"""Messages that need nothing but a session: they wait in line, and go several at a time.

That takes far less for each than a seat and a session of its own would (docs/decisions/0022): what
is built one after the other finds the processor's caches warm, one write takes many, and their
replies come in one read.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Protocol

from workers.smtp.connector import RelayFault
from workers.smtp.pool import Pool
from workers.smtp.seat import Seat
from workers.smtp.session import Letter, Session
from workers.smtp.transaction import Envelope, Segment, Transcript, joined

_IN_A_ROW = 10  # messages that are built ahead, where each waits for the one before


class Order(Protocol):
    """A message to be sent with others."""

    def begin(self) -> bool:
        """Learn that the turn has come; False where it is not to be sent in line any more."""

    def build(self, extensions: Mapping[str, str]) -> Awaitable[tuple[Envelope, list[Segment]]]:
        """Build what a server with these extensions can take."""

    def look(self) -> None:
        """Raise what keeps the message from being sent, called right before it is."""

    def send_alone(self) -> None:
        """Have it sent otherwise, for it is too large to go with others."""

    async def end(self, said: Transcript | RelayFault) -> None:
        """Learn what was said, before another message may take the relay."""

    def hand_back(self) -> None:
        """Learn that it will not be sent here."""

    def fail(self, error: Exception) -> None:
        """Learn why it was not sent; or, by a fault of ours, perhaps was."""


class Orders:
    """What waits for a relay with one urgency, and the tasks that send it.

    Attributes:
        senders: the tasks, each with one session at a time; they end when nothing waits any more.
    """

    def __init__(self, pool: Pool, urgency: int) -> None:
        self.senders: set[asyncio.Task[None]] = set()
        self._pool = pool
        self._urgency = urgency
        self._line: deque[Order] = deque()
        self._runs: set[_Run] = set()
        self._sending = 0  # of the senders, those that have not ended, nor are about to
        self._is_withdrawn = False
        self._loop = asyncio.get_running_loop()
        pool.lines.append(self)

    def add(self, order: Order) -> None:
        """Have a message sent in its turn."""
        if self._is_withdrawn:
            order.hand_back()
            return
        self._line.append(order)
        if self._sending < self._pool.in_use:
            self._have_sender()

    def withdraw(self) -> None:
        """Hand back all that waits, and what would come to wait."""
        self._is_withdrawn = True
        for run in self._runs:
            self._put_back(run.not_begun())
        while self._line:
            self._line.popleft().hand_back()

    def spread(self) -> None:
        """Have as many senders as there are sessions to be used, for what waits."""
        for _ in range(min(len(self._line), self._pool.in_use - self._sending)):
            self._have_sender()

    def _have_sender(self) -> None:
        self._sending += 1
        sender = self._loop.create_task(self._keep_sending())
        self.senders.add(sender)
        sender.add_done_callback(self.senders.discard)

    async def _keep_sending(self) -> None:
        """Send what waits, in one's turn, until nothing does or fewer sessions are enough."""
        try:
            while self._line and self._sending <= self._pool.in_use:
                async with self._pool.seat(self._urgency) as seat:
                    if first := self._first():
                        await self._use(seat, first)
                self.spread()
                await asyncio.sleep(0)  # so that whoever waits for a seat has the first choice
        finally:
            self._sending -= 1

    def _first(self) -> Order | None:
        """Take the first one in line that is to be sent."""
        while self._line:
            order = self._line.popleft()
            if _begins(order):
                return order
        return None

    async def _use(self, seat: Seat, first: Order) -> None:
        """Send one message, and some more that wait, over one session."""
        try:
            session = await seat.session()
        except RelayFault as fault:
            await first.end(fault)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours
            first.fail(error)
            return
        except BaseException:
            first.hand_back()
            raise
        run = _Run(seat, session, first, self._take(self._number(seat, session) - 1))
        self._runs.add(run)
        seat.on_long_wait = lambda late: self._put_back(run.not_begun(announced=late))
        try:
            await run.send()
        finally:
            self._runs.discard(run)
            self._put_back([*run.again, *run.not_begun()])

    def _number(self, seat: Seat, session: Session) -> int:
        """Choose how many messages a session gets now."""
        number, room = 1 + len(self._line), self._pool.room(session)
        if session.takes_runs:
            return 1 + seat.more(min(number, room, self._pool.run) - 1)
        # where each waits for the one before, only so many that no other session is idle meanwhile
        return min(_IN_A_ROW, -(-number // self._pool.in_use), room) if session.takes_turns else 1

    def _take(self, number: int) -> list[Order]:
        """Take the first so many in line."""
        return [self._line.popleft() for _ in range(min(number, len(self._line)))]

    def _put_back(self, orders: Sequence[Order]) -> None:
        """Give the first places in line back."""
        if self._is_withdrawn:
            for order in orders:
                order.hand_back()
        else:
            self._line.extendleft(reversed(orders))


def _begins(order: Order) -> bool:
    """Tell an order that its turn has come."""
    try:
        return order.begin()
    except Exception as error:  # noqa: BLE001 - of this one alone
        order.fail(error)
        return False


class _Run:
    """Some orders on one session.

    Args:
        first: its turn has come; that of the others does when they are about to be written.

    Attributes:
        again: those of which the server has nothing, for it was through with the session, or does
            not know what it offered.
    """

    def __init__(self, seat: Seat, session: Session, first: Order, others: Sequence[Order]) -> None:
        self.again: list[Order] = []
        self._seat = seat
        self._session = session
        self._extensions = session.extensions
        self._first = first
        self._unbuilt = deque([first, *others])
        self._built: deque[tuple[Order, Letter]] = deque()
        self._sent: deque[Order] = deque()

    async def send(self) -> None:
        """Build them all, send them, and tell what became of each."""
        await self._build()
        try:
            await self._session.transact_all(self._letters(), len(self._built), self._heard)
        except Exception as error:  # noqa: BLE001 - of one whose lease was lost, or a fault of ours
            while self._sent:
                self._sent.popleft().fail(error)

    def not_begun(self, *, announced: bool = True) -> list[Order]:
        """Let go of those of which the server has nothing yet.

        Args:
            announced: also of one whose commands it has; that ends the session.
        """
        left = []
        if announced and self._sent and self._session.let_go():
            left.append(self._sent.pop())
        left += [order for order, _ in self._built]
        left += self._unbuilt
        self._built.clear()
        self._unbuilt.clear()
        return left

    async def _build(self) -> None:
        while self._unbuilt:
            order = self._unbuilt[0]
            try:
                envelope, segments = await order.build(self._extensions)
            except Exception as error:  # noqa: BLE001 - of this one alone
                self._unbuilt.popleft().fail(error)
                continue
            if not self._unbuilt:  # it was let go of meanwhile
                return
            self._unbuilt.popleft()
            message = joined(segments)
            if message is None:
                order.send_alone()
            else:
                self._built.append((order, Letter(envelope, message, order.look)))

    def _letters(self) -> Iterator[Letter]:
        """Give them to the session as their turns come, while it takes what they were built for."""
        session, seat = self._session, self._seat
        while self._built and session.extensions is self._extensions and not seat.is_wanted:
            order, letter = self._built.popleft()
            if order is not self._first and not _begins(order):
                continue
            try:
                order.look()
            except Exception as error:  # noqa: BLE001 - of this one alone
                order.fail(error)
            else:
                self._sent.append(order)
                yield letter

    async def _heard(self, transcript: Transcript) -> None:
        """Tell the one sent first what was said of it."""
        session = self._session
        self._seat.messages += 1
        dead = session.was_dead(transcript)
        goes_again = dead or session.stepped_down(transcript, self._extensions)
        order = self._sent.popleft()
        if goes_again:  # the server has nothing of it, by no fault of its own
            self.again.append(order)
        else:
            await order.end(transcript)
