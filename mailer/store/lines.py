"""An asyncio connection to Redis on which many tasks ask at once; the server answers in order.

redis-py connects, authenticates and reads; its client and pool are not used, for they take several
times as long as what is asked, and give each task a connection to itself (docs/decisions/0018).
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from mailer.store.connections import Words, packed


class Line:
    """A connection that is made when it is first needed, and not used again once it is broken.

    Args:
        connection: of redis-py, not connected yet, and without a timeout: who asks has one.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._unsent: list[bytes] = []
        self._awaited: deque[asyncio.Future[Any]] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self.is_broken = False

    @classmethod
    def of(cls, pool: Any) -> "Line":
        """Make one with the options of a pool of redis-py's."""
        options = {**pool.connection_kwargs, "socket_timeout": None}
        return cls(pool.connection_class(**options))

    async def ask(self, commands: Sequence[Words]) -> list[Any]:
        """Send commands, with all that others ask in this turn of the loop, and await the replies.

        Those that are errors are returned like others; one of ours where the connection broke.
        """
        written = [packed(words) for words in commands]  # this may raise
        loop = asyncio.get_running_loop()
        replies = [loop.create_future() for _ in commands]
        self._unsent += written
        self._awaited += replies
        if self._sending is None:
            self._sending = loop.create_task(self._send())
        return [await reply for reply in replies]

    def break_off(self, reason: str) -> None:
        """Close the connection; who waits learns of it, and no reply can meet another command."""
        self.is_broken = True
        for task in (self._sending, self._reading):
            if task:
                task.cancel()
        self._end(RedisConnectionError(reason))

    async def close(self) -> None:
        """Close the connection in order, when nobody waits any more."""
        self.break_off("closed")
        await self._connection.disconnect()

    async def _send(self) -> None:
        try:
            while self._unsent:
                unsent, self._unsent = self._unsent, []
                await self._connection.send_packed_command(unsent, check_health=False)
                if self._reading is None:
                    self._reading = asyncio.create_task(self._read())
        except Exception as error:  # noqa: BLE001 - who waits must hear of it, or waits for ever
            self._end(error)
        finally:
            self._sending = None

    async def _read(self) -> None:
        try:
            while self._awaited:
                try:
                    reply = await self._connection.read_response()
                except ResponseError as error:
                    reply = error
                awaited = self._awaited.popleft()
                if not awaited.done():  # who asked may have given up
                    awaited.set_result(reply)
        except Exception as error:  # noqa: BLE001 - likewise
            self._end(error)
        finally:
            self._reading = None

    def _end(self, error: Exception) -> None:
        self.is_broken = True
        awaited, self._awaited = self._awaited, deque()
        for reply in awaited:
            if not reply.done():
                reply.set_result(error)
