"""Which relays are paused, and why: shared by all workers, and shown to people."""

from datetime import datetime
from typing import Any

import attrs
import msgspec

from mailer.store.keys import Keys
from mailer.store.operation import Argument, Operation, pairs, run_command, run_script
from mailer.store.records import at

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds; each is twice the one before


class RelayPause(msgspec.Struct, frozen=True):
    """Why a relay is not used now. Times are the Redis server's, in UTC.

    Attributes:
        since: when its first fault was.
        until: when it is tried again, with one message.
        faults: how often in a row it was tried in vain.
        by: the worker that found the last one.
    """

    relay: str
    reason: str
    since: datetime
    until: datetime
    faults: int
    by: str


@attrs.frozen
class Trip:
    """What came of a fault.

    Attributes:
        until_ms: how long the relay is paused.
        news: it worked until now.
    """

    now_ms: int
    until_ms: int
    news: bool


class Relays:
    """Operations on the pauses of relays under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def trip(self, relay: str, reason: str, worker: str) -> Operation[Trip]:
        """Pause a relay that is at fault."""
        first, longest = round(FIRST_PAUSE * 1000), round(LONGEST_PAUSE * 1000)
        args: list[Argument] = [relay, reason, worker, first, longest]
        return run_script(
            "trip", [self._keys.relays], args, lambda reply: Trip(reply[0], reply[1], reply[2] == 1)
        )

    def probe(self, relay: str, patience: float) -> Operation[float]:
        """Ask to try a relay after its pause; the result is how many seconds to wait, 0 for none.

        Args:
            patience: seconds after which another may try it.
        """
        args: list[Argument] = [relay, round(patience * 1000)]
        return run_script("probe", [self._keys.relays], args, lambda ms: float(ms) / 1000)

    def heal(self, relay: str) -> Operation[bool]:
        """End the pause of a relay that works; the result is whether there was one."""
        return run_script("heal", [self._keys.relays, self._keys.wake], [relay], bool)

    def pauses(self) -> Operation[dict[str, RelayPause]]:
        """Read all pauses, those as well that are over and wait for a probe (HGETALL)."""

        def parse(reply: Any) -> dict[str, RelayPause]:
            return {name.decode(): _pause(name.decode(), v) for name, v in pairs(reply).items()}

        return run_command("HGETALL", self._keys.relays, parse=parse)


class _Stored(msgspec.Struct):
    """A pause as Lua writes it; times in ms."""

    reason: str
    since: float
    until: float
    faults: int
    by: str


_decode = msgspec.json.Decoder(_Stored, strict=False).decode


def _pause(relay: str, value: bytes) -> RelayPause:
    stored = _decode(value)
    return RelayPause(
        relay, stored.reason, at(stored.since), at(stored.until), stored.faults, stored.by
    )
