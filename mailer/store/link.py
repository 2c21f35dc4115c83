"""A blocking connection to Redis: redis-py makes it, here it is written to and read.

To sleep until a reply is there, and to be woken, takes longer than a Redis on the same machine
takes to reply. So a thread waits awake for a moment, where Redis has replied at once before; and
what redis-py has between a socket and hiredis is left out (docs/decisions/0023).
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from hiredis import PushNotification, Reader
from redis import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

_MOMENT = 100e-6  # seconds for which a thread looks for a reply again and again
_AT_ONCE = 200e-6  # seconds that a reply may take for the thread to look for the next one
_PIECE = 65536  # bytes
_NOT_YET = object()
_ERRORS = {"ERR": ResponseError, "NOSCRIPT": NoScriptError, "OOM": OutOfMemoryError}


class Link:
    """One connection; it is made when it is first needed, and again after `close`.

    Args:
        connection: of redis-py, not connected yet.

    `write` and `read` raise what redis-py would: `redis.exceptions.ConnectionError` where it broke,
    `TimeoutError` where the other end is silent for longer than the connection's timeout.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._socket: socket.socket | None = None
        self._is_near = True

    def write(self, commands: Sequence[bytes]) -> None:
        """Send commands, as `packed` writes them."""
        try:
            to = self._socket or self._connected()
            for command in commands:
                to.sendall(command)
        except OSError as error:
            raise _theirs(error) from error

    def read(self, number: int) -> list[Any]:
        """Read so many replies to what was written; errors among them are returned like others."""
        replies: list[Any] = []
        began = time.perf_counter()
        try:
            if self._is_near:
                self._look(until=began + _MOMENT)
            while len(replies) < number:
                reply = self._reader.gets()
                if reply is _NOT_YET:
                    self._receive()
                elif not isinstance(reply, PushNotification):
                    replies.append(reply)
        except OSError as error:
            raise _theirs(error) from error
        self._is_near = time.perf_counter() - began < _AT_ONCE
        return replies

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._socket = None

    def _connected(self) -> socket.socket:
        self._connection.connect()  # type: ignore[no-untyped-call]
        connected: Any = self._connection._sock
        self._reader = Reader(
            protocolError=InvalidResponse, replyError=_reply_error, notEnoughData=_NOT_YET
        )
        self._poll = None
        if hasattr(select, "poll") and hasattr(os, "sched_yield"):  # eventlet takes poll away
            self._poll = select.poll()
            self._poll.register(connected, select.POLLIN)
        self._socket = connected
        return self._socket

    def _look(self, until: float) -> None:
        if self._poll:
            look = self._poll.poll
            while not look(0) and time.perf_counter() < until:
                os.sched_yield()  # to Redis, where it has to share a processor with this

    def _receive(self) -> None:
        assert self._socket is not None  # noqa: S101 - something was written to it
        data = self._socket.recv(_PIECE)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._reader.feed(data)


def _reply_error(text: str) -> ResponseError:
    code, _, words = text.partition(" ")
    kind = _ERRORS.get(code)
    return kind(words) if kind else ResponseError(text)


def _theirs(error: OSError) -> Exception:
    kind = RedisTimeoutError if isinstance(error, TimeoutError) else RedisConnectionError
    return kind(str(error))
