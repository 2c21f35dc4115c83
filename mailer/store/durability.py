"""How a producer learns that what it wrote would outlive the Redis server."""

from typing import Any

import attrs

from mailer.errors import InvalidSetting, NotDurable
from mailer.store.operation import Operation, run_command

_WAITAOF_SINCE = (7, 2)  # Valkey, for compatibility, says a redis_version too
_SHARE = (
    0.5  # of the store timeout: the answer must come before it, and Redis looks ten times a second
)


@attrs.frozen
class Durability:
    """What `durable` means.

    Attributes:
        replicas: in the memory of so many replicas; 0 stands for the server's own disk.
        timeout: the store timeout, in seconds.
    """

    replicas: int
    timeout: float

    def requirements(self) -> list[Operation[None]]:
        """Check that the server can give it, before anything is stored (INFO).

        Their parsers raise `InvalidSetting` or `NotDurable`, which tells what to change.
        """
        if self.replicas:
            return [run_command("INFO", "replication", parse=self._has_replicas)]
        return [run_command("INFO", parse=_writes_to_disk)]

    def awaited(self) -> Operation[str]:
        """Wait until all that this connection has written is durable (WAITAOF or WAIT).

        The result says why that is not known, or is empty.
        """
        most = round(self.timeout * _SHARE * 1000)
        if self.replicas:
            return run_command("WAIT", self.replicas, most, parse=self._on_replicas, blocks=True)
        return run_command("WAITAOF", 1, 0, most, parse=self._on_disk, blocks=True)

    def _has_replicas(self, reply: Any) -> None:
        there = int(_info(reply).get("connected_slaves", 0))
        if there < self.replicas:
            raise NotDurable(
                f"Redis has {there} replicas, and MAILER_DURABLE_REPLICAS is {self.replicas}; "
                "nothing was stored"
            )

    def _on_replicas(self, reply: int) -> str:
        if reply >= self.replicas:
            return ""
        return (
            f"stored, and on {reply} replicas within {self.timeout * _SHARE:g} s, where "
            f"MAILER_DURABLE_REPLICAS is {self.replicas}"
        )

    def _on_disk(self, reply: list[int]) -> str:
        if reply[0] >= 1:
            return ""
        return (
            "stored, and it is unknown whether on disk: Redis has not synced it within "
            f"{self.timeout * _SHARE:g} s; set appendfsync to everysec or always, or raise "
            "MAILER_STORE_TIMEOUT_SECONDS"
        )


def _writes_to_disk(reply: Any) -> None:
    info = _info(reply)
    major, minor, *_ = map(int, info.get("redis_version", "0.0").split("."))
    if (major, minor) < _WAITAOF_SINCE:
        raise InvalidSetting(
            f"durable: Redis {major}.{minor} has no WAITAOF; use Redis 7.2, or Valkey, or set "
            "MAILER_DURABLE_REPLICAS"
        )
    if info.get("aof_enabled") != "1":
        raise InvalidSetting(
            "durable: the Redis server writes nothing to disk; set appendonly yes there"
        )


def _info(reply: Any) -> dict[str, str]:
    """Read the reply to INFO, which redis-py may have read already."""
    if isinstance(reply, dict):
        return {name: str(value) for name, value in reply.items()}
    pairs = (line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    return dict(pairs)
