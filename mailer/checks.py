"""What each field of an email accepts: converters that return the value, or say what is wrong.

They don't know which field they serve: an `InvalidEmail` of theirs has only the place within it,
such as ``[2]``, and `Email` puts the field's name before it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from mailer.address import Address, Group
from mailer.errors import InvalidEmail
from mailer.header_checks import exact, header_value
from mailer.job import Priority
from mailer.mime.build import calendar_method
from mailer.prepared import PreparedEmail
from mailer.retry import RetryPolicy

Mailboxes = str | Address | Group | Iterable[str | Address | Group]
Delivery = Literal["at-least-once", "at-most-once"]


SEVERAL = (list, tuple, Iterable)  # the first two are known at a look
_ENTRIES = (str, Address, Group)  # a union would be made anew at each look
_LONGEST_NAME = 100  # characters
_DELIVERIES = get_args(Delivery)
_DSN_NOTIFY = ("success", "failure", "delay", "never")
_MAX_DEPTH = 32  # of metadata


def mailboxes(value: Mailboxes) -> tuple[Address | Group, ...]:
    """Read one address or group, or several."""
    if isinstance(value, _ENTRIES):
        return (_entry(value),)
    if not isinstance(value, SEVERAL):
        raise InvalidEmail("", f"is a list of addresses, not {type(value).__name__}")
    return tuple(_entry(item, f"[{i}]") for i, item in enumerate(value))


def _entry(value: Any, name: str = "") -> Address | Group:
    if not isinstance(value, Group):
        return mailbox(value, name)
    if not header_value(value.name, f"{name}.name").strip():
        raise InvalidEmail(f"{name}.name", "is empty")
    if isinstance(value.members, str | Address) or not isinstance(value.members, Iterable):
        raise InvalidEmail(f"{name}.members", "is a list of addresses")
    members = enumerate(value.members)
    return Group(value.name, tuple(mailbox(item, f"{name}.members[{i}]") for i, item in members))


def mailbox(value: Any, name: str = "") -> Address:
    """Read one address."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise InvalidEmail(name, f"is an address, not {type(value).__name__}")
    try:
        return Address.parse(value)
    except InvalidEmail as error:
        raise InvalidEmail(name, error.reason) from None


def sender(value: str | Address) -> Address:
    """Read one address."""
    return _known_sender(value) if type(value) is str else mailbox(value)


@lru_cache(maxsize=256)
def _known_sender(value: str) -> Address:
    """Read the address of a sender, of whom most applications have few."""
    return mailbox(value)


def optional_sender(value: str | Address | None) -> Address | None:
    """Read one address, or none."""
    return None if value is None else sender(value)


def flag(value: bool) -> bool:
    """Accept True or False."""
    if not isinstance(value, bool):
        raise InvalidEmail("", f"is True or False, not {type(value).__name__}")
    return value


def calendar(value: str | None) -> str | None:
    """Accept an iCalendar object that says what it asks for (RFC 5545; RFC 6047, 2.4)."""
    value = body(value)
    if value is None:
        return None
    if not value.lstrip("\ufeff\r\n ").upper().startswith("BEGIN:VCALENDAR"):
        raise InvalidEmail("", "is an iCalendar object; it begins with BEGIN:VCALENDAR")
    if not calendar_method(value):
        raise InvalidEmail("", "has no METHOD; an invitation has METHOD:REQUEST (RFC 6047, 2.4)")
    return value


def body(value: str | None) -> str | None:
    """Accept a text that UTF-8 can hold."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEmail("", f"is a text, not {type(value).__name__}")
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEmail(
            "", f"can't be encoded: a lone surrogate at character {error.start}"
        ) from None
    return value if type(value) is str else exact(value)


def moment(value: datetime | None) -> datetime | None:
    """Accept a datetime that knows its time zone."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidEmail("", f"is a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidEmail(
            "", "has no time zone; write for example datetime.now(UTC) + timedelta(hours=1)"
        )
    return value


def priority(value: str | Priority) -> Priority:
    """Accept a priority or its name."""
    try:
        return Priority(value)
    except ValueError:
        raise InvalidEmail("", f"is one of {', '.join(Priority)}") from None


def tags(value: Iterable[str]) -> tuple[str, ...]:
    """Accept any texts that could stand in a header."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidEmail("", f"is a list of texts, not {type(value).__name__}")
    return tuple(header_value(tag, f"[{i}]") for i, tag in enumerate(value))


def metadata(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Accept what JSON can hold, as JSON holds it."""
    try:
        held = msgspec.json.decode(msgspec.json.encode(dict(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEmail("", f"is a mapping that JSON can hold: {error}") from None
    if _depth(held) > _MAX_DEPTH:  # how deep a reader may go depends on who calls it
        raise InvalidEmail("", f"is nested more than {_MAX_DEPTH} levels deep")
    return MappingProxyType(held)


def key(value: str | None) -> str | None:
    """Accept any text that is not empty."""
    value = body(value)
    if value == "":
        raise InvalidEmail("", "is empty; leave it out instead")
    return value


def relay(value: str | None) -> str | None:
    """Accept a name; whether there is such a relay, the settings know."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _LONGEST_NAME:
        raise InvalidEmail("", "is the name of a relay, as in [relays.NAME] of the settings")
    plain: str = exact(value)
    return plain


def delivery(value: Delivery) -> Delivery:
    """Accept what is to be done where an outcome is unknown."""
    if value not in _DELIVERIES:
        raise InvalidEmail("", f"is one of {', '.join(_DELIVERIES)}")
    return value


def dsn_notify(value: Iterable[str]) -> tuple[str, ...]:
    """Accept when to report (RFC 3461, 4.1)."""
    asked = (value,) if isinstance(value, str) else tags(value)
    if unknown := [name for name in asked if name not in _DSN_NOTIFY]:
        raise InvalidEmail("", f"has {unknown[0]!r}; there are {', '.join(_DSN_NOTIFY)}")
    if "never" in asked and len(set(asked)) > 1:
        raise InvalidEmail("", "is never, or some of the others (RFC 3461, 4.1)")
    return tuple(dict.fromkeys(asked))


def dsn_return(value: str | None) -> str | None:
    """Accept what a report brings back (RFC 3461, 4.3)."""
    if value is not None and value not in {"full", "headers"}:
        raise InvalidEmail("", "is full or headers")
    return value


def prepared(value: PreparedEmail | None) -> PreparedEmail | None:
    """Accept what `Email.from_message` has read."""
    if value is not None and not isinstance(value, PreparedEmail):
        raise InvalidEmail("", "is set by Email.from_message")
    return value


def retry_policy(value: RetryPolicy | str | None) -> RetryPolicy | str | None:
    """Accept a policy, which has checked itself, or the name of one."""
    if value is not None and not isinstance(value, RetryPolicy | str):
        raise InvalidEmail(
            "", f"is a RetryPolicy or the name of one in mailer.toml, not {type(value).__name__}"
        )
    return value


def _depth(value: Any) -> int:
    """Count how deep lists and mappings are nested; 0 for neither."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [x for item in level for x in (item.values() if isinstance(item, dict) else item)]
    return depth
