"""A slow link to a server: what is said takes its time, and how often it is awaited is counted."""

import asyncio
import ssl
import threading
from types import TracebackType
from typing import Self

_PIECE = 256 * 1024


class SlowLink:
    """Passes connections on to a port of this machine: ``with SlowLink(port, 0.05) as link``.

    Attributes:
        port: where it listens, on 127.0.0.1.
        connections: made so far.
        turns: how often a client spoke after it had heard the server: the round trips, but for the
            first of a protocol in which the client speaks first.
    """

    def __init__(
        self, target: int, round_trip: float = 0.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Make a link.

        Args:
            target: the server's port.
            round_trip: seconds that a word and its answer are under way.
            tls: of the side that clients meet; the server is spoken to in plain text.
        """
        self.port = 0
        self.connections = 0
        self.turns = 0
        self._target = target
        self._delay = round_trip / 2
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it runs
        self._open.add(task)
        self.connections += 1
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        heard = False

        async def forth() -> None:
            nonlocal heard
            while data := await from_client.read(_PIECE):
                self.turns += heard
                heard = False
                self._later(to_server, data)

        async def back() -> None:
            nonlocal heard
            while data := await from_server.read(_PIECE):
                heard = True
                self._later(to_client, data)

        ways = [asyncio.create_task(forth()), asyncio.create_task(back())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(self._delay)  # what is under way arrives
        except asyncio.CancelledError:  # asyncio's own callback could not bear it
            pass
        finally:
            for way in ways:
                way.cancel()
            to_client.close()
            to_server.close()
            self._open.discard(task)

    def _later(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self._loop.call_later(self._delay, _write, writer, data)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
