"""Messages in line for a relay: orders that tell which they are, and what became of them."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from mailer.testing import SmtpServer
from workers.outcomes.outcome import Verdict, classify
from workers.smtp.connector import RelayFault
from workers.smtp.orders import Orders
from workers.smtp.pool import Pool
from workers.smtp.transaction import Envelope

LIMIT = 5  # connections
_USUAL = ("8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 52428800")
HANDED_BACK = "handed back"
_ENOUGH = 4.0  # seconds for anything to come


class Way(NamedTuple):
    """How messages go to a server with such extensions.

    Attributes:
        alone: how many connections a relay has, one of which gets all of five messages.
    """

    name: str
    extensions: tuple[str, ...]
    alone: int


CHUNKS = Way("by chunks", ("PIPELINING", "CHUNKING", *_USUAL), LIMIT)
TURNS = Way("by turns", ("PIPELINING", *_USUAL), 1)
PLAIN = Way("plain", _USUAL, 1)
_WAYS = [CHUNKS, TURNS, PLAIN]
each_way = pytest.mark.parametrize("way", _WAYS, ids=[way.name for way in _WAYS])
each_place = pytest.mark.parametrize("place", [0, 2, LIMIT - 1], ids=["first", "amid", "last"])


class Mail:
    """An order; a test puts something else in place of its methods.

    Attributes:
        looks: how often `look` was called.
    """

    def __init__(self, name: str, body: bytes = b"Hello") -> None:
        self.name = name
        self.body = body
        self.looks = 0

    def begin(self):
        return None

    async def build(self, extensions):
        envelope = Envelope(f"from-{self.name}@example.com", [f"to-{self.name}@example.org"])
        return envelope, [b"Subject: %s\r\n\r\n%s\r\n" % (self.name.encode(), self.body)]

    def look(self) -> None:
        self.looks += 1

    async def judge(self, said):
        return said if isinstance(said, RelayFault) else verdict(said)


class Held:
    """A mail as `Orders` take it; tells what became of it."""

    def __init__(self, mail: Mail, pool: Pool) -> None:
        self.mail = mail
        self.result = asyncio.get_running_loop().create_future()
        self._pool = pool

    def begin(self) -> bool:
        if self.result.done():  # nobody wants it any more
            return False
        ended = self.mail.begin()
        if ended is not None:
            self.result.set_result(ended)
        return ended is None

    def build(self, extensions):
        return self.mail.build(extensions)

    def look(self) -> None:
        self.mail.look()

    def send_alone(self) -> None:
        self._alone = asyncio.create_task(self._on_a_seat())

    async def end(self, said) -> None:
        try:
            outcome = await self.mail.judge(said)
        except Exception as error:  # noqa: BLE001 - for who waits
            self.fail(error)
        else:
            if not self.result.done():
                self.result.set_result(outcome)

    def hand_back(self) -> None:
        if not self.result.done():
            self.result.set_result(HANDED_BACK)

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    async def _on_a_seat(self) -> None:
        mail = self.mail
        async with self._pool.seat(1) as seat:
            try:
                said = await seat.transact(mail.build, mail.look, mail.look)
            except RelayFault as fault:
                said = fault
            except Exception as error:  # noqa: BLE001 - for who waits
                self.fail(error)
                return
            await self.end(said)


async def stop(orders: Orders) -> None:
    """End it as a worker does that must not wait."""
    orders.withdraw()
    senders = [*orders.senders]
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)


class Line:
    """A server, a pool of sessions with it, and the orders that wait for them.

    Attributes:
        said: to the server: the number of each connection, and what came over it at once.
    """

    def __init__(self, server: SmtpServer, pool: Pool, said: list[tuple[int, bytes]]) -> None:
        self.server = server
        self.pool = pool
        self.orders = Orders(pool, 1)
        self.said = said

    async def send(self, *mails: Mail, orders: Orders | None = None):
        """Send them at once; returns what became of each, errors as well."""
        sending = [self.add(mail, orders) for mail in mails]
        async with asyncio.timeout(_ENOUGH):
            return await asyncio.gather(*sending, return_exceptions=True)

    def add(self, mail: Mail, orders: Orders | None = None) -> asyncio.Future:
        """Have it sent; the future tells what became of it."""
        held = Held(mail, self.pool)
        (self.orders if orders is None else orders).add(held)
        return held.result

    async def many(self, number: int, prefix: str):
        """Send so many usual ones."""
        return await self.send(*mails(number, prefix))

    def faults(self, *faults) -> None:
        """Let the server do these wrong from now on, and nothing else."""
        self.server.state.options.faults[:] = faults

    async def set_aside(self) -> None:
        """Wait until some message is late, and others have its turn."""

        def is_aside() -> bool:
            self.pool.tidy()
            return bool(self.pool.seats.aside)

        await until(is_aside)

    def forget(self) -> None:
        """Begin to note what comes."""
        self.server.state.received.clear()
        self.server.state.commands = []
        self.said.clear()

    @property
    def arrived(self) -> list[str]:
        """Names of the messages that arrived; each has the envelope that it was given."""
        names = []
        for message in self.server.state.received:
            name = message.data.partition(b"\r\n")[0].removeprefix(b"Subject: ").decode()
            assert message.sender == f"from-{name}@example.com"
            assert message.recipients == (f"to-{name}@example.org",)
            names.append(name)
        return names

    @property
    def written(self) -> int:
        """How many whole messages the server was given, though it may not have read them."""
        octets = b"".join(data for _, data in self.said)
        return octets.count(b" LAST\r\n") + octets.count(b"\r\n.\r\n")


def mails(number: int, prefix: str) -> list[Mail]:
    return [Mail(name) for name in names(number, prefix)]


def names(number: int, prefix: str) -> list[str]:
    return [f"{prefix}-{i}" for i in range(number)]


def verdict(transcript) -> Verdict:
    return classify(transcript, 1).judgements[0].verdict


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that others do."""
    async with asyncio.timeout(_ENOUGH):
        while not condition():
            await asyncio.sleep(0)
