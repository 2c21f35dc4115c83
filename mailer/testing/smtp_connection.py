"""The bytes of one client of the SMTP server: lines and messages in, replies out, or faults."""

import asyncio
import contextlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import cast

from mailer.testing.faults import Action, Fault
from mailer.testing.smtp_state import State

_MAX_LINE = 16_384  # tokens are long
_FLOOD = 65_536  # bytes of an endless reply that are written at a time

Act = Callable[[], None]


class Connection(asyncio.Protocol, ABC):
    """One client. Replies to what came together leave together (RFC 2920)."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.number = 0
        self.turns = 0  # how often it was answered
        self.secure = state.options.implicit_tls is not None
        self.certificate = ""
        self._buffer = bytearray()
        self._searched = 0  # of the buffer, for an end that was not found yet
        self._in_data = False
        self._octets: int | None = None  # that come as they are
        self._busy = False
        self._out: list[bytes] = []
        self._idle: asyncio.TimerHandle | None = None

    @abstractmethod
    def greet(self) -> None:
        """Say the first word."""

    @abstractmethod
    def line(self, line: bytes, *, more: bool) -> None:
        """Act on a line, without its end; ``more`` came along with it."""

    @abstractmethod
    def message(self, stuffed: bytes) -> None:
        """Act on a message as DATA has it, its dots doubled."""

    @abstractmethod
    def chunk(self, octets: bytes) -> None:
        """Act on the octets of a BDAT."""

    @abstractmethod
    def next_reply(self) -> bool:
        """Say one more of the replies that are due; False where there is none."""

    @abstractmethod
    def forget(self) -> None:
        """Know nothing of the client any more (RFC 3207, 4.2)."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        state = self.state
        state.connections += 1
        self._client = self._transport  # TLS puts another one before it
        state.clients.add(self._client)
        state.open_at_most = max(state.open_at_most, len(state.clients))
        self.number = state.connections
        self._note_certificate()
        self._wait_for_more()
        self.greet()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self.state.clients.discard(self._client)
        if self._idle:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what the client says."""
        self._buffer += data
        self._wait_for_more()
        self._work()

    def _work(self) -> None:
        """Handle what has come, as far as no answer is outstanding."""
        while not self._busy and (self.next_reply() or self._take()):
            pass
        self._flush()

    def _take(self) -> bool:
        if self._octets is not None:
            if len(self._buffer) < self._octets:
                return False
            octets = bytes(self._buffer[: self._octets])
            del self._buffer[: self._octets]
            self._octets = None
            self.chunk(octets)
        elif self._in_data:
            return self._take_message()
        else:
            return self._take_line()
        return True

    def _take_line(self) -> bool:
        at = self._buffer.find(b"\r\n", self._searched)
        if at < 0:
            self._searched = max(0, len(self._buffer) - 1)
            if len(self._buffer) > _MAX_LINE:
                self.say("500 5.5.2 Line too long")
                self.hang_up()
            return False
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 2]
        self._searched = 0
        self.line(line, more=bool(self._buffer))
        return True

    def _take_message(self) -> bool:
        if self._buffer.startswith(b".\r\n"):
            stuffed = b""
            del self._buffer[:3]
        else:
            at = self._buffer.find(b"\r\n.\r\n", self._searched)
            if at < 0:
                self._searched = max(0, len(self._buffer) - 4)
                return False
            stuffed = bytes(self._buffer[: at + 2])
            del self._buffer[: at + 5]
        self._searched = 0
        self._in_data = False
        self.message(stuffed)
        return True

    # what a session asks for

    def expect_message(self) -> None:
        """Take what follows as a message, up to the dot alone in a line."""
        self._in_data = True
        self._searched = 0

    def expect_octets(self, size: int) -> None:
        """Take so many octets as they are."""
        self._octets = size

    def say(self, reply: str) -> None:
        """Send a reply, after those to earlier commands."""
        self._out.append(reply.encode() + b"\r\n")

    def hang_up(self) -> None:
        """Close the connection once the replies are out."""
        self._flush()
        self._busy = True
        self._transport.close()

    def answer(
        self, at: str, usual: str, subjects: Sequence[str] = (), act: Act = lambda: None
    ) -> None:
        """Do and say the usual, unless a fault has it otherwise."""
        fault = self.state.fault(at, subjects)
        if fault is None:
            act()
            self.say(usual)
        elif fault.delay and fault.action is not Action.TRICKLE:
            self._flush()
            self._busy = True
            asyncio.get_running_loop().call_later(fault.delay, self._late, fault, usual, act)
        else:
            self.fail(fault, usual, act)

    def fail(self, fault: Fault, usual: str, act: Act = lambda: None) -> None:  # noqa: C901 - a case each
        """Do what a fault wants instead of the usual."""
        match fault.action:
            case Action.REPLY:
                if not fault.reply:
                    act()
                self.say(fault.reply or usual)
            case Action.ADD:
                act()
                self.say(f"{usual}\r\n{fault.reply}")
            case Action.LOSE_REST:
                act()
                self.say(usual)
                self._buffer.clear()
            case Action.REPLY_AND_CLOSE:
                self.say(fault.reply)
                self.hang_up()
            case Action.LOSE_REPLY:
                act()
                self.hang_up()
            case Action.CLOSE:
                self.hang_up()
            case Action.HANG:
                self._flush()
                self._busy = True
            case Action.TRICKLE:
                act()
                self._flush()
                self._busy = True
                self._trickle((fault.reply or usual).encode() + b"\r\n", fault.delay)
            case Action.FLOOD:
                self._flush()
                self._busy = True
                self._pour(fault.reply.encode())

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands; what was said before is forgotten."""
        self._flush()
        self._busy = True
        self._buffer.clear()  # nothing said before TLS counts
        self._upgrade = asyncio.ensure_future(self._upgraded(context))

    # within

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self.turns += 1
            self._transport.write(b"".join(self._out))
        self._out = []

    def _late(self, fault: Fault, usual: str, act: Act) -> None:
        if self._transport.is_closing():
            return
        self._busy = False
        self.fail(fault, usual, act)
        self._work()

    def _trickle(self, rest: bytes, seconds: float) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(rest[:1])
        if len(rest) > 1:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, self._trickle, rest[1:], seconds)
        else:
            self.turns += 1
            self._busy = False
            self._work()

    def _pour(self, piece: bytes) -> None:
        """Write without end, as fast as the client reads."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() < _FLOOD:
            self._transport.write(piece * (_FLOOD // len(piece)))
        asyncio.get_running_loop().call_later(0.001, self._pour, piece)

    def _wait_for_more(self) -> None:
        if seconds := self.state.options.idle_seconds:
            if self._idle:
                self._idle.cancel()
            self._idle = asyncio.get_running_loop().call_later(seconds, self._idled)

    def _idled(self) -> None:
        if not self._busy:
            self.say("421 4.4.2 Idle for too long")
            self.hang_up()

    def _note_certificate(self) -> None:
        peer = self._transport.get_extra_info("peercert") or {}
        subject = dict(pair for part in peer.get("subject", ()) for pair in part)
        self.certificate = subject.get("commonName", "")

    async def _upgraded(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        plain, secure = self._transport, None
        with contextlib.suppress(OSError, ssl.SSLError):
            secure = await loop.start_tls(plain, self, context, server_side=True)
        if secure is None or plain.is_closing():  # the client went away during the handshake
            plain.abort()
            self.connection_lost(None)  # it went to the failed TLS
            return
        self.forget()
        self._transport = secure
        self._note_certificate()
        self.secure = True
        self._busy = False
        self._work()  # the client's first words may have come with the end of the handshake
