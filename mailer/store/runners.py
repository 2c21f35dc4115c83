"""Two ways to run an operation: `SyncRunner` waits, `AsyncRunner` is awaited.

Both give an answer or `StoreUnavailable` within the store timeout; a thread that has to wait for
one of the 50 connections may need twice as long. A broken connection, as after a
restart of Redis, is replaced once without a word: every operation may be repeated safely. A server
that does not answer in time is not asked twice.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from mailer.errors import InvalidSetting, QueueFull, StoreUnavailable
from mailer.store.connections import MOST, Connections, Sent, Words, packed
from mailer.store.lines import Line
from mailer.store.link import Link
from mailer.store.operation import Argument, Operation

T = TypeVar("T")


class SyncRunner:
    """Runs operations on blocking connections; safe to share between threads."""

    def __init__(self, connections: Connections, timeout: float) -> None:
        self._connections = connections
        self.timeout = timeout

    @classmethod
    def connect(cls, url: str, timeout: float) -> "SyncRunner":
        """Prepare connections to ``url``; none is made before the first operation."""
        retry = redis.retry.Retry(NoBackoff(), 1, (redis.exceptions.ConnectionError,))
        pool = _pool(redis.ConnectionPool.from_url, url, retry, timeout)

        def make() -> Link:
            # not by the pool: it counts what was ever made, a parent's before a fork as well
            return Link(pool.connection_class(**pool.connection_kwargs))

        return cls(Connections(make, timeout), timeout)

    def run(self, operation: Operation[T]) -> T:
        """Run one operation."""
        return self.run_many([operation])[0]

    def run_many(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations in one round trip, on one connection (they are not atomic together)."""
        return self.answers(self.send(operations))

    def send(self, operations: Sequence[Operation[T]]) -> Sent[T]:
        """Send operations, as `run_many`, and do not wait for `answers`."""
        try:
            return Sent(operations, self._connections)
        except _THEIRS as error:
            raise _ours(error, self.timeout) from error

    def answers(self, sent: Sent[T]) -> list[T]:
        """Wait for the answers to what was sent."""
        try:
            try:
                replies = _without_errors(sent.replies())
            except NoScriptError:
                again = Sent(sent.operations, self._connections, in_full=True)
                replies = _without_errors(again.replies())
        except _THEIRS as error:
            raise _ours(error, self.timeout) from error
        return [operation.parse(r) for operation, r in zip(sent.operations, replies, strict=True)]

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()


class AsyncRunner:
    """Runs operations on asyncio connections; belongs to one event loop.

    All that is asked goes over one connection, which is nearly always the fastest. Only what keeps
    the server waiting has one of its own meanwhile.
    """

    def __init__(self, client: "redis.asyncio.Redis", timeout: float) -> None:
        self._client = client
        self._line: Line | None = None
        self.timeout = timeout

    @classmethod
    def connect(cls, url: str, timeout: float) -> "AsyncRunner":
        """Prepare connections to ``url``; none is made before the first operation."""
        retry = redis.asyncio.retry.Retry(NoBackoff(), 1, (redis.exceptions.ConnectionError,))
        # whose callers wait for a connection, where all are in use
        blocking = partial(
            redis.asyncio.BlockingConnectionPool.from_url, max_connections=MOST, timeout=timeout
        )
        pool = _pool(blocking, url, retry, timeout)
        pool.connection_class = type("Packing", (_Packing, pool.connection_class), {})
        return cls(redis.asyncio.Redis.from_pool(pool), timeout)

    async def run(self, operation: Operation[T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109 - the bound is part of the promise
        """Run one operation; ``timeout`` replaces the usual one, for those that block."""
        return (await self._run_all([operation], timeout or self.timeout))[0]

    async def run_many(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Run operations in one round trip, on one connection (they are not atomic together)."""
        return await self._run_all(operations, self.timeout)

    def send(self, operations: Sequence[Operation[T]]) -> "asyncio.Task[list[T]]":
        """Start operations, as `run_many`, and do not wait for the answers."""
        return asyncio.create_task(self.run_many(operations))

    async def close(self) -> None:
        """Close every connection."""
        if self._line:
            await self._line.close()
        await self._client.aclose()

    async def _run_all(self, operations: Sequence[Operation[T]], limit: float) -> list[T]:
        alone = any(each.blocks for each in operations)
        ask = self._ask_alone if alone else self._ask
        try:
            async with asyncio.timeout(limit):
                try:
                    replies = await ask([operation.words for operation in operations])
                except NoScriptError:
                    replies = await ask([each.full_words for each in operations])
        except TimeoutError as error:
            if self._line and not alone:  # nor would it answer those behind
                self._line.break_off("the server did not answer in time")
            raise _ours(error, limit) from error
        except _THEIRS as error:
            raise _ours(error, limit) from error
        return [operation.parse(r) for operation, r in zip(operations, replies, strict=True)]

    async def _ask(self, commands: Sequence[Words]) -> list[Any]:
        """Ask on the line that all share; on a new one, where it breaks."""
        for _ in range(2):
            line = self._line
            if line is None or line.is_broken:
                line = self._line = Line.of(self._client.connection_pool)
            replies = await line.ask(commands)
            if not any(isinstance(reply, redis.exceptions.ConnectionError) for reply in replies):
                break
        return _without_errors(replies)

    async def _ask_alone(self, commands: Sequence[Words]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return _without_errors(await pipeline.execute(raise_on_error=False))


class _Packing:
    """Has commands packed as on blocking connections; redis-py does that in Python here."""

    def pack_command(self, *words: Argument) -> list[bytes]:
        return [packed(words)]

    def pack_commands(self, commands: Iterable[Words]) -> list[bytes]:
        return [packed(words) for words in commands]


def _pool(make: Callable[[str], Any], url: str, retry: Any, timeout: float) -> Any:
    """Make what makes connections."""
    try:
        pool = make(url)
        # on top of what the URL's query may say
        pool.connection_kwargs |= {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": retry,
            "retry_on_timeout": False,
            "decode_responses": False,
            "health_check_interval": 0,
        }
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


# What redis-py raises, and the system; `_ours` says it in our words. At this one boundary.
_THEIRS = (RedisError, OSError)


def _ours(error: Exception, timeout: float) -> StoreUnavailable:
    if isinstance(error, redis.exceptions.TimeoutError | TimeoutError):
        return StoreUnavailable(
            f"Redis did not answer within {timeout:g} s (MAILER_STORE_TIMEOUT_SECONDS)"
        )
    if isinstance(error, redis.exceptions.ConnectionError | OSError):
        return StoreUnavailable(f"Redis can't be reached (MAILER_REDIS_URL): {error}")
    if isinstance(error, OutOfMemoryError):
        return QueueFull(f"Redis is full (maxmemory); nothing was stored: {error}")
    return StoreUnavailable(f"Redis refused: {error}")
