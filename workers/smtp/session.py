"""One connected, authenticated SMTP session, and the transactions on it.

Our own sequence on the transport that aiosmtplib has connected: it knows the phase, pipelines where
the server allows it (RFC 2920), and keeps the reply of every recipient.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import attrs

from workers.smtp.replies import MalformedReply, Reply, ReplyParser
from workers.smtp.transaction import Envelope, Phase, Segment, Transcript, chunks_of


@attrs.frozen
class Timeouts:
    """Seconds to wait in a transaction (RFC 5321, section 4.5.3.2)."""

    command: float = 300.0
    final: float = 600.0


class Session(asyncio.Protocol):
    """A session that is ready for MAIL."""

    def __init__(
        self, transport: asyncio.Transport, extensions: Mapping[str, str], timeouts: Timeouts
    ) -> None:
        self.extensions = extensions
        self.failure: str | None = None
        self.transactions = 0
        self._transport = transport
        self._timeouts = timeouts
        self._parser = ReplyParser()
        self._replies: list[Reply] = []
        self._wanted = 0
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        """Whether another transaction may be begun: alive, and nothing unasked was said."""
        return self.failure is None and not self._replies and not self._transport.is_closing()

    async def transact(self, envelope: Envelope, *message: Segment) -> Transcript:
        """Run one mail transaction. Never raises for what the server does; see the transcript.

        What reading a segment raises comes through. The server has no complete message then, and
        the session is over.
        """
        self.transactions += 1
        try:
            transcript = await self._transaction(envelope, message)
        except BaseException:
            # canceled, or no more to read: what is left of it must not meet the next transaction
            self._fail("the transaction was cut off")
            raise
        if any(reply.code == 421 for _, reply in transcript.heard):
            self._fail("the server is closing the connection")  # or will, at any moment
        return transcript

    async def _transaction(self, envelope: Envelope, message: Sequence[Segment]) -> Transcript:
        commands = self._commands(envelope)
        if "pipelining" in self.extensions:
            replies = await self._ask([*commands, b"DATA\r\n"])
        else:
            replies = await self._ask_in_turn(commands)
        mail, recipients = (replies[0] if replies else None), replies[1 : len(commands)]
        data = replies[len(commands)] if len(replies) > len(commands) else None
        if any(r.intermediate for r in replies[: len(commands)]) or (data and data.positive):
            self._fail("the server's replies are out of step with the commands")
        failure = self.failure  # what happens after the last word on this message is not its matter
        if data is None or not data.intermediate:
            await self._reset()
            phase = Phase.DATA if data else Phase.RCPT if mail and mail.positive else Phase.MAIL
            return Transcript(phase, mail, recipients, data, failure=failure)
        if not any(reply.positive for reply in recipients):
            # the server takes data for nobody: end it at once (RFC 2920, section 3.1)
            await self._ask([b".\r\n"])
            return Transcript(Phase.RCPT, mail, recipients, data, failure=failure)
        phase, final = await self._send(message)
        return Transcript(phase, mail, recipients, data, final, failure=self.failure)

    def was_dead(self, transcript: Transcript) -> bool:
        """Whether the server was through with this warm session before it heard anything of us.

        It closed it, or says 421 to MAIL, as servers do after so long or so many messages.
        """
        if self.transactions == 1:
            return False
        mail = transcript.mail
        return transcript.failure is not None if mail is None else mail.code == 421

    async def quit(self) -> None:
        """End the session politely, without waiting for long."""
        if self.usable:
            await self._ask([b"QUIT\r\n"], timeout=1.0)
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.failure = self.failure or "closed"
        self._transport.close()

    def _commands(self, envelope: Envelope) -> list[bytes]:
        options = f" SIZE={envelope.size}" if envelope.size and "size" in self.extensions else ""
        if "8bitmime" in self.extensions:
            options += " BODY=8BITMIME"
        if envelope.smtputf8:
            options += " SMTPUTF8"
        lines = [f"MAIL FROM:<{envelope.sender}>{options}\r\n"]
        lines += [f"RCPT TO:<{recipient}>\r\n" for recipient in envelope.recipients]
        return [line.encode() for line in lines]

    async def _ask_in_turn(self, commands: Sequence[bytes]) -> list[Reply]:
        """Without PIPELINING: each command waits for the reply to the one before."""
        replies: list[Reply] = []
        for command in commands:
            replies += await self._ask([command])
            if self.failure or not replies[0].positive:
                return replies
        if any(reply.positive for reply in replies[1:]):
            replies += await self._ask([b"DATA\r\n"])
        return replies

    async def _ask(self, commands: Sequence[bytes], timeout: float | None = None) -> list[Reply]:  # noqa: ASYNC109 - one bound for all replies
        """Write commands at once and read a reply to each; fewer where the session breaks off."""
        self._wanted = len(commands)
        self._write(b"".join(commands))
        return await self._read(len(commands), timeout or self._timeouts.command)

    def _write(self, data: bytes) -> None:
        # uvloop raises where asyncio ignores what is written to a transport that is closed
        if self.failure is None and not self._transport.is_closing():
            self._transport.write(data)

    async def _send(self, message: Sequence[Segment]) -> tuple[Phase, Reply | None]:
        """Write the message and the final dot, and read the reply that decides."""
        self._wanted = 1
        held = b""
        async with aclosing(chunks_of(message)) as chunks:
            async for chunk in chunks:
                if held:
                    self._write(held)
                    if not await self._drained():
                        break
                held = chunk
        if self.failure or self._replies:
            return Phase.DATA, self._early_refusal()
        # from here on the server may have the message, whatever we hear of it
        self._write(held + b".\r\n")
        replies = await self._read(1, self._timeouts.final)
        if replies and replies[0].intermediate:
            self._fail("the server's replies are out of step with the commands")
            return Phase.DOT, None
        return Phase.DOT, (replies[0] if replies else None)

    def _early_refusal(self) -> Reply | None:
        """Take the reply of a server that did not wait for the final dot; the session is over."""
        self._fail("the server answered before the final dot")
        early, self._replies = self._replies, []
        return next((reply for reply in early if reply.code >= 400), None)

    async def _drained(self) -> bool:
        """Wait until the server has taken most of what was written; False where that is no use."""
        try:
            async with asyncio.timeout(self._timeouts.final):
                await self._writable.wait()
        except TimeoutError:
            self._fail(f"the server took no data for {self._timeouts.final:g} s")
        return self.failure is None and not self._replies

    async def _reset(self) -> None:
        """Make the session ready for another transaction after a refusal."""
        if self.failure is None:
            await self._ask([b"RSET\r\n"])

    async def _read(self, count: int, timeout: float) -> list[Reply]:  # noqa: ASYNC109 - see _ask
        if len(self._replies) < count and self.failure is None:
            loop = asyncio.get_running_loop()
            self._arrived = loop.create_future()
            timer = loop.call_later(timeout, self._fail, f"no reply within {timeout:g} s")
            try:
                await self._arrived
            finally:
                timer.cancel()
                self._arrived = None
        replies, self._replies = self._replies[:count], self._replies[count:]
        self._wanted = 0
        return replies

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._transport.abort()
        self._writable.set()
        self._notify()

    def _notify(self) -> None:
        if self._arrived and not self._arrived.done():
            self._arrived.set_result(None)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Take what the server says."""
        try:
            for reply in self._parser.feed(data):
                if len(self._replies) >= self._wanted:
                    self._fail(f"the server said what nobody had asked for: {reply}")
                    return
                self._replies.append(reply)
        except MalformedReply as error:
            self._fail(str(error))
            return
        if self._wanted and len(self._replies) == self._wanted:
            self._writable.set()  # an answer to a message that is not over: no use to go on
            self._notify()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the session is over."""
        self._fail(
            f"the connection was lost ({exc})" if exc else "the server closed the connection"
        )

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._writable.set()
