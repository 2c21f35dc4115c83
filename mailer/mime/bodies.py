"""Transfer encodings: how the content of one part crosses the wire (RFC 2045, 6)."""

import re
from binascii import b2a_base64, b2a_qp
from struct import Struct

import msgspec

from mailer.message import Source
from mailer.mime.draft import Segment, Streamed
from mailer.mime.errors import CannotBuild
from mailer.mime.folding import MAX_LINE

_PRINTABLE = bytes([0x09, 0x0A, *range(0x20, 0x7F)])
_LITERAL = _PRINTABLE + bytes(range(0x80, 0x100))
_QP_LITERAL = _PRINTABLE.replace(b"=", b"")

# base64 in lines of 76: one call cuts a block of them, small enough to stay in the CPU's cache
_LINES = Struct("76s" * 512)
_SOURCE_BLOCK = 57 * 512

_MOST_RECENT, _MAX_RECENT_CHARACTERS = 64, 64 * 1024
_recent: dict[int, tuple[str, bool, "Encoded"]] = {}

# a pattern that begins with one character is searched faster than several texts
_UNSAFE = re.compile(rb"\n(?:(?<=[ \t]\n)|\.\n|From )")
_FROM_LINE = re.compile(rb"^From ", re.MULTILINE)
_LONG_QP_LINE = re.compile(rb"^.{77,}$", re.MULTILINE)


class Encoded(msgspec.Struct, frozen=True):
    """A part's content, with lines ended by CRLF.

    Attributes:
        encoding: the Content-Transfer-Encoding.
        content: as that encoding writes it, or will.
    """

    encoding: str
    content: Segment

    @property
    def is_literal(self) -> bool:
        """Whether the content stands as it was written, and so could hold any line."""
        return self.encoding in {"7bit", "8bit"}


def encode_text(text: str, *, eight_bit: bool) -> Encoded:
    """Encode a text, its line ends made CRLF, in the shortest way that keeps it intact.

    A text that was encoded a moment ago, as to all readers of a newsletter, is not encoded again.

    Raises:
        CannotBuild: if UTF-8 can't hold it (a lone surrogate).
    """
    # by the length, which is known, not by a hash, which would cost as much as it saves
    length = len(text)
    recent = _recent.get(length)
    if recent and recent[0] == text and recent[1] is eight_bit:
        return recent[2]
    encoded = _encoded_text(text, eight_bit=eight_bit)
    if length <= _MAX_RECENT_CHARACTERS:
        if len(_recent) >= _MOST_RECENT:
            _recent.clear()
        _recent[length] = (text, eight_bit, encoded)
    return encoded


def _encoded_text(text: str, *, eight_bit: bool) -> Encoded:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise CannotBuild(f"a lone surrogate at character {error.start} of a body") from None
    ascii_only = text.isascii()
    if (eight_bit or ascii_only) and _survives(raw):
        encoding = "7bit" if ascii_only else "8bit"
        return Encoded(encoding, raw.replace(b"\n", b"\r\n"))
    return Encoded(*encode_lines(raw))


def encode_attachment(content_type: str, data: bytes, *, eight_bit: bool) -> Encoded:
    """Encode any bytes as base64 (RFC 2045, 6.8), but a message as it is, where that can be.

    RFC 2046, 5.2.1 allows a message/… no other encoding than 7bit, 8bit and binary, so that what
    has NULs, bare CRs or too long lines has no correct form: in base64, and by another content
    type, it arrives unchanged, and mail programs still open an .eml.
    """
    if is_message(content_type):
        lines = data.replace(b"\r\n", b"\n")
        ascii_only = lines.isascii()
        fits = ascii_only or eight_bit
        if fits and b"\r" not in lines and b"\0" not in lines and not _has_long_line(lines):
            content = lines.replace(b"\n", b"\r\n")
            return Encoded("7bit" if ascii_only else "8bit", content)
    return Encoded("base64", encode_base64(data))


