"""One connected, authenticated session, and the transactions on it.

Our own sequence on the transport that aiosmtplib has connected: it knows the phase, and keeps the
reply of every recipient. It needs as few round trips as the server allows:

| what the server offers | writes, each waiting for its replies | |
|---|---|---|
| nothing | MAIL · each RCPT · DATA · the message | `ByData` |
| PIPELINING (RFC 2920) | MAIL, RCPT…, DATA · the message | `ByData` |
| CHUNKING too (RFC 3030) | MAIL, RCPT…, BDAT and the message; or several such | `ByChunks` |
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from workers.smtp.by_chunks import ByChunks
from workers.smtp.by_data import ByData
from workers.smtp.channel import Channel
from workers.smtp.offers import Offers
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Check, Envelope, Look, Phase, Segment, Transcript

_QUIT = 1.0


def _no_look() -> None:
    """There is nothing to look at."""


class Session:
    """A session that is ready for MAIL.

    Attributes:
        transactions: begun so far.
        born_at: when it was connected, by the loop's clock.
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
        self.transactions = 0
        self.holders = self.in_run = 0
        self.born_at = asyncio.get_running_loop().time()
        self._channel = Channel(transport)
        self._offers = offers = Offers(extensions, lmtp=lmtp)
        self._by_chunks = ByChunks(self._channel, offers, timeouts)
        self._by_data = ByData(self._channel, offers, timeouts, lmtp=lmtp)

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
        return self._offers.takes_runs

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
        return self._run(self._transaction, envelope, message, before_final, look)

    def transact_at_once(self, envelope: Envelope, chunk: bytes) -> Awaitable[Transcript]:
        """Run one mail transaction in one write, though others may hold the session: see there.

        Args:
            chunk: what `one_write` gave right now.
        """
        commands = envelope.commands(self._offers.extensions)
        return self._run(self._by_chunks.in_one_write, commands, chunk)

    def one_write(self, message: Sequence[Segment], before_final: Check | None) -> bytes | None:
        """Join a message that goes out in one write, so that it may be one of a run."""
        if before_final is not None or not self._offers.takes_chunks:
            return None
        return self._by_chunks.one_chunk(message)

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

    async def _run(
        self, transaction: Callable[..., Awaitable[Transcript]], *arguments: Any
    ) -> Transcript:
        self.transactions += 1
        self._channel.longest_wait = 0.0
        try:
            transcript = await transaction(*arguments)
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
        commands = envelope.commands(self._offers.extensions)
        chunk = self._by_chunks.one_chunk(message) if before_final is None else None
        if chunk is None:
            return await self._by_data.transact(commands, message, before_final, look)
        if self._offers.takes_chunks:
            return await self._by_chunks.in_one_write(commands, chunk)
        return await self._by_chunks.in_two_chunks(commands, chunk, look)
