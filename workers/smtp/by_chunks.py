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
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from workers.smtp.channel import Answer, Channel
from workers.smtp.dialogue import RSET, reset, tell_apart
from workers.smtp.offers import Offers
from workers.smtp.replies import any_positive
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Look, Phase, Segment, Transcript, joined

# Seconds after which a server may well have closed the connection: a message all in one write would
# be lost on it, and whether it was accepted unknown.
_FRESH = 5.0
_HEADER = re.compile(rb"[!-9;-~]+:[^\r\n]*\r\n")
_PROBED = 5.0  # seconds after the message before
_UNKNOWN_COMMAND = frozenset({500, 502})


class Asked(NamedTuple):
    """What was said in one write, and the answer to it.

    Attributes:
        before: replies that have nothing to do with the message.
        commands: MAIL and the RCPTs.
    """

    answer: Answer
    before: int
    commands: int


class ByChunks:
    """Sends messages by BDAT over one session."""

    def __init__(self, channel: Channel, offers: Offers, timeouts: Timeouts) -> None:
        self._channel = channel
        self._offers = offers
        self._timeouts = timeouts

    @property
    def may_be_at_once(self) -> bool:
        """Whether a message may go in one write with its commands now."""
        return self._offers.chunks_at_once and self._channel.silence <= _FRESH

    def one_chunk(self, message: Sequence[Segment]) -> bytes | None:
        """Join the message where it may go in one write; None where it may not."""
        if not self.may_be_at_once:
            return None
        chunk = joined(message)
        return chunk if chunk and _HEADER.match(chunk) else None

    async def in_one_write(self, commands: Sequence[bytes], chunk: bytes) -> Transcript:
        """MAIL, RCPT and the message at once. Where no reply says otherwise, it was delivered."""
        channel = self._channel
        asked = self.ask(commands, chunk)
        probe = None if self._offers.takes_runs else channel.expect(1)
        if probe:
            channel.write(RSET)
        transcript = await self.told(asked)
        if probe:
            await self._probed(probe)
        await self.ready([transcript])
        return transcript

    def ask(self, commands: Sequence[bytes], chunk: bytes) -> Asked:
        """Write MAIL, RCPT and the message, though others before it may not be answered yet."""
        channel = self._channel
        before = [RSET] if channel.awaits_answers else []
        answer = channel.expect(len(before) + len(commands) + 1)
        channel.write(*before, *commands, b"BDAT %d LAST\r\n" % len(chunk), chunk)
        return Asked(answer, len(before), len(commands))

    async def told(self, asked: Asked) -> Transcript:
        """Wait for what the server says to it; after the last of a run, make it `ready`."""
        channel = self._channel
        replies = await channel.read(asked.answer, self._timeouts.final)
        if asked.before:
            replies = replies[asked.before :]
        mail, recipients, final = tell_apart(channel, replies, asked.commands)
        failure = channel.failure
        if mail is None and channel.said_goodbye:  # 421, to another: it never came to this one
            return Transcript(Phase.MAIL, failure=failure)
        all_refused = len(recipients) == asked.commands - 1 and not any_positive(recipients)
        if (mail and not mail.positive) or all_refused:
            phase = Phase.RCPT if mail and mail.positive else Phase.MAIL
            return Transcript(phase, mail, recipients, failure=failure)
        if final is None:
            self._offers.give_up("chunking")  # the next one asks for less trust
        finals = (final,) if final else ()
        return Transcript(Phase.DOT, mail, recipients, finals=finals, failure=failure)

    async def ready(self, transcripts: Iterable[Transcript]) -> None:
        """Make the session ready for another transaction, where one of these was refused."""
        if any(t.mail and not (t.final and t.final.positive) for t in transcripts):
            await reset(self._channel, self._timeouts.command)

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
