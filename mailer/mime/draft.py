"""A message as it will go over the wire, of which large contents are yet to be read."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from mailer.message import Source

_LARGE = 64 * 1024  # bytes from which on copying a piece costs more than writing it by itself


class Streamed(msgspec.Struct, frozen=True):
    """Content that is read, and encoded where it must be, only while it is sent.

    Attributes:
        source: where it lies.
        length: how many bytes it is on the wire.
        base64: whether it is encoded; else it goes as it is, in lines with CRLF.
    """

    source: Source
    length: int
    base64: bool = True


Segment: TypeAlias = bytes | Streamed


class Draft(msgspec.Struct, frozen=True):
    """A message: header and body, which an empty line will part.

    Attributes:
        header: its fields; each line ends with CRLF.
        body: in pieces that together are empty or end with CRLF.
    """

    header: bytes
    body: Sequence[Segment]

    def __bytes__(self) -> bytes:
        """All of the message, where nothing of it is streamed."""
        whole = self.segments()
        if streamed := [part for part in whole if isinstance(part, Streamed)]:
            raise TypeError(f"{len(streamed)} contents of the message are yet to be read")
        return b"".join(part for part in whole if isinstance(part, bytes))

    def segments(self) -> list[Segment]:
        """Return all of the message; small pieces are joined, and large ones are not copied.

        Dots are not doubled: that is SMTP's business (RFC 5321, 4.5.2). Each segment begins where
        a line does or with a line end, so that doubling them can go segment by segment.
        """
        segments: list[Segment] = []
        small: list[bytes] = [self.header, b"\r\n"]
        for piece in self.body:
            if type(piece) is bytes and len(piece) < _LARGE:
                small.append(piece)
                continue
            if small:
                segments.append(b"".join(small))
                small = []
            segments.append(piece)
        if small:
            segments.append(b"".join(small))
        return segments
