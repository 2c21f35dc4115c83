"""Address lists in headers (RFC 5322, 3.4; RFC 6532 for UTF-8)."""

import re
from collections.abc import Iterable

from mailer.address import Address, Group
from mailer.mime.errors import NeedsSmtpUtf8
from mailer.mime.folding import FOLD_AT, fold
from mailer.mime.words import MAX_WORD, encoded_words

# A name of plain words. None is so long that it could not share a line with a space.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]|[^\x00-\xa0\s]){1,70}"
_ATOMS = re.compile(rf"{_ATOM}(?: {_ATOM})*")
# A name that quotes can hold. Parsers differ on what runs of spaces in quotes mean: such names,
# and those too long for a line, are encoded instead.
_QUOTABLE = re.compile(r"(?!.*  )(?! )[^\x00-\x1f\x7f-\xa0]{1,60}(?<! )")


def address_field(name: str, entries: Iterable[Address | Group], *, utf8: bool = False) -> str:
    """Write one field, such as To; an address that fits into a line stays whole.

    Raises:
        NeedsSmtpUtf8: if a local part is not ASCII and ``utf8`` was not asked for.
    """
    tokens: list[str] = []
    room = FOLD_AT - len(name) - 2
    for entry in entries:
        if tokens:
            tokens[-1] += ","
        if isinstance(entry, Group):
            tokens.extend(_group(entry, room, utf8=utf8))
        else:
            tokens.extend(_mailbox(entry, room, utf8=utf8))
        room = MAX_WORD
    if tokens:
        tokens[0] = tokens[0][1:]
    return fold(name, tokens)


def _group(group: Group, room: int, *, utf8: bool) -> list[str]:
    """Write ``name: mailbox, mailbox;`` in tokens, each with the space before it."""
    tokens = [f" {word}" for word in _phrase(group.name, room, utf8=utf8)]
    # nothing may touch an encoded word (RFC 2047, 5 (3))
    tokens[-1] += " :" if tokens[-1].endswith("?=") else ":"
    for i, member in enumerate(group.members):
        if i:
            tokens[-1] += ","
        tokens.extend(_mailbox(member, MAX_WORD, utf8=utf8))
    tokens[-1] += ";"
    return tokens


def _mailbox(address: Address, room: int, *, utf8: bool) -> list[str]:
    """Write one address, in tokens each with the space before it; one, where that fits in a line.

    Args:
        address: the mailbox.
        room: how long the first word may be, if it is encoded.
        utf8: write UTF-8 as it is.
    """
    email = address.email
    if not (utf8 or email.isascii()):
        if address.needs_smtputf8:
            raise NeedsSmtpUtf8("an address needs a relay that offers SMTPUTF8 (RFC 6531)")
        email = address.wire
    if not address.name:
        return [f" {email}"]
    words = [*_phrase(address.name, room, utf8=utf8), f"<{email}>"]
    whole = " ".join(words)
    return [f" {whole}"] if len(whole) < room else [f" {word}" for word in words]


def _phrase(name: str, room: int, *, utf8: bool) -> list[str]:
    """Write a display name as atoms, else quoted, else as encoded words."""
    # what looks like an encoded word would be decoded, by many even within quotes
    if (utf8 or name.isascii()) and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name.split(" ")
        if _QUOTABLE.fullmatch(name):
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            return [f'"{escaped}"']
    return encoded_words(name, room)
