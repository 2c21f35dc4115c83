"""One connected, authenticated session, and the transactions on it.

Our own sequence on the transport that aiosmtplib has connected: it knows the phase, and keeps the
reply of every recipient. It needs as few round trips as the server allows:

| what the server offers | writes, each waiting for its replies | |
|---|---|---|
| nothing | MAIL · each RCPT · DATA · the message | `ByData` |
| PIPELINING (RFC 2920) | MAIL, RCPT…, DATA · the message, and the next one's MAIL… | `ByData` |
| CHUNKING too (RFC 3030) | MAIL, RCPT…, BDAT and the message; or several such | `ByChunks` |
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from workers.smtp.by_chunks import ByChunks
from workers.smtp.by_data import ByData
from workers.smtp.channel import Answer, Channel
from workers.smtp.offers import Offers
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Check, Envelope, Look, Phase, Segment, Transcript

_QUIT = 1.0


def _no_look() -> None:
    """There is nothing to look at."""


Heard = Callable[[Transcript], Awaitable[None]]


class Letter(NamedTuple):
    """A message that is at hand, and how it is sent.

    Attributes:
        look: see `Session.transact`.
    """

    envelope: Envelope
    message: bytes
    look: Look = _no_look


class Session:
    """A session that is ready for MAIL.

    Attributes:
        transactions: begun so far.
        born_at: when it was connected, by the loop's clock.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        extensions: Mapping[str, str],
        timeouts: Timeouts,
        *,
        lmtp: bool = False,
    ) -> None:
        self.transactions = 0
        self.born_at = asyncio.get_running_loop().time()
        self._channel = Channel(transport)
        self._offers = offers = Offers(extensions, lmtp=lmtp)
        self._by_chunks = ByChunks(self._channel, offers, timeouts)
        self._by_data = ByData(self._channel, offers, timeouts, lmtp=lmtp)
        self._is_out_of_step = False
        self._following: tuple[Letter, Sequence[bytes], Answer | None] | None = None

    @property
    def extensions(self) -> Mapping[str, str]:
        """What the server offers, with parameters, but for ``unfit``; never changed in place."""
        return self._offers.extensions

    @property
    def unfit(self) -> set[str]:
        """The extensions that turned out not to work as offered."""
        return self._offers.unfit

    @property
    def takes_runs(self) -> bool:
        """Whether it was shown that the server takes several messages at once."""
        return self._offers.takes_runs and self._offers.chunks_at_once

    @property
    def takes_turns(self) -> bool:
        """Whether messages go by DATA, the commands of each behind the message before."""
        offers = self._offers
        unfit = offers.chunks_at_once or offers.reads_on is False
        return "pipelining" in offers.extensions and not unfit

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

    async def transact(
        self,
        envelope: Envelope,
        *message: Segment,
        before_final: Check | None = None,
        look: Look = _no_look,
    ) -> Transcript:
        """Run one mail transaction. Never raises for what the server does; see the transcript.

        What reading a segment, ``before_final`` or ``look`` raises comes through. The server has no
        complete message then, and the session is over.

        Args:
            before_final: awaited before the last octets of the message leave.
            look: called right before they do, where the server was waited for since the beginning.
        """
        self.transactions += 1
        self._channel.longest_wait = 0.0
        with self._whole():
            return await self._transaction(envelope, message, before_final, look)

    async def transact_all(self, letters: Iterable[Letter], number: int, heard: Heard) -> None:
        """Run a transaction for each of some messages, with as few writes as the server allows.

        A letter is taken from the others when its turn comes. See `transact`; what their ``look``
        raises comes through.

        Args:
            number: of the letters; there may be less of them in the end.
            heard: awaited with each transcript, in order.
        """
        self._channel.longest_wait = 0.0
        left = iter(letters)
        if self.transactions and not self._channel.is_open:  # since it was taken from the pool
            return
        with self._whole():
            for letter in left:
                if self.takes_runs and self._by_chunks.may_be_at_once:
                    await self._in_a_run([letter, *left], heard)
                elif number > 1 and self.takes_turns:
                    await self._one_behind_the_other(letter, left, heard)
                else:
                    self.transactions += 1
                    message = [letter.message]
                    await heard(
                        await self._transaction(letter.envelope, message, None, letter.look)
                    )
                if not self._channel.is_open:
                    break

    def let_go(self) -> bool:
        """Leave to others the message of which only commands were written, if there is one.

        The session ends, once the message before is answered: it is out of step with the server.
        """
        if self._following is None:
            return False
        self._following = None
        self._is_out_of_step = True
        return True

    def leave_out(self, extensions: Iterable[str]) -> None:
        """Make no use of some extensions from now on."""
        self._offers.leave_out(extensions)

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
        if self._offers.misled:
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
        self._offers.give_up(*{"size", "8bitmime", "dsn"} & self.extensions.keys())
        return self.extensions != extensions

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Let nothing of a transaction that is cut off meet the next one."""
        try:
            yield
        except BaseException:  # canceled, or no more to read
            self._channel.fail("the transaction was cut off")
            raise
        if self._channel.said_goodbye and not self._channel.awaits_answers:
            self._channel.fail("the server is closing the connection")  # or will, at any moment

    async def _transaction(
        self,
        envelope: Envelope,
        message: Sequence[Segment],
        before_final: Check | None,
        look: Look,
    ) -> Transcript:
        commands = envelope.commands(self._offers.extensions)
        chunk = self._by_chunks.one_chunk(message) if before_final is None else None
        if chunk is None:
            return await self._by_data.transact(commands, message, before_final, look)
        if self._offers.takes_chunks:
            return await self._by_chunks.in_one_write(commands, chunk)
        return await self._by_chunks.in_two_chunks(commands, chunk, look)

    async def _in_a_run(self, letters: Sequence[Letter], heard: Heard) -> None:
        """All of them in one write."""
        extensions, by_chunks = self._offers.extensions, self._by_chunks
        self.transactions += len(letters)
        asked = [
            by_chunks.ask(each.envelope.commands(extensions), each.message) for each in letters
        ]
        transcripts = []
        for each in asked:
            transcript = await by_chunks.told(each)
            transcripts.append(transcript)
            await heard(transcript)
        await by_chunks.ready(transcripts)

    async def _one_behind_the_other(
        self, letter: Letter, left: Iterator[Letter], heard: Heard
    ) -> None:
        """By DATA, the commands of each in one write with the message before."""
        by_data, extensions = self._by_data, self._offers.extensions
        self.transactions += 1
        self._following = letter, letter.envelope.commands(extensions), None

        def behind() -> None:
            if self._channel.is_open and (upcoming := next(left, None)):
                self.transactions += 1
                commands = upcoming.envelope.commands(extensions)
                self._following = upcoming, commands, by_data.ask(commands)

        while self._following:
            (letter, commands, asked), self._following = self._following, None
            message = [letter.message]
            transcript = await by_data.transact(commands, message, None, letter.look, asked, behind)
            await heard(transcript)
            if self._is_out_of_step:
                self._channel.fail("what follows goes over another session")
