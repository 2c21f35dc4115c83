"""A relay that has one address for all: the envelope changes, and the message gets a header."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import msgspec

from workers.smtp.pool import Lender
from workers.smtp.seat import Build, Transactor
from workers.smtp.transaction import Check, Envelope, Look, Segment, Transcript

_HEADER = "X-Original-To"


@attrs.frozen
class Redirect:
    """Lends what a pool lends, with another envelope.

    Attributes:
        to: the address.
    """

    pool: Lender
    to: str

    @asynccontextmanager
    async def seat(self, urgency: int) -> "AsyncIterator[RedirectedSeat]":
        """Wait for the pool's turn."""
        async with self.pool.seat(urgency) as seat:
            yield RedirectedSeat(seat, self.to)


@attrs.frozen
class RedirectedSeat:
    """The right to one session."""

    seat: Transactor
    to: str

    async def transact(
        self, build: Build, check: Look, look: Look, before_final: Check | None = None
    ) -> Transcript:
        """Run one transaction; see `Seat.transact`. Each recipient shares the reply to the one."""
        people: Sequence[str] = ()

        async def rebuild(extensions: Mapping[str, str]) -> tuple[Envelope, list[Segment]]:
            nonlocal people
            envelope, segments = await build(extensions)
            people = envelope.recipients
            header = original_to(people)
            return redirected(envelope, self.to, len(header)), [header, *segments]

        return shared(await self.seat.transact(rebuild, check, look, before_final), len(people))


def original_to(recipients: Sequence[str]) -> bytes:
    """Write the header that names the recipients, a line for each; also those of Bcc."""
    return "".join(f"{_HEADER}: {recipient}\r\n" for recipient in recipients).encode()


def redirected(envelope: Envelope, to: str, more: int) -> Envelope:
    """Put another recipient in the place of all, of a message that has so many bytes more."""
    return msgspec.structs.replace(envelope, recipients=(to,), size=envelope.size + more)


def shared(transcript: Transcript, number: int) -> Transcript:
    """Give each of so many recipients what was said of the one."""
    finals = transcript.finals
    return msgspec.structs.replace(
        transcript,
        recipients=[*transcript.recipients] * number,
        finals=[*finals] * number if transcript.lmtp else finals,
    )
