"""Databases for outboxes, on a Redis server that starts with the first one and ends with us."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from mailer.store.operation import run_command
from mailer.store.runners import SyncRunner
from mailer.testing.redis import EmbeddedRedis

_SECONDS = 60.0  # a test may be stopped in a debugger, but its server answers
_free = [*range(16)]  # an outbox may be opened within another


@contextmanager
def empty_database() -> Iterator[SyncRunner]:
    """Lend an empty database.

    Raises:
        EmbeddedRedisError: there is no Redis server to be found, and what to install.
    """
    server, number = _server(os.getpid()), _free.pop(0)
    runner = SyncRunner.connect(f"redis://127.0.0.1:{server.port}/{number}", _SECONDS)
    try:
        runner.run(run_command("FLUSHDB", parse=bool))
        yield runner
    finally:
        runner.close()
        _free.insert(0, number)


@cache
def _server(pid: int) -> EmbeddedRedis:
    """Start the tests' server, once in each process; a forked one has its own."""
    server = EmbeddedRedis().start()

    def stop() -> None:
        if os.getpid() == pid:
            server.__exit__()

    atexit.register(stop)
    return server
