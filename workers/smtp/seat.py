"""The right to use one session at a time, and what is done with it."""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from workers.smtp.session import Session
from workers.smtp.transaction import Check, Envelope, Look, Segment, Transcript

if TYPE_CHECKING:
    from workers.smtp.pool import Pool

# Builds what a server with these extensions can take.
Build = Callable[[Mapping[str, str]], Awaitable[tuple[Envelope, list[Segment]]]]


class Transactor(Protocol):
    """What runs transactions with one relay: a `Seat`, or in sandbox mode what stands for one."""

    async def transact(
        self, build: Build, check: Look, look: Look, before_final: Check | None = None
    ) -> Transcript:
        """See `Seat.transact`."""


def _nothing(_: bool) -> None:
    """There is nothing to do."""


class Seat:
    """The right to use one session at a time, for the length of a delivery, or of some.

    Attributes:
        messages: sent over the session since it is in use here.
        on_long_wait: called where the relay lets it wait for long, and told whether it is so late
            that others have its turn.
    """

    def __init__(self, pool: "Pool", urgency: int) -> None:
        self._pool = pool
        self._urgency = urgency
        self._session: Session | None = None
        self.messages = 0
        self.on_long_wait: Callable[[bool], None] = _nothing

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
        built_for = None
        session = await self.session()
        while True:
            extensions = session.extensions
            if extensions != built_for:
                envelope, segments = await build(extensions)
                built_for = extensions
            check()  # connecting and building may have taken long
            self.messages += 1
            transcript = await session.transact(
                envelope, *segments, before_final=before_final, look=look
            )
            if session.was_dead(transcript):
                self.leave()
                session = await self.session(new=True)
            elif not session.stepped_down(transcript, extensions):
                return transcript

    async def session(self, *, new: bool = False) -> Session:
        """Get the session that this is the right to: a warm one, where none but that will do.

        Raises:
            RelayFault: none could be had.
        """
        pool = self._pool
        if self._session is None:
            self._session = (None if new else pool.warm()) or await pool.connect()
        return self._session

    @property
    def is_wanted(self) -> bool:
        """Whether somebody more urgent waits for a seat."""
        return self._pool.seats.wanted_before(self._urgency)

    def more(self, most: int) -> int:
        """Take up to so many further seats, for messages that go at once; tells how many."""
        return self._pool.seats.more(self, most)

    def leave(self) -> None:
        """Give the session back."""
        if self._session:
            self._pool.put_back(self._session, self.messages)
            self._session, self.messages = None, 0
        self.on_long_wait = _nothing  # which may know of this seat: it would not go for long
