"""Two ways to run an operation: `SyncRunner` waits, `AsyncRunner` is awaited.

Both give an answer or `StoreUnavailable` within the store timeout; a thread that has to wait for
one of the 50 connections may need twice as long. A broken connection, as after a
restart of Redis, is replaced once without a word: every operation may be repeated safely. A server
that does not answer in time is not asked twice.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
import redis.asyncio
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from mailer.errors import InvalidSetting, QueueFull, StoreUnavailable
from mailer.store.operation import Argument, Operation

T = TypeVar("T")
_MOST_CONNECTIONS = 50  # of one client; further calls wait for one, within the store timeout


class SyncRunner:
    """Runs operations on a pool of blocking connections; safe to share between threads."""

    def __init__(self, client: "redis.Redis", timeout: float) -> None:
        self._client = client
        self.timeout = timeout

    @classmethod
    def connect(cls, url: str, timeout: float) -> "SyncRunner":
        """Prepare connections to ``url``; none is made before the first operation."""
        retry = redis.retry.Retry(NoBackoff(), 1, (redis.exceptions.ConnectionError,))
        pool = _pool(redis.BlockingConnectionPool, url, retry, timeout)
        return cls(redis.Redis.from_pool(pool), timeout)

    def run(self, operation: Operation[T]) -> T:
        """Run one operation."""
        with _translated(self.timeout):
            try:
                reply = self._client.execute_command(*operation.words)  # type: ignore[no-untyped-call]
            except NoScriptError:
                reply = self._client.execute_command(*operation.full_words)  # type: ignore[no-untyped-call]
        return operation.parse(reply)

    def run_many(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations in one round trip, on one connection (they are not atomic together)."""
        with _translated(self.timeout):
            try:
                replies = self._run_all([operation.words for operation in operations])
            except NoScriptError:
                replies = self._run_all([operation.full_words for operation in operations])
        return [operation.parse(r) for operation, r in zip(operations, replies, strict=True)]

    def _run_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        return _without_errors(pipeline.execute(raise_on_error=False))

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


class AsyncRunner:
    """Runs operations on a pool of asyncio connections; belongs to one event loop."""

    def __init__(self, client: "redis.asyncio.Redis", timeout: float) -> None:
        self._client = client
        self.timeout = timeout

    @classmethod
    def connect(cls, url: str, timeout: float) -> "AsyncRunner":
        """Prepare connections to ``url``; none is made before the first operation."""
        retry = redis.asyncio.retry.Retry(NoBackoff(), 1, (redis.exceptions.ConnectionError,))
        pool = _pool(redis.asyncio.BlockingConnectionPool, url, retry, timeout)
        return cls(redis.asyncio.Redis.from_pool(pool), timeout)

    async def run(self, operation: Operation[T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109 - the bound is part of the promise
        """Run one operation; ``timeout`` replaces the usual one, for blocking commands."""
        limit = timeout or self.timeout
        with _translated(limit):
            async with asyncio.timeout(limit):
                try:
                    reply = await self._client.execute_command(*operation.words)  # type: ignore[no-untyped-call]
                except NoScriptError:
                    reply = await self._client.execute_command(*operation.full_words)  # type: ignore[no-untyped-call]
        return operation.parse(reply)

    async def run_many(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations in one round trip, on one connection (they are not atomic together)."""
        with _translated(self.timeout):
            async with asyncio.timeout(self.timeout):
                try:
                    replies = await self._run_all([operation.words for operation in operations])
                except NoScriptError:
                    replies = await self._run_all([each.full_words for each in operations])
        return [operation.parse(r) for operation, r in zip(operations, replies, strict=True)]

    async def _run_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return _without_errors(await pipeline.execute(raise_on_error=False))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class _Packing:
    """Has commands packed by hiredis, as redis-py does on its blocking connections only."""

    def pack_command(self, *words: Argument) -> list[bytes]:
        return [pack_command(words)]  # type: ignore[arg-type]  # its stub knows one word only

    def pack_commands(self, commands: Iterable[Sequence[Argument]]) -> list[bytes]:
        return [packed for words in commands for packed in self.pack_command(*words)]


def _pool(kind: Any, url: str, retry: Any, timeout: float) -> Any:
    """Make a pool whose callers wait for a connection where all are in use."""
    try:
        pool = kind.from_url(url, max_connections=_MOST_CONNECTIONS, timeout=timeout)
        # on top of what the URL's query may say
        pool.connection_kwargs |= {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": retry,
            "retry_on_timeout": False,
            "decode_responses": False,
            "health_check_interval": 0,
        }
        if isinstance(pool, redis.asyncio.BlockingConnectionPool):
            pool.connection_class = type("Packing", (_Packing, pool.connection_class), {})
        pool.connection_class(**pool.connection_kwargs)  # not connected: only to try the options
    except (ValueError, TypeError):
        # redis-py's message may quote a part of the password as the port
        raise InvalidSetting(
            "MAILER_REDIS_URL: is malformed; it looks like redis://user:password@host:6379/0, "
            "with special characters of the password percent-encoded (@ as %40, / as %2F, # as %23)"
        ) from None
    return pool


def _without_errors(replies: list[Any]) -> list[Any]:
    """Raise the first error among replies, as the server put it: redis-py would add the command."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


@contextmanager
def _translated(timeout: float) -> Iterator[None]:
    """Turn redis-py's errors into ours, at this one boundary."""
    try:
        yield
    except (redis.exceptions.TimeoutError, TimeoutError) as error:
        raise StoreUnavailable(
            f"Redis did not answer within {timeout:g} s (MAILER_STORE_TIMEOUT_SECONDS)"
        ) from error
    except (redis.exceptions.ConnectionError, OSError) as error:
        raise StoreUnavailable(f"Redis can't be reached (MAILER_REDIS_URL): {error}") from error
    except OutOfMemoryError as error:
        raise QueueFull(f"Redis is full (maxmemory); nothing was stored: {error}") from error
    except RedisError as error:
        raise StoreUnavailable(f"Redis refused: {error}") from error
