"""Both event loops, sessions on a scripted server, and servers that are no SMTP servers."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop
from in_line import CHUNKS, LIMIT, TURNS, Line, stop, until

from mailer.testing import Options, SmtpServer
from mailer.testing.smtp_connection import Connection
from workers.relays.relay import Relay, Tls
from workers.smtp import runs
from workers.smtp.connector import Connector
from workers.smtp.pool import Pool
from workers.smtp.timeouts import Timeouts

BY_DATA = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 52428800")
PATIENCE = Timeouts(command=20.0, data=20.0, block=20.0, final=20.0)
ON_BOTH_LOOPS = {"test_session.py", "test_pool.py", "test_runs.py", "test_fetching.py"}


def pytest_asyncio_loop_factories(config, item):
    """Run what uses sockets on both loops: workers prefer uvloop, which differs at the edges."""
    if item.path.name in ON_BOTH_LOOPS or item.path.name.startswith("test_orders"):
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
def said(monkeypatch):
    """What comes to a server at once: the number of its connection, and the octets."""
    pieces, take = [], Connection.data_received

    def note(connection, data):
        pieces.append((connection.number, data))
        take(connection, data)

    monkeypatch.setattr(Connection, "data_received", note)
    return pieces


@pytest.fixture
def in_line(connector, monkeypatch, said):
    """Runs a server that never takes too long, and what sends several messages at a time to it.

    By default some went before, so that it is known what the server can do. In the end nothing may
    be left.
    """
    monkeypatch.setattr(runs, "_SOON", 60.0)
    monkeypatch.setattr(runs, "_LATE", 60.0)
    monkeypatch.setattr("workers.smtp.pool._LONG_WAIT", 0.0)

    @asynccontextmanager
    async def run(
        *faults, way=TURNS, warm=True, timeouts=PATIENCE, late_seconds=20.0, late=0, **relay
    ):
        before = asyncio.all_tasks()
        relay = {"connections": LIMIT, "late_connections": late, **relay}
        async with SmtpServer(Options(extensions=way.extensions)) as server:
            pool = Pool(
                connector(server.port, timeouts, **relay),
                idle_seconds=30.0,
                late_seconds=late_seconds,
            )
            line = Line(server, pool, said)
            try:
                if warm:
                    await line.many(6 * LIMIT, "warm")
                while warm and way is CHUNKS and pool.run < relay["connections"]:
                    await line.many(pool.run, "warm")
                line.forget()
                line.faults(*faults)
                yield line
            finally:
                await stop(line.orders)
                await pool.close()
            assert not pool.seats.taken
            assert not pool.seats.aside
            await until(lambda: not server.state.clients)
            assert asyncio.all_tasks() <= before

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
