"""A wire to Redis that knows which Lua step passes over it, and at which something can be done."""

import asyncio
import re
from collections.abc import Callable
from enum import StrEnum
from importlib import resources
from typing import Self

import attrs

from mailer.store.operation import script
from workers.loop import LoopThread

_PIECE = 256 * 1024
_CALL = re.compile(rb"EVALSHA\r\n\$40\r\n([0-9a-f]{40})")
_LUA = resources.files("mailer.store").joinpath("lua")
_STEPS = {
    script(name).sha.encode(): name
    for name in (file.name.removesuffix(".lua") for file in _LUA.iterdir())
}
_MAY_BE_IDLE = frozenset({"claim", "begin"})  # whose replies may name no job


class Moment(StrEnum):
    """When, in the course of one step."""

    REQUEST = "request"  # it was asked for, and Redis never hears of it
    HALF = "half"  # Redis hears the first half of it
    REPLY = "reply"  # it is done, and who asked never hears of it


@attrs.define
class Trap:
    """What is done when a step passes; then the wire is cut.

    Attributes:
        skip: how many of these steps pass before.
    """

    step: str
    moment: Moment
    act: Callable[[], None]
    skip: int = 0


class Tap:
    """Passes connections on to a Redis server of this machine: ``with Tap(port) as tap``.

    Attributes:
        port: where it listens, on 127.0.0.1.
        trap: springs once.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.trap: Trap | None = None
        self._target = target
        self._thread = LoopThread()
        self._open: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.submit(self._listen()).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._close()).result()
        self._thread.stop()

    def cut(self) -> None:
        """Close all connections, in the midst of whatever they carry."""
        self._thread.call(self._cut)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self._cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _connected(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the server is down, and so is the wire
            to_client.transport.abort()
            self._connections.discard(task)
            return
        ends = {to_client, to_server}
        self._open |= ends
        caught = _Caught()
        ways = [
            asyncio.create_task(self._forth(from_client, to_server, caught)),
            asyncio.create_task(self._back(from_server, to_client, caught)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in ends:
            writer.transport.abort()
        self._open -= ends
        self._connections.discard(task)

    async def _forth(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, caught: "_Caught"
    ) -> None:
        while data := await client.read(_PIECE):
            steps = [_STEPS.get(sha, "?") for sha in _CALL.findall(data)]
            trap = self._trap_for(steps)
            if trap and trap.moment is not Moment.REPLY:
                if trap.moment is Moment.HALF:
                    server.write(data[: len(data) // 2])
                    await server.drain()
                self._spring(trap)
                return
            caught.by = trap
            server.write(data)
            await server.drain()

    async def _back(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, caught: "_Caught"
    ) -> None:
        while data := await server.read(_PIECE):
            trap = caught.by
            if trap and trap is self.trap and (trap.step not in _MAY_BE_IDLE or b"$" in data):
                self._spring(trap)
                return
            client.write(data)
            await client.drain()

    def _trap_for(self, steps: list[str]) -> Trap | None:
        trap = self.trap
        if trap is None or trap.step not in steps:
            return None
        if trap.skip > 0:
            trap.skip -= 1
            return None
        return trap

    def _spring(self, trap: Trap) -> None:
        self.trap = None
        trap.act()
        self._cut()


@attrs.define
class _Caught:
    """The trap that the reply to come on a connection will spring."""

    by: Trap | None = None
