"""Address lists in headers (RFC 5322, 3.4; RFC 6532 for UTF-8)."""

import re
from collections.abc import Iterable

from mailer.address import Address
from mailer.mime.errors import NeedsSmtpUtf8
from mailer.mime.folding import FOLD_AT, fold
from mailer.mime.words import encoded_words

# A name of plain words. None is so long that it could not share a line with a space.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]|[^\x00-\xa0\s]){1,70}"
_ATOMS = re.compile(rf"{_ATOM}(?: {_ATOM})*")
# A name that quotes can hold. Parsers differ on what runs of spaces in quotes mean: such names,
# and those too long for a line, are encoded instead.
_QUOTABLE = re.compile(r"(?!.*  )(?! )[^\x00-\x1f\x7f-\xa0]{1,60}(?<! )")
# An address list of one field. The longest field name before it is Disposition-Notification-To.
_FIRST_WORD = FOLD_AT - len("Disposition-Notification-To: ")


def address_field(name: str, addresses: Iterable[Address], *, utf8: bool = False) -> str:
    """Write one field, such as To.

    Raises:
        NeedsSmtpUtf8: if a local part is not ASCII and ``utf8`` was not asked for.
    """
    return fold(name, address_tokens(addresses, utf8=utf8))


def address_tokens(addresses: Iterable[Address], *, utf8: bool) -> list[str]:
    """Split a list of addresses into pieces between which a line may end.

    An address that fits into a line stays whole. All pieces but the first begin with a space.
    """
    tokens: list[str] = []
    for address in addresses:
        if tokens:
            tokens[-1] += ","
        words = _words(address, utf8=utf8)
        whole = " ".join(words)
        pieces = [whole] if len(whole) < FOLD_AT - 1 else words
        tokens.extend(f" {piece}" for piece in pieces)
    if tokens:
        tokens[0] = tokens[0][1:]
    return tokens


def _words(address: Address, *, utf8: bool) -> list[str]:
    """Write one address, in words that a space may part."""
    if address.needs_smtputf8 and not utf8:
        raise NeedsSmtpUtf8(f"{address.email!a} needs a relay that offers SMTPUTF8 (RFC 6531)")
    email = address.email if utf8 else address.wire
    if not address.name:
        return [email]
    return [*_phrase(address.name, utf8=utf8), f"<{email}>"]


def _phrase(name: str, *, utf8: bool) -> list[str]:
    """Write a display name as atoms, else quoted, else as encoded words."""
    # what looks like an encoded word would be decoded, by many even within quotes
    if (utf8 or name.isascii()) and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name.split(" ")
        if _QUOTABLE.fullmatch(name):
            escaped = name.replace("\\", "\\\\").replace('"', '\\"')
            return [f'"{escaped}"']
    return encoded_words(name, _FIRST_WORD)
