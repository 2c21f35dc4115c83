"""Bare pipelined SMTP: ``bare.py PORT COUNT MESSAGE``, a limit for whatever sends from Python.

A message of a file, again and again, on 20 connections: MAIL, RCPT and BDAT in one write, then the
replies are read. No queue, no MIME, no record, and no look at what the replies say but their codes.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop

CONNECTIONS, REPLIES = 20, 3


async def send(port: int, numbers: Iterator[int], message: bytes) -> None:
    """Send messages on one connection until there are no more numbers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO bench\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    for number in numbers:
        head = f"MAIL FROM:<shop@example.com>\r\nRCPT TO:<jm{number}@example.org>\r\n"
        writer.write(f"{head}BDAT {len(message)} LAST\r\n".encode() + message)
        for _ in range(REPLIES):
            reply = await reader.readline()
            if not reply.startswith(b"250"):
                sys.exit(f"the server said {reply!r}")
    writer.write(b"QUIT\r\n")
    await reader.readline()
    writer.close()


async def main(port: int, count: int, message: bytes) -> None:
    """Send all on all connections."""
    numbers = iter(range(count))
    await asyncio.gather(*(send(port, numbers, message) for _ in range(CONNECTIONS)))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_bytes()))
