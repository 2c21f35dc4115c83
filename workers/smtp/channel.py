"""The connection to one server, as commands written and replies read, within bounds of time."""

import asyncio
from collections import deque
from collections.abc import Sequence

from workers.smtp.replies import MalformedReply, Reply, ReplyParser

_GOODBYE = 5.0  # seconds within which a server that said 421 should close the connection


class Answer:
    """The replies to what was said at once, as they come.

    Attributes:
        replies: those that came.
        is_whole: whether no more of them will.
        asked_at: since when somebody waits for them, or None.
        bound: for how many seconds at most.
    """

    __slots__ = ("_wanted", "_whole", "asked_at", "bound", "is_whole", "replies")

    def __init__(self, wanted: int) -> None:
        self.replies: list[Reply] = []
        self.is_whole = False
        self.asked_at: float | None = None
        self.bound = 0.0
        self._wanted = wanted
        self._whole: asyncio.Future[None] | None = None

    def take(self, reply: Reply) -> None:
        """Take the next reply."""
        self.replies.append(reply)
        if len(self.replies) == self._wanted:
            self.end()

    def end(self) -> None:
        """Say that no more of them will come."""
        self.is_whole = True
        if self._whole and not self._whole.done():
            self._whole.set_result(None)

    def whole(self, loop: asyncio.AbstractEventLoop, bound: float) -> asyncio.Future[None]:
        """Begin to wait; the future is done when no more of them will come."""
        self.asked_at, self.bound = loop.time(), bound
        self._whole = loop.create_future()
        return self._whole


class Channel(asyncio.Protocol):
    """Commands and replies on a transport that is connected.

    Several may say something before the first of them is answered: a server answers in order.

    Attributes:
        failure: why nothing more can be said, or None.
        longest_wait: seconds until the replies came that took longest, since it was set to 0.
        said_goodbye: the server said 421 to something (RFC 5321, section 3.8).
        is_overdue: it failed because an answer did not come in time.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.failure: str | None = None
        self.longest_wait = 0.0
        self.said_goodbye = self.is_overdue = False
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._parser = ReplyParser()
        self._answers: deque[Answer] = deque()  # that are not whole yet
        self._unsent: list[bytes] = []
        self._heard_at = self._loop.time()
        self._writable = asyncio.Event()
        self._writable.set()
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether more may be said: it is alive, and the server does not mean to end it."""
        alive = self.failure is None and not self._transport.is_closing()
        return alive and not self.said_goodbye

    @property
    def usable(self) -> bool:
        """Whether another may begin to speak: it is open, and no answer is awaited."""
        return self.is_open and not self._answers

    @property
    def awaits_answers(self) -> bool:
        """Whether the server has not yet answered all that was said."""
        return bool(self._answers)

    @property
    def silence(self) -> float:
        """Seconds since the server said something."""
        return self._loop.time() - self._heard_at

    @property
    def waits(self) -> float:
        """Seconds for which the next answer has been waited for; 0 while none is."""
        asked_at = self._answers[0].asked_at if self._answers else None
        return 0.0 if asked_at is None else self._loop.time() - asked_at

    async def ask(self, commands: Sequence[bytes], timeout: float) -> list[Reply]:  # noqa: ASYNC109 - one bound for all replies
        """Write commands at once and read a reply to each; fewer where the session breaks off."""
        answer = self.expect(len(commands))
        self.write(*commands)
        return await self.read(answer, timeout)

    def expect(self, replies: int) -> Answer:
        """Allow the server to say that much, behind what it may say already, and not more."""
        answer = Answer(replies)
        if self.failure is None:
            self._answers.append(answer)
        else:
            answer.end()
        return answer

    def write(self, *pieces: bytes) -> None:
        """Say something, together with all else that is said in this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += pieces

    async def read(self, answer: Answer, timeout: float) -> list[Reply]:  # noqa: ASYNC109 - see ask
        """Wait for an answer; it is shorter where the session breaks off, or takes too long."""
        if not answer.is_whole:
            whole = answer.whole(self._loop, timeout)
            self._watch(timeout)
            await whole
            waited = self._heard_at - (answer.asked_at or self._heard_at)
            self.longest_wait = max(self.longest_wait, waited)
        return answer.replies

    async def drained(self, answer: Answer, timeout: float) -> bool:  # noqa: ASYNC109 - see ask
        """Wait until the server has taken most of what was written; False where that is no use.

        Args:
            answer: to what is being written; it comes early where the server refuses that.
        """
        self._flush()
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            self.fail(f"the server took no data for {timeout:g} s")
        return self.failure is None and not answer.replies

    def fail(self, reason: str) -> None:
        """End it at once; what is under way learns of it."""
        if self.failure is None:
            self.failure = reason
            self._transport.abort()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._writable.set()
        while self._answers:
            self._answers.popleft().end()

    def close(self) -> None:
        """Close the connection, in order."""
        self._flush()
        self.failure = self.failure or "closed"
        self._transport.close()

    def _watch(self, seconds: float) -> None:
        """Look after that time whether an answer is overdue; one timer is enough for many."""
        at = self._loop.time() + seconds
        if self._timer is None or at < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._give_up)

    def _give_up(self) -> None:
        """End it if an answer is overdue, else look again when the next one would be."""
        self._timer = None
        awaited = [each for each in self._answers if each.asked_at is not None]
        if not awaited:
            return
        first = min(awaited, key=_due)
        if (left := _due(first) - self._loop.time()) > 0:
            self._watch(left)
        else:
            self.is_overdue = self.failure is None
            self.fail(f"no reply within {first.bound:g} s")

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        # uvloop raises where asyncio ignores what is written to a transport that is closed
        if unsent and self.failure is None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        self._heard_at = self._loop.time()
        answers = self._answers
        try:
            for reply in self._parser.feed(data):
                if not answers:
                    self.fail(f"the server said what nobody had asked for: {reply}")
                    return
                if reply.code == 421 and not self.said_goodbye:
                    self.said_goodbye = True
                    self._loop.call_later(_GOODBYE, self.fail, "the server said 421")
                answers[0].take(reply)
                if answers[0].is_whole:
                    answers.popleft()
                    self._writable.set()  # where that message is not over, it's no use to go on
        except MalformedReply as error:
            self.fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the session is over."""
        self.fail(f"the connection was lost ({exc})" if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._writable.set()


def _due(answer: Answer) -> float:
    """Tell when an answer that is waited for is overdue."""
    return (answer.asked_at or 0.0) + answer.bound
