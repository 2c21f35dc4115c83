"""Links to Redis, lent to one thread at a time; redis-py's client and pool are not used.

Together they take as long as all else in an enqueue (docs/decisions/0018).
"""

import os
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from hiredis import pack_command
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailer.store.link import Link
from mailer.store.operation import Argument, Operation

T = TypeVar("T")
Words = Sequence[Argument]
_FEW = 100  # words, which hiredis packs at once: of more it copies what it has again and again
MOST = 50  # of one client; further calls wait for one, within the store timeout


class Connections:
    """Lends links, the one used last first; none is made before it is needed.

    Args:
        make: makes one that is not connected yet.
        timeout: seconds to wait for one.
    """

    def __init__(self, make: Callable[[], Link], timeout: float) -> None:
        self._make = make
        self._timeout = timeout
        self._reset()

    def lend(self) -> Link:
        """Lend a link; `give_back` ends that."""
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

    def give_back(self, link: Link) -> None:
        """Take a link back."""
        self._idle.append(link)
        self._free.put(None)

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().close()

    def _reset(self) -> None:
        self._idle: list[Link] = []
        # a semaphore, of which threading has only one in Python, that takes ten times as long
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(MOST):
            self._free.put(None)
        self._pid = os.getpid()  # at last: another thread may look at it meanwhile


class Sent(Generic[T]):
    """Operations on their way, over a link that is lent until their replies are read."""

    def __init__(
        self, operations: Sequence[Operation[T]], connections: Connections, *, in_full: bool = False
    ) -> None:
        self.operations = operations
        self._connections = connections
        self._packed = [  # before a link is lent: this may raise
            packed(operation.full_words if in_full else operation.words) for operation in operations
        ]
        self._broken: RedisConnectionError | None = None
        self._link: Link | None = connections.lend()
        try:
            self._link.write(self._packed)
        except RedisConnectionError as error:
            self._broken = error  # to be mended where the replies are read
        except BaseException:
            self.cancel()
            raise

    def replies(self) -> list[Any]:
        """Read all replies; those that are errors are returned like others.

        A broken link, as after a restart of Redis, is replaced once without a word.
        """
        link = self._link
        assert link is not None  # noqa: S101 - they are read once
        try:
            try:
                if self._broken:
                    raise self._broken
                found = link.read(len(self._packed))
            except RedisConnectionError:
                link.close()
                link.write(self._packed)
                found = link.read(len(self._packed))
        except BaseException:
            self.cancel()
            raise
        self._link = None
        self._connections.give_back(link)
        return found

    def cancel(self) -> None:
        """Wait for no reply; nobody knows then what came of it.

        The link is closed, or they would meet the next commands.
        """
        if self._link:
            self._link.close()
            self._connections.give_back(self._link)
            self._link = None


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
