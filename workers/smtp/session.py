"""One connected, authenticated session, and the transactions on it.

Our own sequence on the transport that aiosmtplib has connected: it knows the phase, and keeps the
reply of every recipient. It needs as few round trips as the server allows:

| what the server offers | writes, each waiting for its replies |
|---|---|
| nothing | MAIL · each RCPT · DATA · the message |
| PIPELINING (RFC 2920) | MAIL, RCPT…, DATA · the message |
| CHUNKING too (RFC 3030) | MAIL, RCPT…, BDAT and the message |

With CHUNKING the session's first message still takes two: a server that offers BDAT without knowing
it would read the message as commands. Its first line, which is the beginning of a header and no
command, goes alone and shows whether it does. (``BDAT 0`` has no content, but Postfix refuses it.)

And with CHUNKING several messages may be written at once, before the first of them is answered: a
run. RSET goes before each but the first of it, for nobody knows in what state one that was refused
leaves the server. Whether it reads on behind ``BDAT … LAST`` is shown by a RSET, too, behind the
session's second message.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter

from workers.smtp.channel import Answer, Channel
from workers.smtp.replies import Reply
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import (
    Envelope,
    Phase,
    Segment,
    Transcript,
    chunks_of,
    joined,
    stuffed,
)

_ONE_CHUNK = 64 * 1024  # bytes; a larger message waits for the replies to RCPT before it is sent
# Seconds after which a server may well have closed the connection: a message all in one write would
# be lost on it, and whether it was accepted unknown.
_FRESH = 5.0
_QUIT = 1.0
_HEADER = re.compile(rb"[!-9;-~]+:[^\r\n]*\r\n")
_RSET = b"RSET\r\n"
_PROBED = 5.0  # seconds after the message before
_UNKNOWN_COMMAND = frozenset({500, 502})
_POSITIVE, _INTERMEDIATE = attrgetter("positive"), attrgetter("intermediate")

Check = Callable[[], Awaitable[None]]
Look = Callable[[], None]


def _no_look() -> None:
    """There is nothing to look at."""


class Session:
    """A session that is ready for MAIL.

    Attributes:
        extensions: that the server offers, with their parameters, but for those in ``unfit``.
        unfit: those that turned out not to work as offered.
        transactions: begun so far.
        born_at: when it was connected, by the loop's clock.
        takes_runs: it was shown that the server takes several messages at once.
        holders: how many have it from the pool now.
        in_run: how many have had it since it was idle.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        extensions: Mapping[str, str],
        timeouts: Timeouts,
        *,
        lmtp: bool = False,
    ) -> None:
        self.extensions: Mapping[str, str] = dict(extensions)
        self.unfit: set[str] = set()
        self.transactions = 0
        self.takes_runs = False
        self.holders = self.in_run = 0
        self.born_at = asyncio.get_running_loop().time()
        self._channel = Channel(transport)
        self._timeouts = timeouts
        self._lmtp = lmtp
        self.leave_out(())
        self._takes_chunks = False  # shown, not only offered
        self._misled = False

    @property
    def usable(self) -> bool:
        """Whether another transaction may be begun: alive, and nothing unasked was said."""
        return self._channel.usable

    @property
    def failure(self) -> str | None:
        """Why the session is over, or None."""
        return self._channel.failure

    @property
    def waits(self) -> float:
        """For how many seconds the server has left unanswered what was said; 0 if nothing is."""
        return self._channel.waits

    @property
    def longest_wait(self) -> float:
        """Seconds that the slowest answer within the last transaction took."""
        return self._channel.longest_wait

    def transact(
        self,
        envelope: Envelope,
        *message: Segment,
        before_final: Check | None = None,
        look: Look = _no_look,
    ) -> Awaitable[Transcript]:
        """Run one mail transaction. Never raises for what the server does; see the transcript.

        What reading a segment, ``before_final`` or ``look`` raises comes through. The server has no
        complete message then, and the session is over. Nobody else may hold it.

        Args:
            before_final: awaited before the last octets of the message leave.
            look: called right before they do, where the server was waited for since the beginning.
        """
        return self._run(self._transaction(envelope, message, before_final, look))

    def transact_at_once(self, envelope: Envelope, chunk: bytes) -> Awaitable[Transcript]:
        """Run one mail transaction in one write, though others may hold the session: see there.

        Args:
            chunk: what `one_write` gave right now.
        """
        return self._run(self._in_one_write(envelope.commands(self.extensions), chunk))

    def one_write(self, message: Sequence[Segment], before_final: Check | None) -> bytes | None:
        """Join a message that goes out in one write, so that it may be one of a run."""
        return self._one_chunk(message) if self._takes_chunks and before_final is None else None

    def leave_out(self, extensions: Iterable[str]) -> None:
        """Make no use of some extensions from now on; the mapping is another one then."""
        left_out = set(extensions)
        left = {name: said for name, said in self.extensions.items() if name not in left_out}
        self.extensions = left
        self._chunks_at_once = not self._lmtp and {"chunking", "pipelining"} <= left.keys()

    async def quit(self) -> None:
        """End the session politely, without waiting for long."""
        if self.usable:
            await self._channel.ask([b"QUIT\r\n"], _QUIT)
        self.close()

    def close(self) -> None:
        """Drop the connection."""
        self._channel.close()

    def was_dead(self, transcript: Transcript) -> bool:
        """Whether the message may go at once on another session: the server has nothing of it.

        It closed this warm one, or says 421 to MAIL, as servers do after so long or so many
        messages; or it misled us.
        """
        if self._misled:
            return True
        if self.transactions == 1 or transcript.phase is not Phase.MAIL:
            return False
        mail = transcript.mail
        return transcript.failure is not None if mail is None else mail.code == 421

    def stepped_down(self, transcript: Transcript, extensions: Mapping[str, str]) -> bool:
        """Whether the message may go at once in a plainer form, on this very session.

        A server that refuses a parameter of MAIL (RFC 5321, section 4.1.1.11) offers an extension
        that it does not have; which one is not said.

        Args:
            extensions: those with which it was sent.
        """
        mail = transcript.mail
        if mail is None or mail.code not in {501, 504, 555} or not self._channel.is_open:
            return False
        self._give_up(*{"size", "8bitmime", "dsn"} & self.extensions.keys())
        return self.extensions != extensions

    async def _run(self, transaction: Awaitable[Transcript]) -> Transcript:
        self.transactions += 1
        self._channel.longest_wait = 0.0
        try:
            transcript = await transaction
        except BaseException:
            # canceled, or no more to read: what is left of it must not meet the next transaction
            self._channel.fail("the transaction was cut off")
            raise
        if self._channel.said_goodbye and not self._channel.awaits_answers:
            self._channel.fail("the server is closing the connection")  # or will, at any moment
        return transcript

    async def _transaction(
        self,
        envelope: Envelope,
        message: Sequence[Segment],
        before_final: Check | None,
        look: Look,
    ) -> Transcript:
        commands = envelope.commands(self.extensions)
        chunk = self._one_chunk(message) if before_final is None else None
        if chunk is None:
            return await self._by_data(commands, message, before_final, look)
        if self._takes_chunks:
            return await self._in_one_write(commands, chunk)
        return await self._in_two_chunks(commands, chunk, look)

    def _one_chunk(self, message: Sequence[Segment]) -> bytes | None:
        """Join the message where it may go in one write; None where it may not."""
        if not self._chunks_at_once or self._channel.silence > _FRESH:
            return None
        chunk = joined(message, _ONE_CHUNK)
        return chunk if chunk and _HEADER.match(chunk) else None

    async def _in_one_write(self, commands: Sequence[bytes], chunk: bytes) -> Transcript:
        """MAIL, RCPT and the message at once. Where no reply says otherwise, it was delivered."""
        channel = self._channel
        reset = [_RSET] if channel.awaits_answers else []
        answer = channel.expect(len(reset) + len(commands) + 1)
        channel.write(*reset, *commands, b"BDAT %d LAST\r\n" % len(chunk), chunk)
        probe = None if self.takes_runs else channel.expect(1)
        if probe:
            channel.write(_RSET)
        replies = (await channel.read(answer, self._timeouts.final))[len(reset) :]
        mail, recipients, final = self._sorted(replies, len(commands))
        failure = self.failure
        if probe:
            await self._probed(probe)
        if mail is None and channel.said_goodbye:  # 421, to another: it never came to this one
            return Transcript(Phase.MAIL, failure=failure)
        all_refused = len(recipients) == len(commands) - 1 and not _any_positive(recipients)
        if (mail and not mail.positive) or all_refused:
            await self._reset()
            phase = Phase.RCPT if mail and mail.positive else Phase.MAIL
            return Transcript(phase, mail, recipients, failure=failure)
        if final is None:
            self._give_up("chunking")  # the next one asks for less trust
        elif not final.positive:
            await self._reset()
        finals = (final,) if final else ()
        return Transcript(Phase.DOT, mail, recipients, finals=finals, failure=failure)

    async def _probed(self, probe: Answer) -> None:
        """See whether the server has read on behind a message; one that hangs up doesn't tell."""
        channel = self._channel
        replies = await channel.read(probe, _PROBED)
        self.takes_runs = _any_positive(replies)
        refused = bool(replies) and not self.takes_runs and not channel.said_goodbye
        if refused or channel.is_overdue:
            self._give_up("chunking")

    async def _in_two_chunks(
        self, commands: Sequence[bytes], chunk: bytes, look: Look
    ) -> Transcript:
        """Send the first line alone, to see whether the server knows BDAT; then the rest."""
        end = chunk.index(b"\r\n") + 2
        line, rest = chunk[:end], chunk[end:]
        first = b"BDAT %d\r\n" % len(line) + line
        replies = await self._channel.ask([*commands, first], self._timeouts.command)
        mail, recipients, ready = self._sorted(replies, len(commands))
        if ready and ready.code in _UNKNOWN_COMMAND:
            self._give_up("chunking")
            self._misled = True
            # it takes the line for a command, and answers that as well
            self._channel.fail("the server offers CHUNKING, and does not know it")
        failure = self.failure
        if failure is None and ready and ready.positive:
            self._takes_chunks = True
            look()
            last = b"BDAT %d LAST\r\n" % len(rest) + rest
            finals = await self._channel.ask([last], self._timeouts.final)
            failure = self.failure
            if finals and not finals[0].positive:
                await self._reset()
            return Transcript(Phase.DOT, mail, recipients, finals=finals, failure=failure)
        await self._reset()
        if failure is None and ready and _any_positive(recipients):
            return Transcript(Phase.DOT, mail, recipients, finals=(ready,))
        phase = Phase.RCPT if mail and mail.positive else Phase.MAIL
        return Transcript(phase, mail, recipients, failure=failure)

    async def _by_data(
        self,
        commands: Sequence[bytes],
        message: Sequence[Segment],
        before_final: Check | None,
        look: Look,
    ) -> Transcript:
        if "pipelining" in self.extensions:
            replies = await self._channel.ask([*commands, b"DATA\r\n"], self._timeouts.command)
            if 0 < len(replies) <= len(commands) and _all_taken(replies):
                self._give_up("pipelining", "chunking")  # it lost commands that came together
        else:
            replies = await self._ask_in_turn(commands)
        mail, recipients, data = self._sorted(replies, len(commands))
        if data and data.positive:
            self._channel.fail("the server's replies are out of step with the commands")
        failure = self.failure  # what happens after the last word on this message is not its matter
        if data is None or not data.intermediate:
            await self._reset()
            phase = Phase.DATA if data else Phase.RCPT if mail and mail.positive else Phase.MAIL
            return Transcript(phase, mail, recipients, data, failure=failure)
        if not _any_positive(recipients):
            await self._end_at_once()
            return Transcript(Phase.RCPT, mail, recipients, data, failure=failure)
        wanted = sum(reply.positive for reply in recipients) if self._lmtp else 1
        phase, finals = await self._send(message, wanted, before_final, look)
        return Transcript(phase, mail, recipients, data, finals, self.failure, self._lmtp)

    async def _ask_in_turn(self, commands: Sequence[bytes]) -> list[Reply]:
        """Without PIPELINING: each command waits for the reply to the one before."""
        replies: list[Reply] = []
        for command in commands:
            replies += await self._channel.ask([command], self._timeouts.command)
            if self.failure or not replies[0].positive:
                return replies
        if _any_positive(replies[1:]):
            replies += await self._channel.ask([b"DATA\r\n"], self._timeouts.data)
        return replies

    async def _send(
        self, message: Sequence[Segment], wanted: int, before_final: Check | None, look: Look
    ) -> tuple[Phase, Sequence[Reply]]:
        """Write the message and the final dot, and read the replies that decide."""
        channel = self._channel
        answer = channel.expect(wanted)
        whole = joined(message, _ONE_CHUNK)
        held = await self._all_but_the_last(message, answer) if whole is None else stuffed(whole)
        if before_final and not answer.replies and self.failure is None:
            await before_final()
        if answer.replies or self.failure:
            return Phase.DATA, await self._early_refusal(answer, wanted)
        look()
        # from here on the server may have the message, whatever we hear of it
        channel.write(held + b".\r\n")
        finals = await channel.read(answer, self._timeouts.final)
        if _any_intermediate(finals):
            channel.fail("the server's replies are out of step with the commands")
            return Phase.DOT, ()
        return Phase.DOT, finals

    async def _all_but_the_last(self, message: Sequence[Segment], answer: Answer) -> bytes:
        """Write a long message chunk by chunk, as the server takes them; give the last one."""
        channel, held = self._channel, b""
        async with aclosing(chunks_of(message)) as chunks:
            async for chunk in chunks:
                if held:
                    channel.write(held)
                    if not await channel.drained(answer, self._timeouts.block):
                        break
                held = chunk
        return held

    async def _early_refusal(self, answer: Answer, wanted: int) -> Sequence[Reply]:
        """Take the reply of a server that did not wait for the final dot; the session is over."""
        self._channel.fail("the server answered before the final dot")
        return [reply for reply in answer.replies if reply.code >= 400][:1] * wanted

    async def _end_at_once(self) -> None:
        """End a message that the server takes for nobody (RFC 2920, section 3.1)."""
        if self._lmtp:  # it has nobody to answer for, so nothing would tell the end
            self._channel.fail("the server takes a message for nobody")
        else:
            await self._channel.ask([b".\r\n"], self._timeouts.final)

    async def _reset(self) -> None:
        """Make the session ready for another transaction after a refusal."""
        if self.failure is None:
            await self._channel.ask([_RSET], self._timeouts.command)

    def _sorted(
        self, replies: Sequence[Reply], commands: int
    ) -> tuple[Reply | None, Sequence[Reply], Reply | None]:
        """Tell the replies to MAIL, to each RCPT and to what came behind them."""
        mail, recipients = (replies[0] if replies else None), replies[1:commands]
        rest = replies[commands] if len(replies) > commands else None
        if _any_intermediate(replies[:commands]):
            self._channel.fail("the server's replies are out of step with the commands")
        return mail, recipients, rest

    def _give_up(self, *extensions: str) -> None:
        self.unfit.update(extensions)
        self.leave_out(extensions)


def _any_positive(replies: Sequence[Reply]) -> bool:
    return any(map(_POSITIVE, replies))


def _any_intermediate(replies: Sequence[Reply]) -> bool:
    return any(map(_INTERMEDIATE, replies))


def _all_taken(replies: Sequence[Reply]) -> bool:
    return all(reply.positive for reply in replies)
