"""One client of the SMTP server: the commands of RFC 5321, and what goes wrong on request."""

import asyncio
import base64
import contextlib
import re
import ssl
import time
from collections.abc import Callable, Sequence
from typing import cast

from mailer.testing.faults import Action, Fault
from mailer.testing.smtp_state import Received, State

_MAX_LINE = 4096
_PATH = re.compile(r"(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = bytearray()
        self._searched = 0  # of the buffer, for an end that was not found yet
        self._handle: Callable[[bytes], None] = self._command
        self._busy = False
        self._greeted = self._authenticated = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._out: list[bytes] = []
        self._number = 0
        self._secure = state.options.implicit_tls is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)
        state = self._state
        state.connections += 1
        self._client = self._transport  # TLS puts another one before it
        state.clients.add(self._client)
        state.open_at_most = max(state.open_at_most, len(state.clients))
        self._number = state.connections
        self._answer("connect", "220 mailer.testing ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._state.clients.discard(self._client)

    def data_received(self, data: bytes) -> None:
        """Take what the client says."""
        self._buffer += data
        self._work()

    def _work(self) -> None:
        """Handle what has come, as far as no answer is outstanding."""
        while not self._busy:
            in_data = self._handle == self._data
            end = b"\r\n.\r\n" if in_data else b"\r\n"
            if in_data and self._buffer.startswith(b".\r\n"):
                chunk = b""
                del self._buffer[:3]
            else:
                at = self._buffer.find(end, self._searched)
                if at < 0:
                    self._searched = max(0, len(self._buffer) - len(end) + 1)
                    if not in_data and len(self._buffer) > _MAX_LINE:
                        self._reply("500 5.5.2 Line too long")
                        self._hang_up()
                    break
                chunk = bytes(self._buffer[: at + 2 if in_data else at])
                del self._buffer[: at + len(end)]
            self._searched = 0
            self._handle(chunk)
        self._flush()

    # answers

    def _reply(self, text: str) -> None:
        self._out.append(text.encode() + b"\r\n")

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out = []

    def _hang_up(self) -> None:
        self._flush()
        self._busy = True
        self._transport.close()

    def _answer(
        self,
        at: str,
        usual: str,
        subjects: Sequence[str] = (),
        act: Callable[[], None] = lambda: None,
    ) -> None:
        """Do and say the usual, unless a fault has it otherwise."""
        fault = self._state.fault(at, subjects)
        if fault is None:
            act()
            self._reply(usual)
            return
        if fault.delay:
            self._flush()
            self._busy = True
            asyncio.get_running_loop().call_later(fault.delay, self._late, fault, usual, act)
        else:
            self._fail(fault, usual, act)

    def _late(self, fault: Fault, usual: str, act: Callable[[], None]) -> None:
        if self._transport.is_closing():
            return
        self._busy = False
        self._fail(fault, usual, act)
        self._work()

    def _fail(self, fault: Fault, usual: str, act: Callable[[], None]) -> None:
        match fault.action:
            case Action.REPLY:
                if not fault.reply:
                    act()
                self._reply(fault.reply or usual)
            case Action.REPLY_AND_CLOSE:
                self._reply(fault.reply)
                self._hang_up()
            case Action.LOSE_REPLY:
                act()
                self._hang_up()
            case Action.CLOSE:
                self._hang_up()
            case Action.HANG:
                self._flush()
                self._busy = True

    # commands

    def _command(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        if self._state.commands is not None:
            self._state.commands.append(verb)
        handlers: dict[str, Callable[[str], None]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "STARTTLS": self._starttls,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._start_data,
            "RSET": self._rset,
            "NOOP": lambda _: self._reply("250 2.0.0 OK"),
            "VRFY": lambda _: self._reply("252 2.5.2 Perhaps"),
            "QUIT": self._quit,
        }
        handler = handlers.get(verb)
        if handler:
            handler(rest)
        else:
            self._reply("500 5.5.2 Unknown command")

    def _ehlo(self, _: str) -> None:
        options = self._state.options
        lines = ["mailer.testing", *options.extensions]
        if options.starttls and not self._secure:
            lines.append("STARTTLS")
        if options.users:
            lines.append("AUTH PLAIN")
        replies = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
        self._forget()
        self._greeted = True
        self._answer("ehlo", "\r\n".join(replies))

    def _helo(self, _: str) -> None:
        self._greeted = True
        self._answer("ehlo", "250 mailer.testing")

    def _starttls(self, _: str) -> None:
        context = self._state.options.starttls
        if not context or self._secure:
            self._reply("502 5.5.1 Not offered")
            return
        self._reply("220 2.0.0 Go ahead")
        self._flush()
        self._busy = True
        self._buffer.clear()  # nothing said before TLS counts
        self._upgrade = asyncio.ensure_future(self._upgraded(context))

    async def _upgraded(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        plain, secure = self._transport, None
        with contextlib.suppress(OSError, ssl.SSLError):
            secure = await loop.start_tls(plain, self, context, server_side=True)
        if secure is None or plain.is_closing():  # the client went away during the handshake
            plain.abort()
            self._state.clients.discard(self._client)  # connection_lost went to the failed TLS
            return
        # everything said before is forgotten (RFC 3207, 4.2)
        self._forget()
        self._transport = secure
        self._greeted = self._authenticated = self._busy = False
        self._secure = True
        self._work()  # the client's first words may have come with the end of the handshake

    def _auth(self, rest: str) -> None:
        mechanism, _, initial = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            self._reply("504 5.5.4 Unknown mechanism")
        elif initial:
            self._check_plain(initial.encode())
        else:
            self._handle = self._check_plain
            self._reply("334 ")

    def _check_plain(self, line: bytes) -> None:
        self._handle = self._command
        try:
            _, user, password = base64.b64decode(line, validate=True).decode().split("\0")
        except ValueError:
            self._reply("501 5.5.2 Malformed")
            return
        right = self._state.options.users.get(user) == password
        self._authenticated = right
        self._answer("auth", "235 2.7.0 Welcome" if right else "535 5.7.8 Wrong user or password")

    def _mail(self, rest: str) -> None:
        match = _PATH.match(rest)
        if not self._greeted or self._sender is not None:
            self._reply("503 5.5.1 Not now")
        elif self._state.options.users and not self._authenticated:
            self._reply("530 5.7.0 Authentication required")
        elif not match:
            self._reply("501 5.5.4 MAIL FROM:<address>")
        else:
            sender = match[1]

            def begin() -> None:
                self._sender = sender

            self._answer("mail", "250 2.1.0 OK", [sender], begin)

    def _rcpt(self, rest: str) -> None:
        match = _PATH.match(rest)
        if self._sender is None:
            self._reply("503 5.5.1 MAIL first")
        elif not match:
            self._reply("501 5.5.4 RCPT TO:<address>")
        else:
            recipient = match[1]
            add = lambda: self._recipients.append(recipient)  # noqa: E731 - one line says it
            self._answer("rcpt", "250 2.1.5 OK", [recipient], add)

    def _start_data(self, _: str) -> None:
        if not self._recipients:
            self._reply("503 5.5.1 RCPT first")
            return

        def begin() -> None:
            self._handle = self._data

        self._answer("data", "354 Go ahead", self._recipients, begin)

    def _data(self, stuffed: bytes) -> None:
        self._handle = self._command
        # the first dot of a line that begins with one goes (RFC 5321, 4.5.2)
        data = (b"\r\n" + stuffed).replace(b"\r\n.", b"\r\n")[2:]
        message = Received(
            self._sender or "", tuple(self._recipients), data, self._number, time.monotonic()
        )
        recipients = self._recipients
        self._forget()
        accept = lambda: self._state.accept(message)  # noqa: E731 - one line says it
        self._answer("dot", "250 2.0.0 Accepted", recipients, accept)

    def _rset(self, _: str) -> None:
        self._forget()
        self._reply("250 2.0.0 OK")

    def _quit(self, _: str) -> None:
        self._reply("221 2.0.0 Bye")
        self._hang_up()

    def _forget(self) -> None:
        self._sender, self._recipients = None, []
