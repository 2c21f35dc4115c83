"""The suppression list: who is not to be sent to, in any email or in those of one tag."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailer.store.keys import Keys
from mailer.store.operation import Operation, run_command, run_script
from mailer.store.records import at

_LOOK_AT = 1000  # entries in one HSCAN: it holds Redis for some milliseconds


class Suppression(msgspec.Struct, frozen=True):
    """One entry.

    Attributes:
        address: in lower case, its domain in A-labels.
        tag: of the emails that are kept from it; None for all emails.
        reason: as told when it was put there; may be empty.
        since: when that was, by the Redis server's clock, in UTC.
        by: who did it: ``api``, ``cli`` or a worker's name.
    """

    address: str
    tag: str | None
    reason: str
    since: datetime
    by: str


class _Stored(msgspec.Struct):
    """An entry as Lua writes it; the time in ms."""

    reason: str
    since: float
    by: str


_decode = msgspec.json.Decoder(_Stored, strict=False).decode
_GLOB = re.compile(r"([\\*?\[\]])")


class Suppressions:
    """Operations on the list under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def add(
        self, addresses: Sequence[str], tag: str | None, reason: str, by: str
    ) -> Operation[int]:
        """Put addresses on the list; the result is how many were not on it."""
        fields = [_field(address, tag) for address in addresses]
        return run_script("suppress", [self._key(tag)], [reason, by, *fields], int)

    def remove(self, address: str, tag: str | None) -> Operation[bool]:
        """Take an address off the list (HDEL); the result is whether it was on it."""
        return run_command("HDEL", self._key(tag), _field(address, tag), parse=bool)

    def find(self, address: str, tag: str | None) -> Operation[list[Suppression]]:
        """Look an address up (HGET); the result has one entry at most."""
        field = _field(address, tag)

        def parse(reply: bytes | None) -> list[Suppression]:
            return [_suppression(field.encode(), reply)] if reply else []

        return run_command("HGET", self._key(tag), field, parse=parse)

    def scan_all(self, cursor: int) -> Operation[tuple[int, list[Suppression]]]:
        """Read a part of the entries for all emails (HSCAN); the cursor is 0 after the last."""
        return run_command("HSCAN", self._key(None), cursor, "COUNT", _LOOK_AT, parse=_scanned)

    def scan_tags(
        self, cursor: int, *, tag: str | None = None, address: str | None = None
    ) -> Operation[tuple[int, list[Suppression]]]:
        """Read a part of the entries for tags (HSCAN), of one tag or address where given."""
        parts = (tag, None if address is None else _lower(address))
        pattern = "\n".join("*" if part is None else _GLOB.sub(r"\\\1", part) for part in parts)
        words = (self._keys.suppressed_tags, cursor, "MATCH", pattern, "COUNT", _LOOK_AT)
        return run_command("HSCAN", *words, parse=_scanned)

    def _key(self, tag: str | None) -> str:
        return self._keys.suppressed if tag is None else self._keys.suppressed_tags


def _field(address: str, tag: str | None) -> str:
    return _lower(address) if tag is None else f"{tag}\n{_lower(address)}"


def _lower(address: str) -> str:
    """Make ASCII letters small, and no others: as Lua does."""
    return address.encode().lower().decode()


def _scanned(reply: Any) -> tuple[int, list[Suppression]]:
    cursor, found = reply
    pairs = found if isinstance(found, Mapping) else dict(zip(found[::2], found[1::2], strict=True))
    return int(cursor), [_suppression(field, value) for field, value in pairs.items()]


def _suppression(field: bytes, value: bytes) -> Suppression:
    tag, separator, address = field.decode().rpartition("\n")
    stored = _decode(value)
    return Suppression(
        address, tag if separator else None, stored.reason, at(stored.since), stored.by
    )
