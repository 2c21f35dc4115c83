"""A real SMTP server (RFC 5321) that keeps what it accepts, and goes wrong on request.

``python -m mailer.testing`` runs it as a process of its own.
"""

import asyncio
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from mailer.testing.faults import Fault
from mailer.testing.smtp_session import Session
from mailer.testing.smtp_state import Options, Received, State

try:
    from uvloop import new_event_loop
except ImportError:  # not on every platform
    from asyncio import new_event_loop  # type: ignore[assignment]

_LOOK_EVERY = 0.005  # seconds


class SmtpServer:
    """The server on the running event loop: ``async with SmtpServer() as server``.

    Args:
        port: of 127.0.0.1; 0 for a free one.
        socket: a Unix socket to listen on instead.
    """

    def __init__(
        self, options: Options | None = None, *, port: int = 0, socket: Path | None = None
    ) -> None:
        self.state = State(options or Options())
        self.host = "127.0.0.1"
        self.port = port
        self.socket = socket
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        tls = self.state.options.implicit_tls
        if self.socket:
            self._server = await loop.create_unix_server(self._session, self.socket, ssl=tls)
            return self
        self._server = await loop.create_server(self._session, self.host, self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _session(self) -> Session:
        return Session(self.state)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._server:
            self._server.close()
        for client in self.state.clients:
            client.abort()
        while self.state.clients:  # noqa: ASYNC110 - the loop tells each connection of its end
            await asyncio.sleep(0)
        self.state.close()


class SmtpServerThread:
    """The server in a thread of its own: ``with SmtpServerThread() as server``.

    Takes ``port``, ``socket`` and the fields of `Options` as arguments.
    """

    def __init__(self, *, port: int = 0, socket: Path | None = None, **options: object) -> None:
        self._server = SmtpServer(Options(**options), port=port, socket=socket)  # type: ignore[arg-type]
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def state(self) -> State:
        """What it has seen so far."""
        return self._server.state

    @property
    def faults(self) -> list[Fault]:
        """What goes wrong; may be changed at any time."""
        return self.state.options.faults

    @faults.setter
    def faults(self, faults: list[Fault]) -> None:
        self.state.options.faults = faults

    @property
    def received(self) -> list[Received]:
        """The messages it has accepted."""
        return self.state.received

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._server.port

    @property
    def url(self) -> str:
        """The relay's URL, for ``MAILER_RELAY_URL``."""
        options = self.state.options
        scheme = "lmtp" if options.lmtp else "smtps" if options.implicit_tls else "smtp"
        if self._server.socket:
            return f"{scheme}+unix://{self._server.socket}"
        return f"{scheme}://127.0.0.1:{self.port}"

    def wait_for(self, count: int, timeout: float = 10) -> list[Received]:
        """Wait until that many messages were accepted."""
        deadline = time.monotonic() + timeout
        while self.state.count < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.state.count} of {count} messages in {timeout:g} s")
            time.sleep(_LOOK_EVERY)
        return self.received

    def forget(self) -> None:
        """Forget what was accepted, and go wrong no more."""
        self.faults = []
        self.received.clear()
        self.state.count = 0

    def close_connections(self) -> None:
        """Close every connection, as a server does with idle clients."""
        for client in list(self.state.clients):
            self._loop.call_soon_threadsafe(client.close)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(
            self._server.__aexit__(None, None, None), self._loop
        ).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
