"""Blocking connections to Redis, lent to one thread at a time.

redis-py connects, authenticates and reads; its client and pool are not used, for together they
take as long as all else in an enqueue (docs/decisions/0018).
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailer.store.operation import Argument

Words = Sequence[Argument]
_FEW = 100  # words, up to which hiredis packs a command
MOST = 50  # of one client; further calls wait for one, within the store timeout


class Connections:
    """Lends connections, the one used last first; none is made before it is needed.

    Args:
        make: makes one that is not connected yet.
        timeout: seconds to wait for one.
    """

    def __init__(self, make: Callable[[], Connection], timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._reset()

    def send(self, commands: Sequence[Words]) -> "Sent":
        """Send commands; their replies are read by `Sent.replies`."""
        written = [packed(words) for words in commands]  # before one is lent: this may raise
        return Sent(self, self.lend(), written)

    def lend(self) -> Connection:
        """Lend a connection; `give_back` ends that."""
        if self._pid != os.getpid():  # a forked process must not share its parent's
            self._reset()
        if not self._free.acquire(timeout=self._timeout):
            raise RedisTimeoutError("all connections are in use")
        with suppress(IndexError):
            return self._idle.pop()
        return self._make()

    def give_back(self, connection: Connection) -> None:
        """Take a connection back."""
        self._idle.append(connection)
        self._free.release()

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().disconnect()  # type: ignore[no-untyped-call]

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: list[Connection] = []
        self._free = threading.Semaphore(MOST)


class Sent:
    """Commands on their way, on a connection that is lent until their replies are read."""

    def __init__(
        self, connections: Connections, connection: Connection, written: Sequence[bytes]
    ) -> None:
        self._connections = connections
        self._connection: Connection | None = connection
        self._packed = written
        self._broken: RedisConnectionError | None = None
        try:
            connection.send_packed_command(self._packed)  # type: ignore[no-untyped-call]
        except RedisConnectionError as error:
            self._broken = error  # to be mended where the replies are read
        except BaseException:
            self.cancel()
            raise

    def replies(self) -> list[Any]:
        """Read all replies; those that are errors are returned like others.

        A broken connection, as after a restart of Redis, is replaced once without a word.
        """
        connection = self._connection
        assert connection is not None  # noqa: S101 - they are read once
        try:
            try:
                if self._broken:
                    raise self._broken
                found = [_reply(connection) for _ in self._packed]
            except RedisConnectionError:
                connection.disconnect()  # type: ignore[no-untyped-call]
                connection.send_packed_command(self._packed)  # type: ignore[no-untyped-call]
                found = [_reply(connection) for _ in self._packed]
        except BaseException:
            self.cancel()
            raise
        self._connection = None
        self._connections.give_back(connection)
        return found

    def cancel(self) -> None:
        """Wait for no reply; the connection is closed, or they would meet the next commands."""
        if self._connection:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
            self._connections.give_back(self._connection)
            self._connection = None


def packed(words: Words) -> bytes:
    """Write a command as Redis reads it (RESP).

    hiredis takes a third of the time for few words, and three times as long for a whole chunk of
    emails, which it copies again and again while its buffer grows.
    """
    if len(words) < _FEW:
        whole: bytes = pack_command(tuple(words))  # type: ignore[arg-type]  # its stub knows one word
        return whole
    pieces = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, str):
            word = word.encode()  # noqa: PLW2901
        elif not isinstance(word, bytes):
            word = str(word).encode()  # noqa: PLW2901
        pieces += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(pieces)


def _reply(connection: Connection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