def stream_attachment(source: Source) -> Encoded:
    """Promise the base64 of content that is read only while it is sent."""
    return Encoded("base64", Streamed(source, base64_length(source.size)))


def is_message(content_type: str) -> bool:
    """Whether the content is itself a message, which wants to be seen before it is encoded."""
    return content_type.lower().startswith("message/")


def _survives(raw: bytes) -> bool:
    """Whether lines cross every relay and mailbox as they are.

    Relays may cut lines over 998 and strip white space at an end; mailboxes escape ``From ``
    (RFC 2049, 3); a lone dot ends the message for software that fails at transparency.
    """
    return not (
        raw.translate(None, _LITERAL)
        or _UNSAFE.search(raw)
        or raw.startswith((b"From ", b".\n"))
        or raw.endswith((b" ", b"\t", b"\n."))
        or raw == b"."
        or _has_long_line(raw)
    )


def _holds(raw: bytes, pattern: bytes) -> bool:
    # from the end, for which CPython takes a third of the time that `in` does
    return raw.rfind(pattern) >= 0


def _has_long_line(raw: bytes) -> bool:
    start, last = 0, len(raw) - MAX_LINE
    while start < last:
        start = raw.rfind(b"\n", start, start + MAX_LINE + 1) + 1
        if not start:
            return True
    return False


def encode_lines(raw: bytes) -> tuple[str, bytes]:
    """Encode as quoted-printable or base64, whichever is shorter; tell which it was.

    Args:
        raw: with LF for line ends.
    """
    length = len(raw) + raw.count(b"\n")
    in_base64 = base64_length(length)
    # without its soft line breaks, so that most of what base64 suits is not encoded twice
    if length + 2 * len(raw.translate(None, _QP_LITERAL)) <= in_base64:
        quoted = _quoted_printable(raw)
        if len(quoted) <= in_base64:
            return "quoted-printable", quoted
    return "base64", encode_base64(raw.replace(b"\n", b"\r\n"))


def _quoted_printable(raw: bytes) -> bytes:
    """Encode text lines (RFC 2045, 6.7), no line over 76, none ``From`` or a dot alone.

    Args:
        raw: with LF for line ends: `b2a_qp` derives the soft breaks' form from the first line
            end that it meets, and writes LF where there is none.
    """
    quoted = b2a_qp(raw, istext=True)
    grown = _holds(quoted, b"=20\n") or (b"\t" in raw and _holds(quoted, b"=09\n"))
    if _holds(quoted, b"From "):
        quoted, escaped = _FROM_LINE.subn(b"=46rom ", quoted)
        grown = grown or escaped > 0
    if grown:
        # b2a_qp counts a line before it encodes the space at its end: it may come out 78 long
        quoted = _LONG_QP_LINE.sub(_broken, quoted)
    return quoted.replace(b"\n", b"\r\n")


def _broken(line: re.Match[bytes]) -> bytes:
    """Break a line that is a few bytes too long, not within an escape."""
    text = line[0]
    at = 75
    if text[at - 1 : at] == b"=":
        at -= 1
    elif text[at - 2 : at - 1] == b"=":
        at -= 2
    return text[:at] + b"=\n" + text[at:]


def encode_base64(data: bytes) -> bytes:
    """Encode in lines of 76; the last one without its CRLF."""
    view = memoryview(data)
    whole = len(data) // _SOURCE_BLOCK * _SOURCE_BLOCK
    blocks = [
        b"\r\n".join(_LINES.unpack(b2a_base64(view[i : i + _SOURCE_BLOCK], newline=False)))
        for i in range(0, whole, _SOURCE_BLOCK)
    ]
    rest = b2a_base64(view[whole:], newline=False)
    blocks.extend(rest[i : i + 76] for i in range(0, len(rest), 76))
    return b"\r\n".join(blocks)


def base64_length(size: int) -> int:
    """Tell how long `encode_base64` makes ``size`` bytes."""
    length = (size + 2) // 3 * 4
    return length + max(length - 1, 0) // 76 * 2
