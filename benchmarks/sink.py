"""An SMTP server that takes everything, as cheaply as Python can, and counts what it took.

A process of its own: ``python sink.py counters --delay 1``; its port is the first line that it
prints. Clients get PIPELINING, 8BITMIME, SIZE and CHUNKING, as from Postfix. What it counts stands
in a mapped file (`Counters`), so that whoever measures may look as often as they like.
"""

import argparse
import asyncio
import mmap
import re
import struct
import sys
import time
from pathlib import Path
from typing import cast
from zlib import crc32

import uvloop

_GREETING = b"220 sink ESMTP\r\n"
_EHLO = (
    b"250-sink\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
    b"250-ENHANCEDSTATUSCODES\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"
)
_OK, _TAKEN, _GO_ON, _BYE = (
    b"250 2.1.0 Ok\r\n",
    b"250 2.0.0 Ok: queued\r\n",
    b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"221 2.0.0 Bye\r\n",
)
_GREYLISTED = b"450 4.7.1 Greylisted, please try again in 2 seconds\r\n"


class Counters:
    """Numbers that another process may read while they grow."""

    NAMES = ("messages", "refused", "connections", "reads", "writes", "bytes")
    _WIDTH = struct.calcsize("Q")

    def __init__(self, path: Path) -> None:
        size = len(self.NAMES) * self._WIDTH
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")

    def __getitem__(self, name: str) -> int:
        return self._map[self.NAMES.index(name)]

    def add(self, field: int, number: int = 1) -> None:
        """Count; ``field`` is an index into `NAMES`."""
        self._map[field] += number


MESSAGES, REFUSED, CONNECTIONS, READS, WRITES, BYTES = range(len(Counters.NAMES))


class Times:
    """When each message was first taken (`time.monotonic_ns`), by the number in its recipient.

    Args:
        path: a file of eight bytes for each number, which whoever measures has made.
    """

    _NUMBER = re.compile(rb"(\d+)@")

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

    def __getitem__(self, number: int) -> int:
        return self._map[number]

    def __len__(self) -> int:
        return len(self._map)

    def note(self, recipient: bytes) -> None:
        """Note the time for a RCPT; the number of one that has none, or no room, is passed over."""
        found = self._NUMBER.search(recipient)
        if found and (number := int(found[1])) < len(self._map) and not self._map[number]:
            self._map[number] = time.monotonic_ns()


class Manners:
    """How the server behaves.

    Args:
        delay: seconds before it answers a message.
        rtt: seconds before it answers anything, as a far server would.
        hanging: share of the messages (0 to 1) that it never answers, by their recipient.
        greylisted: share of the recipients that it turns away once.
    """

    def __init__(self, delay: float, rtt: float, hanging: float, greylisted: float) -> None:
        self.delay, self.rtt, self.hanging, self.greylisted = delay, rtt, hanging, greylisted
        self._seen: set[bytes] = set()

    def refuses(self, command: bytes) -> bool:
        """Whether a RCPT is turned away, which happens to a recipient once."""
        if not self.greylisted or not _chosen(command, self.greylisted) or command in self._seen:
            return False
        self._seen.add(command)
        return True

    def hangs(self, command: bytes) -> bool:
        """Whether the message to this RCPT is never answered."""
        return self.hanging > 0 and _chosen(command, self.hanging)


def _chosen(command: bytes, share: float) -> bool:
    return crc32(command) % 1000 < share * 1000


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, counters: Counters, manners: Manners, times: Times | None) -> None:
        self._count = counters.add
        self._times = times
        self._manners = manners
        self._rest = b""
        self._left = -1  # bytes of a chunk that are still to come; -1: none is under way
        self._last = False  # the chunk is the last one of its message
        self._data = False
        self._leaves = False
        self._hangs = False
        self._recipients: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._count(CONNECTIONS)
        self._say(_GREETING, 0.0)

    def data_received(self, data: bytes) -> None:
        """Answer all that is complete with one write."""
        self._count(READS)
        self._count(BYTES, len(data))
        data = self._rest + data if self._rest else data
        replies: list[bytes] = []
        at, end, wait = 0, len(data), 0.0
        while at < end and not self._hangs:
            if self._left >= 0:
                taken = min(self._left, end - at)
                at += taken
                self._left -= taken
                if self._left:
                    break
                self._left = -1
                wait += self._message(replies) if self._last else 0.0
                if not self._last:
                    replies.append(_OK)
            elif self._data:
                # a final dot may stand right behind the 354, for an empty message
                stop = data.find(b"\r\n.\r\n", max(0, at - 2))
                if stop < 0:
                    at = max(at, end - 4)
                    break
                at = stop + 5
                self._data = False
                wait += self._message(replies)
            else:
                stop = data.find(b"\n", at)
                if stop < 0:
                    break
                self._command(data[at : stop + 1], replies)
                at = stop + 1
        self._rest = data[at:]
        if replies:
            self._say(b"".join(replies), wait)

    def _command(self, line: bytes, replies: list[bytes]) -> None:
        verb = line[:4].upper()
        if verb == b"RCPT":
            if self._manners.refuses(line):
                self._count(REFUSED)
                replies.append(_GREYLISTED)
                return
            self._recipients.append(line)
            replies.append(_OK)
        elif verb == b"BDAT":
            size, *last = line.split()[1:]
            self._left, self._last = int(size), bool(last)
        elif verb == b"DATA":
            self._data = bool(self._recipients)
            replies.append(_GO_ON if self._data else b"554 5.5.1 No valid recipients\r\n")
        elif verb == b"EHLO":
            replies.append(_EHLO)
        elif verb == b"QUIT":
            replies.append(_BYE)
            self._leaves = True
        else:
            self._recipients = [] if verb == b"RSET" else self._recipients
            replies.append(_OK)

    def _message(self, replies: list[bytes]) -> float:
        """Take a message; return how long its answer waits."""
        recipients, self._recipients = self._recipients, []
        if not recipients:
            replies.append(b"554 5.5.1 No valid recipients\r\n")
            return 0.0
        if any(map(self._manners.hangs, recipients)):
            self._hangs = True  # it reads no further: a server answers in order
            return 0.0
        self._count(MESSAGES)
        if self._times:
            self._times.note(recipients[0])
        replies.append(_TAKEN)
        return self._manners.delay

    def _say(self, reply: bytes, wait: float) -> None:
        self._count(WRITES)
        wait += self._manners.rtt
        if wait:
            asyncio.get_running_loop().call_later(wait, self._write, reply)
        else:
            self._write(reply)

    def _write(self, reply: bytes) -> None:
        self._transport.write(reply)
        if self._leaves:
            self._transport.close()


async def serve(counters: Counters, manners: Manners, times: Times | None) -> None:
    """Serve until the process is told to end."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Session(counters, manners, times), "127.0.0.1", 0, backlog=1000
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Read the arguments, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counters", type=Path)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--rtt", type=float, default=0.0)
    parser.add_argument("--hanging", type=float, default=0.0)
    parser.add_argument("--greylisted", type=float, default=0.0)
    parser.add_argument("--times", type=Path, help="a file to note when messages came; see Times")
    given = parser.parse_args()
    times = Times(given.times) if given.times else None
    manners = Manners(given.delay, given.rtt, given.hanging, given.greylisted)
    uvloop.run(serve(Counters(given.counters), manners, times))


if __name__ == "__main__":
    main()
