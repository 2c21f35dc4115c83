"""A message by BDAT (RFC 3030): in one write with its commands, where that is known to work.

The first message of a session takes two: a server that offers BDAT without knowing it would read
the message as commands. Its first line, which is the beginning of a header and no command, goes
alone and shows whether it does. (``BDAT 0`` has no content, but Postfix refuses it.)

Then several messages may be written at once, before the first of them is answered: a run. RSET goes
before each but the first of it, for nobody knows in what state one that was refused leaves the
server. Whether it reads on behind ``BDAT … LAST`` is shown by a RSET, too, behind the session's
second message.
"""

import re
from collections.abc import Sequence

from workers.smtp.channel import Answer, Channel
from workers.smtp.dialogue import RSET, reset, tell_apart
from workers.smtp.offers import Offers
from workers.smtp.replies import any_positive
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Look, Phase, Segment, Transcript, joined

_ONE_CHUNK = 64 * 1024  # bytes; a larger message waits for the replies to RCPT before it is sent
# Seconds after which a server may well have closed the connection: a message all in one write would
# be lost on it, and whether it was accepted unknown.
_FRESH = 5.0
_HEADER = re.compile(rb"[!-9;-~]+:[^\r\n]*\r\n")
_PROBED = 5.0  # seconds after the message before
_UNKNOWN_COMMAND = frozenset({500, 502})


class ByChunks:
    """Sends messages by BDAT over one session."""

    def __init__(self, channel: Channel, offers: Offers, timeouts: Timeouts) -> None:
        self._channel = channel
        self._offers = offers
        self._timeouts = timeouts

    def one_chunk(self, message: Sequence[Segment]) -> bytes | None:
        """Join the message where it may go in one write; None where it may not."""
        if not self._offers.chunks_at_once or self._channel.silence > _FRESH:
            return None
        chunk = joined(message, _ONE_CHUNK)
        return chunk if chunk and _HEADER.match(chunk) else None

    async def in_one_write(self, commands: Sequence[bytes], chunk: bytes) -> Transcript:
        """MAIL, RCPT and the message at once. Where no reply says otherwise, it was delivered."""
        channel = self._channel
        before = [RSET] if channel.awaits_answers else []
        answer = channel.expect(len(before) + len(commands) + 1)
        channel.write(*before, *commands, b"BDAT %d LAST\r\n" % len(chunk), chunk)
        probe = None if self._offers.takes_runs else channel.expect(1)
        if probe:
            channel.write(RSET)
        replies = (await channel.read(answer, self._timeouts.final))[len(before) :]
        mail, recipients, final = tell_apart(channel, replies, len(commands))
        failure = channel.failure
        if probe:
            await self._probed(probe)
        if mail is None and channel.said_goodbye:  # 421, to another: it never came to this one
            return Transcript(Phase.MAIL, failure=failure)
        all_refused = len(recipients) == len(commands) - 1 and not any_positive(recipients)
        if (mail and not mail.positive) or all_refused:
            await reset(channel, self._timeouts.command)
            phase = Phase.RCPT if mail and mail.positive else Phase.MAIL
            return Transcript(phase, mail, recipients, failure=failure)
        if final is None:
            self._offers.give_up("chunking")  # the next one asks for less trust
        elif not final.positive:
            await reset(channel, self._timeouts.command)
        finals = (final,) if final else ()
        return Transcript(Phase.DOT, mail, recipients, finals=finals, failure=failure)

    async def in_two_chunks(
        self, commands: Sequence[bytes], chunk: bytes, look: Look
    ) -> Transcript:
        """Send the first line alone, to see whether the server knows BDAT; then the rest."""
        channel, offers = self._channel, self._offers
        end = chunk.index(b"\r\n") + 2
        line, rest = chunk[:end], chunk[end:]
        first = b"BDAT %d\r\n" % len(line) + line
        replies = await channel.ask([*commands, first], self._timeouts.command)
        mail, recipients, ready = tell_apart(channel, replies, len(commands))
        if ready and ready.code in _UNKNOWN_COMMAND:
            offers.give_up("chunking")
            offers.misled = True
            # it takes the line for a command, and answers that as well
            channel.fail("the server offers CHUNKING, and does not know it")
        failure = channel.failure
        if failure is None and ready and ready.positive:
            offers.takes_chunks = True
            look()
            last = b"BDAT %d LAST\r\n" % len(rest) + rest
            finals = await channel.ask([last], self._timeouts.final)
            failure = channel.failure
            if finals and not finals[0].positive:
                await reset(channel, self._timeouts.command)
            return Transcript(Phase.DOT, mail, recipients, finals=finals, failure=failure)
        await reset(channel, self._timeouts.command)
        if failure is None and ready and any_positive(recipients):
            return Transcript(Phase.DOT, mail, recipients, finals=(ready,))
        phase = Phase.RCPT if mail and mail.positive else Phase.MAIL
        return Transcript(phase, mail, recipients, failure=failure)

    async def _probed(self, probe: Answer) -> None:
        """See whether the server has read on behind a message; one that hangs up doesn't tell."""
        channel = self._channel
        replies = await channel.read(probe, _PROBED)
        self._offers.takes_runs = any_positive(replies)
        refused = bool(replies) and not self._offers.takes_runs and not channel.said_goodbye
        if refused or channel.is_overdue:
            self._offers.give_up("chunking")
