"""Blocking operations on fakeredis, which has no socket to write to."""

from collections.abc import Sequence
from typing import Any

import fakeredis
from redis.exceptions import ResponseError

from mailer.store.connections import Connections
from mailer.store.runners import SyncRunner


def fake_runner(client: fakeredis.FakeRedis) -> SyncRunner:
    """Run operations on the server of ``client``."""
    return SyncRunner(Connections(lambda: FakeLink(client), 5), 5)


class FakeLink:
    """Stands in for a `mailer.store.link.Link`: redis-py writes and reads."""

    def __init__(self, client: fakeredis.FakeRedis) -> None:
        self._connection = client.connection_pool.make_connection()

    def write(self, commands: Sequence[bytes]) -> None:
        self._connection.send_packed_command(commands)

    def read(self, number: int) -> list[Any]:
        return [self._reply() for _ in range(number)]

    def close(self) -> None:
        self._connection.disconnect()

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error
