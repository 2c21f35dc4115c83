"""A link to Redis that does something the moment it sees some words pass."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Self

import attrs

_PIECE = 256 * 1024
_OVERLAP = 64  # bytes: words may lie across two pieces


class Side(Enum):
    """When it happens."""

    REQUEST = "before Redis gets the request"
    REPLY = "before the client gets the reply"


@attrs.define
class Trigger:
    """What to watch for.

    Attributes:
        least: bytes of the reply; shorter ones don't count, for they say that there is nothing.
        times: it happens the last of so many times.
    """

    words: bytes
    side: Side
    act: Callable[[], None]
    least: int = 0
    times: int = 1


class Tap:
    """Passes connections on to a port of this machine: ``with Tap(port) as tap``."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.hits = 0
        self._target = target
        self._trigger: Trigger | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.Task] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def arm(self, trigger: Trigger | None) -> None:
        """Watch for one thing, which happens once."""
        self._trigger = trigger

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        while self._open:  # each is discarded by its own end
            for task in list(self._open):
                task.cancel()
            await asyncio.sleep(0)

    async def _connected(self, from_client, to_client) -> None:
        task = asyncio.current_task()
        self._open.add(task)
        ways: list[asyncio.Task] = []
        try:
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._target)
            awaited: list[Trigger] = []  # whose request has passed on this connection
            ways.append(asyncio.create_task(self._forth(from_client, to_redis, awaited)))
            ways.append(asyncio.create_task(self._back(from_redis, to_client, awaited)))
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            to_redis.close()
        except (OSError, asyncio.CancelledError):
            pass  # Redis is away: so it is to the client
        finally:
            for way in ways:
                way.cancel()
            to_client.close()
            self._open.discard(task)

    async def _forth(self, from_client, to_redis, awaited: list[Trigger]) -> None:
        seen = b""
        with suppress(OSError):
            while data := await from_client.read(_PIECE):
                trigger = self._trigger
                if trigger and trigger.words in seen + data:
                    if trigger.side is Side.REQUEST and self._happens(trigger):
                        return
                    awaited.append(trigger)
                    seen = b""
                else:
                    seen = data[-_OVERLAP:]
                to_redis.write(data)

    async def _back(self, from_redis, to_client, awaited: list[Trigger]) -> None:
        with suppress(OSError):
            while data := await from_redis.read(_PIECE):
                if awaited and self._is_time(awaited.pop(), data):
                    return
                to_client.write(data)

    def _is_time(self, trigger: Trigger, reply: bytes) -> bool:
        if trigger.side is not Side.REPLY or len(reply) < trigger.least:
            return False
        return trigger is self._trigger and self._happens(trigger)

    def _happens(self, trigger: Trigger) -> bool:
        """Count it; do it when it is time."""
        trigger.times -= 1
        if trigger.times:
            return False
        self._trigger = None
        self.hits += 1
        trigger.act()
        return True
