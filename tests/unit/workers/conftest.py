"""Both event loops, sessions on a scripted server, and servers that are no SMTP servers."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from mailer.testing import Options, SmtpServer
from workers.relays.relay import Relay, Tls
from workers.smtp.connector import Connector
from workers.smtp.timeouts import Timeouts

BY_DATA = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 52428800")
PATIENCE = Timeouts(command=20.0, data=20.0, block=20.0, final=20.0)


def pytest_asyncio_loop_factories(config, item):
    """Run what uses sockets on both loops: workers prefer uvloop, which differs at the edges."""
    if item.path.name in {"test_session.py", "test_pool.py", "test_runs.py", "test_fetching.py"}:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
def connector():
    """Makes connectors to a port on this machine."""

    def make(
        port,
        timeouts=PATIENCE,
        *,
        connect=20.0,
        tls=Tls.OFF,
        context=None,
        host="127.0.0.1",
        **user,
    ):
        relay = Relay(name="r", host=host, port=port, tls=tls, **user)
        return Connector(relay, "client.example", connect, timeouts, context)

    return make


@pytest.fixture
def serving(connector):
    """Runs a server with the given faults; gives it and a session on it."""

    @asynccontextmanager
    async def run(*faults, timeouts=PATIENCE, **options):
        options = Options(faults=list(faults), **{"extensions": BY_DATA, **options})
        async with SmtpServer(options) as server:
            session = await connector(server.port, timeouts)()
            server.state.commands = []
            try:
                yield server, session
            finally:
                session.close()

    return run


@pytest.fixture
def scripted():
    """Runs a server whose every connection is the coroutine ``serve(reader, writer)``."""

    @asynccontextmanager
    async def run(serve):
        tasks = set()

        async def handle(reader, writer):
            tasks.add(asyncio.current_task())
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await serve(reader, writer)
            writer.transport.abort()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


@pytest.fixture
def talking(connector, scripted):
    """Gives a session on a server that says what ``serve(reader, writer)`` does after EHLO."""

    @asynccontextmanager
    async def run(serve, *extensions, timeouts=PATIENCE):
        async def greet_and_serve(reader, writer):
            writer.write(b"220 hello\r\n")
            await reader.readuntil(b"\r\n")
            lines = ["250-test", *(f"250-{name}" for name in extensions), "250 HELP"]
            writer.write("\r\n".join(lines).encode() + b"\r\n")
            await serve(reader, writer)

        async with scripted(greet_and_serve) as port:
            session = await connector(port, timeouts)()
            try:
                yield session
            finally:
                session.close()

    return run
