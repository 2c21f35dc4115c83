"""Limits that all workers share: rates, connections, and paces learned from replies."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
import msgspec

from mailer.store.keys import Keys
from mailer.store.operation import Argument, Operation, pairs, run_command, run_script
from mailer.store.records import at, encode

FIRST_PACE, LONGEST_PACE, SHORTEST_PACE = 1000, 600_000, 20  # ms between messages


@attrs.frozen
class Rate:
    """So many messages in so many seconds.

    Attributes:
        tolerance: seconds by which a message may come before its even time.
    """

    count: int
    seconds: float
    tolerance: float

    @property
    def interval(self) -> float:
        """Seconds between messages that are evenly spread."""
        return self.seconds / self.count


@attrs.frozen
class Limit:
    """What a relay or some domains take.

    Attributes:
        name: as it is shown, and as its state is kept.
        grace: seconds after its time within which a message may still be sent.
        connections: transactions at a time, of all workers; None for any number.
    """

    name: str
    rates: tuple[Rate, ...] = ()
    grace: float = 1.0
    connections: int | None = None


@attrs.frozen
class Request:
    """One message that wants to be sent within some limits."""

    permit: str
    limits: Sequence[Limit]


@attrs.frozen
class Turn:
    """When a message may be sent.

    Attributes:
        reserved: the time is taken for it; else it is when to ask again.
        at_ms: the Redis server's time, in ms with fractions.
        limit: which one makes it wait, where it is not reserved.
    """

    reserved: bool
    at_ms: float
    limit: str = ""


class Pace(msgspec.Struct, frozen=True):
    """How quickly a server wants to be sent to, as it has said itself.

    Attributes:
        interval: seconds between messages.
        since: when it first said so, by the Redis server's clock, in UTC.
    """

    name: str
    interval: float
    since: datetime
    reason: str


class _StoredPace(msgspec.Struct):
    interval: float
    since: float
    reason: str


_decode_pace = msgspec.json.Decoder(_StoredPace, strict=False).decode


class Limits:
    """Operations on the limits' state under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def enter(
        self, requests: Sequence[Request], horizon: float, lease: float
    ) -> Operation[list[Turn]]:
        """Ask for the turns of messages.

        Args:
            horizon: seconds ahead up to which a time is reserved.
            lease: seconds after which permits are free again.
        """
        keys, places = [self._keys.paces], dict[str, int]()
        args: list[Argument] = [_micro(horizon), _micro(lease)]
        for request in requests:
            wanted = []
            for limit in request.limits:
                if limit.name not in places:
                    places[limit.name] = len(keys) + 1
                    keys += self._keys.limit(limit.name)
                rates = [(_micro(r.interval), _micro(r.tolerance)) for r in limit.rates]
                entry = {"at": places[limit.name], "name": limit.name, "rates": rates}
                if limit.connections is not None:
                    entry["connections"] = limit.connections
                wanted.append(entry)
            args.append(encode({"permit": request.permit, "limits": wanted}))
        return run_script("enter", keys, args, lambda reply: [_turn(*fields) for fields in reply])

    def leave(self, held: Sequence[tuple[str, str, float]]) -> Operation[int]:
        """Give permits back: of each its name, the limit's name, the seconds it was held."""
        keys, args = list[str](), list[Argument]()
        for permit, limit, seconds in held:
            keys += self._keys.limit(limit)
            args += [permit, _micro(seconds)]
        return run_script("leave", keys, args, int)

    def renew(self, permit: str, limit: str, until_ms: float) -> Operation[int]:
        """Keep a permit for longer (ZADD XX)."""
        _, permits = self._keys.limit(limit)
        return run_command("ZADD", permits, "XX", round(until_ms * 1000), permit, parse=int)

    def slow_down(self, limit: str, reason: str) -> Operation[float]:
        """Note that a server wants less; the result is the interval in seconds from now on."""
        return self._step(limit, "slower", reason)

    def speed_up(self, limit: str) -> Operation[float]:
        """Note that a server took a message; the result likewise, 0 for no limit any more."""
        return self._step(limit, "faster", "")

    def paces(self) -> Operation[dict[str, Pace]]:
        """Read all paces, by the limit's name (HGETALL)."""

        def parse(reply: Any) -> dict[str, Pace]:
            return {name.decode(): _pace(name.decode(), v) for name, v in pairs(reply).items()}

        return run_command("HGETALL", self._keys.paces, parse=parse)

    def _step(self, limit: str, direction: str, reason: str) -> Operation[float]:
        bounds = [FIRST_PACE, LONGEST_PACE, SHORTEST_PACE]
        args: list[Argument] = [limit, direction, *bounds, reason]
        return run_script("pace", [self._keys.paces], args, lambda ms: float(ms) / 1000)


def _micro(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _turn(reserved: int, micro: bytes, limit: bytes = b"") -> Turn:
    return Turn(reserved == 1, int(micro) / 1000, limit.decode())


def _pace(name: str, value: bytes) -> Pace:
    stored = _decode_pace(value)
    return Pace(name, stored.interval / 1000, at(stored.since), stored.reason)
