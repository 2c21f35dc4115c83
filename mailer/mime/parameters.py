"""Content-Type and Content-Disposition, and file names in them (RFC 2045, 5; 2183; 2231)."""

import re
from pathlib import PurePath
from unicodedata import combining, normalize
from urllib.parse import quote

from mailer.mime.folding import FOLD_AT, fold, split
from mailer.mime.words import cut

_NAME = r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]+"
_CONTENT_TYPE = re.compile(
    rf"{_NAME}/{_NAME}(?: *; *{_NAME}=(?:{_NAME}|\"[ !#-\[\]-~]*\"))*", re.ASCII
)
_MAX_CONTENT_TYPE = 900
_OPAQUE = "application/octet-stream"

# What every parser reads alike within quotes; the rest is encoded by RFC 2231
_PLAIN_FILENAME = re.compile(r"(?!.*  )(?! )(?!.*=\?)[ !#$&-\[\]-~]{1,56}(?<! )")
# What no file system takes amiss either
_NOT_SIMPLE = re.compile(r"[^A-Za-z0-9 ._+@()\[\]-]+")
# attr-char of RFC 2231, 7, besides the letters, digits and "_.-~" that `quote` leaves anyway
_ATTRIBUTE_CHARACTERS = "!#$&+^`{|}"


def content_type(given: str) -> str:
    """Return ``given`` if it is a content type that an attachment can have, else the opaque one.

    A multipart can't be one: base64, without which its bytes may change, is not allowed for it
    (RFC 2045, 6.4).
    """
    if (
        len(given) > _MAX_CONTENT_TYPE
        or not _CONTENT_TYPE.fullmatch(given)
        or given.lower().startswith("multipart/")
    ):
        return _OPAQUE
    return given


def content_type_field(value: str) -> str:
    """Write the Content-Type field."""
    return fold("Content-Type", split(value))


def disposition_field(kind: str, filename: str) -> str:
    """Write the Content-Disposition field (RFC 2183).

    A name that is not plain comes twice: as ``filename*``, and in ASCII for software that does
    not know RFC 2231. That order matters: Python's parser believes the first.
    """
    if not filename:
        return f"Content-Disposition: {kind}\r\n"
    if _PLAIN_FILENAME.fullmatch(filename):
        return fold("Content-Disposition", [f"{kind};", f' filename="{filename}"'])
    lines = [kind, *_extended(filename), f'filename="{_ascii_name(filename)}"']
    return "Content-Disposition: " + ";\r\n ".join(lines) + "\r\n"


def _extended(filename: str) -> list[str]:
    """Write ``filename*``, in numbered pieces if it exceeds a line (RFC 2231, 3 and 4)."""
    encoded = quote(filename, safe=_ATTRIBUTE_CHARACTERS)
    if len(" filename*=utf-8'';") + len(encoded) <= FOLD_AT:
        return [f"filename*=utf-8''{encoded}"]
    # the piece's number may grow to four digits: file names have no limit here
    room = FOLD_AT - len(" filename*9999*=;")
    pieces = cut(encoded, "%", room, room - len("utf-8''"))
    pieces[0] = "utf-8''" + pieces[0]
    return [f"filename*{i}*={piece}" for i, piece in enumerate(pieces)]


def _ascii_name(filename: str) -> str:
    """Come as near to a name as ASCII can, and keep its extension."""
    path = PurePath(filename)
    stem, suffix = (_NOT_SIMPLE.sub("_", _without_marks(part)) for part in (path.stem, path.suffix))
    stem = stem if stem.strip("_") else "attachment"
    return stem[:40] + suffix[:16]


def _without_marks(text: str) -> str:
    """Split accents off their letters, and drop them."""
    return "".join(character for character in normalize("NFKD", text) if not combining(character))
