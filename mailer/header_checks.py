"""What each field of an email that becomes a header accepts; see ``checks``."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from mailer.address import forbidden_in_headers
from mailer.errors import InvalidEmail
from mailer.mime.errors import CannotBuild
from mailer.mime.headers import check_header

# ftext of RFC 5322, section 3.6.8
_HEADER_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,76}")
_MESSAGE_ID = re.compile(r"[!-;=?A-~]{1,450}@[!-;=?A-~]{1,450}")
_UNSUBSCRIBE_URI = re.compile(r"(?:https?://|mailto:)[!-+\--;=?-~]{1,900}", re.IGNORECASE)
_MAX_HEADER_CHARACTERS = 10_000
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


def exact(value: Any) -> Any:
    """Make a plain text of what a template engine marks as safe: it can't be stored as it is."""
    return str.__str__(value) if type(value) is not str and isinstance(value, str) else value


def header_value(value: Any, name: str = "") -> str:
    """Accept a text without anything that ends a header, or does so to some parser."""
    if not isinstance(value, str):
        raise InvalidEmail(name, f"is a text, not {type(value).__name__}")
    if len(value) > _MAX_HEADER_CHARACTERS:
        raise InvalidEmail(name, f"is over {_MAX_HEADER_CHARACTERS} characters long")
    if found := forbidden_in_headers(value):
        raise InvalidEmail(name, f"has the control character {found!a} in it")
    return value if type(value) is str else exact(value)


def headers(value: Mapping[str, str]) -> Mapping[str, str]:
    """Accept additional header fields."""
    if not isinstance(value, Mapping):
        raise InvalidEmail("", f"maps names to values; not {type(value).__name__}")
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise InvalidEmail(f"[{name!a}]", "is no header name (RFC 5322, 3.6.8)")
        header_value(name, f"[{name!a}]")
        if instead := _OWN_HEADERS.get(name.lower()):
            raise InvalidEmail(f"[{name!r}]", f"is not set here; use {instead}")
        header_value(text, f"[{name!r}]")
        try:
            check_header(name, text)
        except CannotBuild as error:
            raise InvalidEmail(f"[{name!r}]", str(error)) from None
    return MappingProxyType({exact(name): exact(text) for name, text in value.items()})


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
