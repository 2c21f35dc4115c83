"""Our pipelined transactions against ``aiosmtplib.SMTP.sendmail``, on the same connections.

Both on one event loop of this process, to the test SMTP server in another; alternately, so that
both have the same machine. See docs/decisions/0005. Takes some 20 s.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiosmtplib

from workers.loop import new_event_loop
from workers.relays.relay import Relay
from workers.smtp.pool import Connector
from workers.smtp.session import Session
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope

MESSAGES, CONNECTIONS, ROUNDS = 3000, 10, 7
SENDER, RECIPIENT = "shop@example.com", "jm@example.org"
MESSAGE = b"Subject: Hi\r\n\r\n" + b"A line of a letter, as they are, with a few words.\r\n" * 80

Send = Callable[[], Awaitable[None]]


async def rate(senders: list[Send]) -> float:
    """Send all messages over the connections; return messages per second."""
    left = iter(range(MESSAGES))

    async def work(send: Send) -> None:
        for _ in left:
            await send()

    begin = time.perf_counter()
    await asyncio.gather(*map(work, senders))
    return MESSAGES / (time.perf_counter() - begin)


def with_ours(session: Session) -> Send:
    """Send by our session."""

    async def send() -> None:
        transcript = await session.transact(Envelope(SENDER, [RECIPIENT]), MESSAGE)
        assert transcript.final
        assert transcript.final.positive

    return send


def with_theirs(client: aiosmtplib.SMTP) -> Send:
    """Send by aiosmtplib, with the same extension in MAIL."""

    async def send() -> None:
        await client.sendmail(SENDER, [RECIPIENT], MESSAGE, mail_options=["BODY=8BITMIME"])

    return send


async def compare(port: int) -> None:
    """Print both rates and their ratio."""
    relay = Relay.parse(f"smtp://127.0.0.1:{port}")
    connector = Connector(relay, "bench", 10.0, Timeouts())
    sessions = [await connector() for _ in range(CONNECTIONS)]
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        for _ in range(CONNECTIONS)
    ]
    for client in clients:
        await client.connect()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(await rate(list(map(with_theirs, clients))))
        ours.append(await rate(list(map(with_ours, sessions))))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"aiosmtplib.SMTP.sendmail  {statistics.median(theirs):8,.0f}/s")
    print(f"workers.smtp.Session      {statistics.median(ours):8,.0f}/s")
    print(f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    for client in clients:
        client.close()
    for session in sessions:
        session.close()


def main() -> None:
    """Start the server and compare."""
    arguments = [sys.executable, "-m", "mailer.testing"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as server:
        assert server.stdout
        try:
            loop = new_event_loop()
            loop.run_until_complete(compare(json.loads(server.stdout.readline())["port"]))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
