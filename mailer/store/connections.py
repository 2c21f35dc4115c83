"""Blocking connections to Redis, lent to one thread at a time.

redis-py connects, authenticates and reads; its client and pool are not used, for together they
take as long as all else in an enqueue (docs/decisions/0018).
"""

import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from hiredis import pack_command
from redis import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailer.store.operation import Argument

Words = Sequence[Argument]
_FEW = 100  # words, which hiredis packs at once: of more it copies what it has again and again
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
        try:
            self._free.get(timeout=self._timeout)
        except Empty:
            raise RedisTimeoutError("all connections are in use") from None
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give_back(self, connection: Connection) -> None:
        """Take a connection back."""
        self._idle.append(connection)
        self._free.put(None)

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().disconnect()  # type: ignore[no-untyped-call]

    def _reset(self) -> None:
        self._idle: list[Connection] = []
        # a semaphore, of which threading has only one in Python, that takes ten times as long
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(MOST):
            self._free.put(None)
        self._pid = os.getpid()  # at last: another thread may look at it meanwhile


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
    """Write a command as Redis reads it (RESP)."""
    if len(words) <= _FEW:
        return _packed(words)
    groups = [_packed(words[i : i + _FEW]) for i in range(0, len(words), _FEW)]
    without_numbers = [group[group.index(b"$") :] for group in groups]
    return b"".join((b"*%d\r\n" % len(words), *without_numbers))


def _packed(words: Words) -> bytes:
    command: bytes = pack_command(tuple(words))  # type: ignore[arg-type]  # its stub knows one word
    return command


def _reply(connection: Connection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
