"""The public calls on the suppression list; `Mailer` describes each."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

from mailer.address import Address
from mailer.checks import mailbox
from mailer.errors import InvalidArgument, InvalidEmail
from mailer.header_checks import header_value
from mailer.steps import Call
from mailer.store.keys import Keys
from mailer.store.suppressions import Suppression, Suppressions

CHUNK = 1000  # addresses in one call: it holds Redis for some milliseconds
_MOST_LISTED = 1_000_000


class Suppressing:
    """Calls on the list under one key prefix, as generators like those of `Calls`."""

    def __init__(self, keys: Keys) -> None:
        self._store = Suppressions(keys)

    def suppress(self, address: str | Address, tag: str | None, reason: str, by: str) -> Call[bool]:
        wire, tag = _address(address, "address"), _tag(tag)
        new: int = yield self._store.add([wire], tag, _text(reason, "reason"), _text(by, "by"))
        return bool(new)

    def suppress_many(
        self, addresses: Iterable[str | Address], tag: str | None, reason: str, by: str
    ) -> Call[int]:
        tag, reason, by = _tag(tag), _text(reason, "reason"), _text(by, "by")
        if isinstance(addresses, str | Address):
            raise InvalidArgument("addresses", "is a list of addresses")
        left = (_address(a, f"addresses[{i}]") for i, a in enumerate(addresses))
        count = 0
        while chunk := list(islice(left, CHUNK)):
            new: int = yield self._store.add(chunk, tag, reason, by)
            count += new
        return count

    def unsuppress(self, address: str | Address, tag: str | None) -> Call[bool]:
        known: bool = yield self._store.remove(_address(address, "address"), _tag(tag))
        return known

    def suppressions(
        self, address: str | Address | None, tag: str | None, limit: int
    ) -> Call[Sequence[Suppression]]:
        if type(limit) is not int or not 1 <= limit <= _MOST_LISTED:
            raise InvalidArgument("limit", f"is a whole number from 1 to {_MOST_LISTED}")
        tag = _tag(tag)
        wire = None if address is None else _address(address, "address")
        found: dict[tuple[str, str | None], Suppression] = {}
        scans = [partial(self._store.scan_tags, tag=tag, address=wire)]
        if wire is not None:
            entries: list[Suppression] = yield self._store.find(wire, tag)
            found |= {(entry.address, entry.tag): entry for entry in entries}
            if tag is not None:
                return list(found.values())
        elif tag is None:
            scans.insert(0, partial(self._store.scan_all))
        for scan in scans:
            cursor = -1
            while cursor and len(found) < limit:
                cursor, entries = yield scan(max(cursor, 0))
                # what Redis moves about while it is read may come twice
                found |= {(entry.address, entry.tag): entry for entry in entries}
        return list(found.values())[:limit]


def _address(value: str | Address, field: str) -> str:
    with _argument(field):
        return mailbox(value).wire


def _tag(value: str | None) -> str | None:
    if value == "":
        raise InvalidArgument("tag", "is empty; leave it out for all emails")
    return None if value is None else _text(value, "tag")


def _text(value: str, field: str) -> str:
    with _argument(field):
        return header_value(value)


@contextmanager
def _argument(field: str) -> Iterator[None]:
    try:
        yield
    except InvalidEmail as error:
        raise InvalidArgument(field, error.reason) from None
