"""Both event loops, sessions on a scripted server, and servers that are no SMTP servers."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import uvloop

from mailer.testing import Options, SmtpServer
from workers.relay import Relay, Tls
from workers.smtp.pool import Connector
from workers.smtp.session import Envelope, Timeouts

MESSAGE = b"Message-ID: <m@example.com>\r\nSubject: hi\r\n\r\nHello\r\n"
ONE = Envelope("from@example.com", ["jm@example.org"])
TWO = Envelope("from@example.com", ["jm@example.org", "anna@example.net"])
PATIENCE = Timeouts(command=20.0, final=20.0)


@pytest.fixture(params=["asyncio", "uvloop"])
def both_loops(request):
    """The loop policy: workers run on uvloop where there is one, and the two differ at the edges."""
    return asyncio.DefaultEventLoopPolicy() if request.param == "asyncio" else uvloop.EventLoopPolicy()


def connector(port, timeouts=PATIENCE, *, connect=20.0, tls=Tls.OFF, context=None, **relay):
    host = relay.pop("host", "127.0.0.1")
    return Connector(Relay(host, port, tls, **relay), "client.example", connect, timeouts, context)


@asynccontextmanager
async def serving(*faults, timeouts=PATIENCE, **options):
    """A server with these faults and a session on it."""
    async with SmtpServer(Options(faults=list(faults), **options)) as server:
        server.state.commands = []
        session = await connector(server.port, timeouts)()
        try:
            yield server, session
        finally:
            session.close()


@asynccontextmanager
async def scripted(serve):
    """Run a server whose every connection is the coroutine ``serve(reader, writer)``."""
    tasks = set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def greeted(reader, writer, *extensions):
    """Say what comes before MAIL."""
    writer.write(b"220 hello\r\n")
    await reader.readuntil(b"\r\n")
    lines = ["test", *extensions]
    writer.write("".join(f"250-{line}\r\n" for line in lines).encode() + b"250 HELP\r\n")
