"""A message by DATA (RFC 5321, 4.1.1.4); its commands in one write, where PIPELINING is known.

Where several messages wait, the commands of the next one go in one write with the end of the one
before (RFC 2920, 3.1), so that each takes one round trip and not two. A server that forgets what
stands behind the final dot would leave them unanswered: whether it reads on is shown by a RSET
behind the first message.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing

from workers.smtp.channel import Answer, Channel
from workers.smtp.dialogue import RSET, reset, tell_apart
from workers.smtp.offers import Offers
from workers.smtp.replies import Reply, all_positive, any_intermediate, any_positive
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import (
    Check,
    Look,
    Phase,
    Segment,
    Transcript,
    chunks_of,
    joined,
    stuffed,
)

_PROBED = 5.0  # seconds after the message before


class ByData:
    """Sends messages by DATA over one session."""

    def __init__(self, channel: Channel, offers: Offers, timeouts: Timeouts, *, lmtp: bool) -> None:
        self._channel = channel
        self._offers = offers
        self._timeouts = timeouts
        self._lmtp = lmtp

    def ask(self, commands: Sequence[bytes]) -> Answer:
        """Write the commands of a message, and DATA; PIPELINING is known."""
        answer = self._channel.expect(len(commands) + 1)
        self._channel.write(*commands, b"DATA\r\n")
        return answer

    async def transact(
        self,
        commands: Sequence[bytes],
        message: Sequence[Segment],
        before_final: Check | None,
        look: Look,
        asked: Answer | None = None,
        behind: Callable[[], None] | None = None,
    ) -> Transcript:
        """Send the commands, and the message where somebody may have it; see `Session.transact`.

        Args:
            asked: the answer to the commands, where they were written before.
            behind: called right behind the final dot, where what it writes may follow at once.
        """
        channel, offers = self._channel, self._offers
        if asked or "pipelining" in offers.extensions:
            replies = await channel.read(asked or self.ask(commands), self._timeouts.command)
            if asked and channel.said_goodbye and not any(reply.code == 421 for reply in replies):
                channel.fail("the server said 421 to the message before")
                return Transcript(Phase.MAIL, failure=channel.failure)
            if 0 < len(replies) <= len(commands) and all_positive(replies):
                offers.give_up("pipelining", "chunking")  # it lost commands that came together
        else:
            replies = await self._ask_in_turn(commands)
        mail, recipients, data = tell_apart(channel, replies, len(commands))
        if data and data.positive:
            channel.fail("the server's replies are out of step with the commands")
        failure = channel.failure  # what comes behind the last word on this message is no matter
        if data is None or not data.intermediate:
            await reset(channel, self._timeouts.command)
            phase = Phase.DATA if data else Phase.RCPT
            if not (mail and mail.positive):  # what was said to those behind it is no matter
                phase = Phase.MAIL
            return Transcript(phase, mail, recipients, data, failure=failure)
        if not any_positive(recipients):
            await self._end_at_once()
            return Transcript(Phase.RCPT, mail, recipients, data, failure=failure)
        wanted = sum(reply.positive for reply in recipients) if self._lmtp else 1
        if wanted > 1:  # of several replies, nobody could tell a missing one from the next
            behind = None
        phase, finals = await self._send(message, wanted, before_final, look, behind)
        return Transcript(phase, mail, recipients, data, finals, channel.failure, self._lmtp)

    async def _ask_in_turn(self, commands: Sequence[bytes]) -> list[Reply]:
        """Without PIPELINING: each command waits for the reply to the one before."""
        replies: list[Reply] = []
        for command in commands:
            replies += await self._channel.ask([command], self._timeouts.command)
            if self._channel.failure or not replies[0].positive:
                return replies
        if any_positive(replies[1:]):
            replies += await self._channel.ask([b"DATA\r\n"], self._timeouts.data)
        return replies

    async def _send(
        self,
        message: Sequence[Segment],
        wanted: int,
        before_final: Check | None,
        look: Look,
        behind: Callable[[], None] | None,
    ) -> tuple[Phase, Sequence[Reply]]:
        """Write the message and the final dot, and read the replies that decide."""
        channel = self._channel
        answer = channel.expect(wanted)
        whole = joined(message)
        held = await self._all_but_the_last(message, answer) if whole is None else stuffed(whole)
        if before_final and not answer.replies and channel.failure is None:
            await before_final()
        if answer.replies or channel.failure:
            return Phase.DATA, await self._early_refusal(answer, wanted)
        look()
        # from here on the server may have the message, whatever we hear of it
        channel.write(held + b".\r\n")
        probe = None
        if behind and self._offers.reads_on:
            behind()
        elif behind and self._offers.reads_on is None:
            probe = channel.expect(1)
            channel.write(RSET)
        finals = await channel.read(answer, self._timeouts.final)
        if probe:
            await self._probed(probe)
        if any_intermediate(finals):
            channel.fail("the server's replies are out of step with the commands")
            return Phase.DOT, ()
        return Phase.DOT, finals

    async def _probed(self, probe: Answer) -> None:
        """See whether the server has read on behind the dot; one that hangs up doesn't tell."""
        replies = await self._channel.read(probe, _PROBED)
        self._offers.reads_on = any_positive(replies)
        if self._channel.is_overdue:
            self._offers.give_up("pipelining", "chunking")

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
