"""Header fields: encoded, folded, and never more than one field each (RFC 5322, 2.2)."""

import re
from functools import lru_cache
from time import gmtime

from mailer.address import FORBIDDEN_IN_HEADERS, Address
from mailer.errors import InvalidEmail
from mailer.mime.addresses import address_field
from mailer.mime.errors import CannotBuild
from mailer.mime.folding import FOLD_AT, MAX_LINE, fold, split
from mailer.mime.syntaxes import SYNTAXES, Syntax
from mailer.mime.words import MIN_WORD, encoded_words

_NAME = re.compile(r"[!-9;-~]{1,76}")
_ENCODING = re.compile(r"\?[bBqQ]\?")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def custom(name: str, value: str, *, utf8: bool = False) -> str:
    """Write a field that the application named.

    Raises:
        CannotBuild: if the name is none, or is reserved, or nothing may encode the value.
    """
    if not _NAME.fullmatch(name):
        raise CannotBuild(f"{name[:80]!a} is no header name (RFC 5322, 3.6.8)")
    syntax = SYNTAXES.get(name.lower())
    if syntax is Syntax.OURS:
        raise CannotBuild(f"the header {name} is written by the mailer itself")
    if syntax is Syntax.MAILBOX and not value.isascii():
        return _mailbox(name, value, utf8=utf8)
    if syntax is not None:
        return verbatim(name, value)
    return unstructured(name, value, utf8=utf8)


def check_header(name: str, value: str) -> None:
    """Say before anything is stored that a custom header can't be written.

    Raises:
        CannotBuild: with the reason.
    """
    custom(name, value, utf8=True)


def needs_smtputf8(name: str, value: str) -> bool:
    """Whether a field that `custom` can write holds an address with a UTF-8 local part."""
    if value.isascii() or SYNTAXES.get(name.lower()) is not Syntax.MAILBOX:
        return False
    return Address.parse(value).needs_smtputf8


def unstructured(name: str, value: str, *, utf8: bool = False) -> str:
    """Write text that a person reads: a Subject, or a field that no standard knows.

    Every space of it survives; what ASCII can't hold becomes encoded words (RFC 2047, 5 (1)),
    and so does what would be taken for an encoded word, or lost at either end of the field.
    """
    if _is_plain(name, value):
        return f"{name}: {value}\r\n"
    _refuse_controls(name, value)
    tokens = split(value)
    if hard := _to_be_encoded(value, tokens, MAX_LINE - len(name) - 2, utf8=utf8):
        _encode(tokens, hard[0], hard[-1] + 1, FOLD_AT - len(name) - 2)
    return fold(name, tokens)


def verbatim(name: str, value: str) -> str:
    """Write a field of a fixed syntax as it stands, folded at its spaces only.

    Raises:
        CannotBuild: if it is not ASCII, or has no space where a line must end.
    """
    if _is_plain(name, value):
        return f"{name}: {value}\r\n"
    _refuse_controls(name, value)
    if not value.isascii():
        raise CannotBuild(f"the header {name} can't hold {_first_other(value)!a}: it is ASCII only")
    tokens = split(value.replace("\t", " ").strip(" "))
    if any(len(token) > MAX_LINE - len(name) - 2 for token in tokens):
        raise CannotBuild(f"the header {name} has a word too long for a line of {MAX_LINE}")
    return fold(name, tokens)


@lru_cache(maxsize=64)  # a batch was mostly enqueued within a few seconds
def date(seconds: int) -> str:
    """Write the Date field for a Unix time (RFC 5322, 3.3), whatever the locale."""
    t = gmtime(seconds)
    return (
        f"Date: {_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000\r\n"
    )


def _is_plain(name: str, value: str) -> bool:
    """Whether a value fits on one line as it is, which most do; no control character does."""
    return (
        0 < len(value) <= FOLD_AT - 2 - len(name)
        and value.isascii()
        and value.isprintable()
        and "=" not in value  # so that it holds no encoded word
        and value[0] != " "
        and value[-1] != " "
    )


def _mailbox(name: str, value: str, *, utf8: bool) -> str:
    """Write one address, of which an encoded word may hold the display name only."""
    _refuse_controls(name, value)
    try:
        address = Address.parse(value)
    except InvalidEmail:  # whose reason quotes the address
        raise CannotBuild(f"the header {name} does not hold one address") from None
    return address_field(name, (address,), utf8=utf8)


def _refuse_controls(name: str, value: str) -> None:
    """Keep one field from becoming two, whatever let the value come this far."""
    if not value.isprintable() and (match := FORBIDDEN_IN_HEADERS.search(value)):
        raise CannotBuild(f"the header {name} has the control character {match[0]!a} in it")


def _to_be_encoded(value: str, tokens: list[str], room: int, *, utf8: bool) -> list[int]:
    """Find the places of the tokens that can't stand as they are, in order.

    Those between go with them: between words encoded apart, spaces would vanish.
    """
    looks_encoded = "=?" in value and _may_look_encoded(value)
    is_long = len(value) * 4 > room
    if looks_encoded or is_long or "\t" in value:
        hard = [
            i
            for i, token in enumerate(tokens)
            if not (utf8 or token.isascii())
            or "\t" in token  # unfolding would leave it, much software makes it a space
            or (looks_encoded and ("=?" in token or "?=" in token))
            or (is_long and len(token.encode()) > room)
        ]
    else:
        hard = [] if utf8 else [i for i, token in enumerate(tokens) if not token.isascii()]
    if value[:1] == " ":
        hard = [0, *hard]
    if value[-1:] == " ":
        # with the word before them: the first space of a run is never encoded, see below
        last = len(tokens) - 1
        hard = [min([*hard, max(last - 1, 0)]), last]
    return hard


def _may_look_encoded(value: str) -> bool:
    """Whether some parser might find an encoded word in a value that has ``=?`` in it.

    One pattern for a whole encoded word would take cubic time on hostile text. And half of what
    looks like one could find its other half in a real one, which other than ASCII text becomes.
    """
    return not value.isascii() or ("?=" in value and _ENCODING.search(value) is not None)


def _encode(tokens: list[str], start: int, end: int, room: int) -> None:
    """Put encoded words in the place of ``tokens[start:end]``, in one run.

    Args:
        tokens: each begins with the spaces that part it from the one before.
        start: the first token to encode.
        end: behind the last one.
        room: how much of the first line is left for the first token.
    """
    run = "".join(tokens[start:end])
    if start:
        # the first space parts the run from the word before; only what exceeds it needs encoding
        tokens[start:end] = [f" {word}" for word in encoded_words(run[1:])]
    else:
        tokens[:end] = [f" {word}" for word in encoded_words(run, max(room, MIN_WORD))]
        tokens[0] = tokens[0][1:]


def _first_other(value: str) -> str:
    """Find the first character that is not ASCII."""
    return next(character for character in value if not character.isascii())
