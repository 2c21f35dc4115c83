"""What each field of an email accepts: converters that return the value, or say what is wrong.

They don't know which field they serve: an `InvalidEmail` of theirs has only the place within it,
such as ``[2]``, and `Email` puts the field's name before it.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from mailer.address import Address, Group, forbidden_in_headers
from mailer.errors import InvalidEmail
from mailer.job import Priority
from mailer.mime.build import calendar_method
from mailer.mime.errors import CannotBuild
from mailer.mime.headers import check_header
from mailer.retry import RetryPolicy

Mailboxes = str | Address | Group | Iterable[str | Address | Group]

# ftext of RFC 5322, section 3.6.8
_HEADER_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,76}")
_MESSAGE_ID = re.compile(r"[!-;=?A-~]{1,450}@[!-;=?A-~]{1,450}")
_UNSUBSCRIBE_URI = re.compile(r"(?:https?://|mailto:)[!-+\--;=?-~]{1,900}", re.IGNORECASE)
_MAX_HEADER_CHARACTERS = 10_000
_MAX_DEPTH = 32  # of metadata
# what the mailer writes itself, and the field to use instead
_OWN_HEADERS = MappingProxyType(
    {
        "from": "from_email",
        "to": "to",
        "cc": "cc",
        "bcc": "bcc",
        "reply-to": "reply_to",
        "subject": "subject",
        "date": "scheduled_at",
        "message-id": "nothing: every job gets its own",
        "mime-version": "nothing: the mailer writes it",
        "content-type": "text, html or attachments",
        "content-transfer-encoding": "text, html or attachments",
        "content-disposition": "attachments",
        "content-id": "attachments",
        "resent-bcc": "bcc",
    }
)


def mailboxes(value: Mailboxes) -> tuple[Address | Group, ...]:
    """Read one address or group, or several."""
    if isinstance(value, str | Address | Group):
        return (_entry(value),)
    if not isinstance(value, Iterable):
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
    return mailbox(value)


def optional_sender(value: str | Address | None) -> Address | None:
    """Read one address, or none."""
    return None if value is None else mailbox(value)


def header_text(value: str) -> str:
    """Accept a text that can stand in a header."""
    return header_value(value)


def header_value(value: Any, name: str = "") -> str:
    """Accept a text without anything that ends a header, or does so to some parser."""
    if not isinstance(value, str):
        raise InvalidEmail(name, f"is a text, not {type(value).__name__}")
    if len(value) > _MAX_HEADER_CHARACTERS:
        raise InvalidEmail(name, f"is over {_MAX_HEADER_CHARACTERS} characters long")
    if found := forbidden_in_headers(value):
        raise InvalidEmail(name, f"has the control character {found!a} in it")
    return value


def message_id(value: str | None) -> str | None:
    """Accept what names one message, with its angle brackets or without (RFC 5322, 3.6.4)."""
    return None if value is None else _message_id(value, "")


def message_ids(value: str | Iterable[str]) -> tuple[str, ...]:
    """Accept several, as a list or as they stand in a header."""
    if isinstance(value, str):
        value = header_value(value).split()
    if not isinstance(value, Iterable):
        raise InvalidEmail("", f"is a list of message ids, not {type(value).__name__}")
    return tuple(_message_id(item, f"[{i}]") for i, item in enumerate(value))


def _message_id(value: Any, name: str) -> str:
    bare = header_value(value, name).strip().removeprefix("<").removesuffix(">")
    if not _MESSAGE_ID.fullmatch(bare):
        raise InvalidEmail(name, "is a message id, such as <42.7f3a@example.com>")
    return f"<{bare}>"


def unsubscribe_uris(value: str | Iterable[str]) -> tuple[str, ...]:
    """Accept URIs for List-Unsubscribe (RFC 2369): https, http or mailto."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise InvalidEmail("", f"is a list of URIs, not {type(value).__name__}")
    uris = tuple(value)
    for i, uri in enumerate(uris):
        if not _UNSUBSCRIBE_URI.fullmatch(header_value(uri, f"[{i}]")):
            raise InvalidEmail(
                f"[{i}]",
                "is a URI of https, http or mailto in ASCII, without angle brackets, commas and "
                "spaces (percent-encode them)",
            )
    return uris


def auto_submitted(value: str | None) -> str | None:
    """Accept what RFC 3834, 5 knows, but for "no"."""
    return _one_of(value, "auto-generated", "auto-replied")


def importance(value: str | None) -> str | None:
    """Accept what RFC 2156, 5.3.6 knows."""
    return _one_of(value, "high", "normal", "low")


def _one_of(value: str | None, *words: str) -> str | None:
    if value is not None and value not in words:
        raise InvalidEmail("", f"is one of {', '.join(words)}")
    return value


def flag(value: bool) -> bool:
    """Accept True or False."""
    if not isinstance(value, bool):
        raise InvalidEmail("", f"is True or False, not {type(value).__name__}")
    return value


def calendar(value: str | None) -> str | None:
    """Accept an iCalendar object that says what it asks for (RFC 5545; RFC 6047, 2.4)."""
    if body(value) is None or value is None:
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
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEmail(
            "", f"can't be encoded: a lone surrogate at character {error.start}"
        ) from None
    return value


def headers(value: Mapping[str, str]) -> Mapping[str, str]:
    """Accept additional header fields."""
    if not isinstance(value, Mapping):
        raise InvalidEmail("", f"maps names to values; not {type(value).__name__}")
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidEmail(f"[{name!a}]", "is no header name (RFC 5322, 3.6.8)")
        if instead := _OWN_HEADERS.get(name.lower()):
            raise InvalidEmail(f"[{name!r}]", f"is not set here; use {instead}")
        header_value(text, f"[{name!r}]")
        try:
            check_header(name, text)
        except CannotBuild as error:
            raise InvalidEmail(f"[{name!r}]", str(error)) from None
    return MappingProxyType(dict(value))


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


def idempotency_key(value: str | None) -> str | None:
    """Accept any text that is not empty."""
    if body(value) == "":
        raise InvalidEmail("", "is empty; leave it out instead")
    return value


def retry_policy(value: RetryPolicy | None) -> RetryPolicy | None:
    """Accept a policy, which has checked itself."""
    if value is not None and not isinstance(value, RetryPolicy):
        raise InvalidEmail("", f"is a RetryPolicy, not {type(value).__name__}")
    return value


def _depth(value: Any) -> int:
    """Count how deep lists and mappings are nested; 0 for neither."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [x for item in level for x in (item.values() if isinstance(item, dict) else item)]
    return depth
