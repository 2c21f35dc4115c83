"""The connection to one server, as commands written and replies read, within bounds of time."""

import asyncio
from collections.abc import Sequence

from workers.smtp.replies import MalformedReply, Reply, ReplyParser


class Channel(asyncio.Protocol):
    """Commands and replies on a transport that is connected.

    Attributes:
        failure: why nothing more can be said, or None.
        longest_wait: seconds until the replies came that took longest, since it was set to 0.
        said_goodbye: the server said 421 to something (RFC 5321, section 3.8).
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.failure: str | None = None
        self.longest_wait = 0.0
        self.said_goodbye = False
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._parser = ReplyParser()
        self._replies: list[Reply] = []
        self._wanted = 0
        self._heard_at = self._asked_at = self._loop.time()
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether more may be said: alive, and nothing unasked was answered."""
        return self.failure is None and not self._replies and not self._transport.is_closing()

    @property
    def silence(self) -> float:
        """Seconds since the server said something."""
        return self._loop.time() - self._heard_at

    @property
    def waits(self) -> float:
        """Seconds for which replies have been waited for; 0 while none are."""
        return self._loop.time() - self._asked_at if self._arrived else 0.0

    async def ask(self, commands: Sequence[bytes], timeout: float) -> list[Reply]:  # noqa: ASYNC109 - one bound for all replies
        """Write commands at once and read a reply to each; fewer where the session breaks off."""
        self.expect(len(commands))
        self.write(b"".join(commands))
        return await self.read(len(commands), timeout)

    def expect(self, replies: int) -> None:
        """Allow the server to say that much; more is against the protocol."""
        self._wanted = replies

    def write(self, data: bytes) -> None:
        """Say something."""
        # uvloop raises where asyncio ignores what is written to a transport that is closed
        if self.failure is None and not self._transport.is_closing():
            self._transport.write(data)

    async def read(self, count: int, timeout: float) -> list[Reply]:  # noqa: ASYNC109 - see ask
        """Read so many replies; fewer where the session breaks off, or takes too long."""
        if len(self._replies) < count and self.failure is None:
            self._arrived = self._loop.create_future()
            self._asked_at = self._loop.time()
            timer = self._loop.call_later(timeout, self.fail, f"no reply within {timeout:g} s")
            try:
                await self._arrived
            finally:
                timer.cancel()
                self._arrived = None
            self.longest_wait = max(self.longest_wait, self._heard_at - self._asked_at)
        replies, self._replies = self._replies[:count], self._replies[count:]
        self._wanted = 0
        return replies

    async def drained(self, timeout: float) -> bool:  # noqa: ASYNC109 - see ask
        """Wait until the server has taken most of what was written; False where that is no use."""
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            self.fail(f"the server took no data for {timeout:g} s")
        return self.failure is None and not self._replies

    @property
    def was_answered(self) -> bool:
        """Whether replies came already that nobody has read."""
        return bool(self._replies)

    def fail(self, reason: str) -> None:
        """End it at once; what is under way learns of it."""
        if self.failure is None:
            self.failure = reason
            self._transport.abort()
        self._writable.set()
        self._notify()

    def close(self) -> None:
        """Close the connection, in order."""
        self.failure = self.failure or "closed"
        self._transport.close()

    def _notify(self) -> None:
        if self._arrived and not self._arrived.done():
            self._arrived.set_result(None)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        self._heard_at = self._loop.time()
        try:
            for reply in self._parser.feed(data):
                if len(self._replies) >= self._wanted:
                    self.fail(f"the server said what nobody had asked for: {reply}")
                    return
                self._replies.append(reply)
                self.said_goodbye = self.said_goodbye or reply.code == 421
        except MalformedReply as error:
            self.fail(str(error))
            return
        if self._wanted and len(self._replies) == self._wanted:
            self._writable.set()  # an answer to a message that is not over: no use to go on
            self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the session is over."""
        self.fail(f"the connection was lost ({exc})" if exc else "the server closed the connection")

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._writable.set()
