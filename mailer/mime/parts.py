"""The tree of a message's parts, and its bytes (RFC 2046)."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import TypeAlias

import msgspec

from mailer.mime.bodies import Encoded
from mailer.mime.draft import Segment


class Leaf(msgspec.Struct, frozen=True):
    """A part with content.

    Attributes:
        fields: its Content-* fields, each with its CRLF.
        body: the encoded content.
    """

    fields: str
    body: Encoded


class Multipart(msgspec.Struct, frozen=True):
    """A part made of parts.

    Attributes:
        subtype: ``mixed``, ``alternative`` or ``related``.
        parts: in order; at most one of them is made of parts itself.
        parameters: what the Content-Type says besides the boundary, each with ``; `` before it.
    """

    subtype: str
    parts: "tuple[Part, ...]"
    parameters: str = ""


Part: TypeAlias = Leaf | Multipart


def serialize(root: Part, seed: str) -> tuple[str, Sequence[Segment]]:
    """Write the tree: the root's fields, and its content, which is empty or ends with CRLF.

    Args:
        root: the outermost part.
        seed: what the boundaries are made of: the same for each attempt to send a message.
    """
    if isinstance(root, Leaf):
        content = root.body.content
        if isinstance(content, bytes) and (not content or content.endswith(b"\r\n")):
            return _fields(root), (content,)
        return _fields(root), (content, b"\r\n")
    seal = _seal(root, seed)
    pieces: list[Segment] = []
    _add_content(root, 0, seal, pieces)
    pieces.append(b"\r\n")
    return _multipart_fields(root, 0, seal), pieces


def _add_content(part: Multipart, depth: int, seal: str, pieces: list[Segment]) -> None:
    boundary = _boundary(depth, seal)
    delimiter = f"--{boundary}\r\n"
    for child in part.parts:
        if isinstance(child, Leaf):
            pieces.append(f"{delimiter}{_fields(child)}\r\n".encode("ascii"))
            pieces.append(child.body.content)
        else:
            fields = _multipart_fields(child, depth + 1, seal)
            pieces.append(f"{delimiter}{fields}\r\n".encode("ascii"))
            _add_content(child, depth + 1, seal, pieces)
        delimiter = f"\r\n--{boundary}\r\n"
    pieces.append(f"\r\n--{boundary}--".encode("ascii"))


def _boundary(depth: int, seal: str) -> str:
    # all are equally long: to some parsers one that begins like another is that other
    return f"=_{depth:02}_{seal}"


def _fields(leaf: Leaf) -> str:
    return f"{leaf.fields}Content-Transfer-Encoding: {leaf.body.encoding}\r\n"


def _multipart_fields(part: Multipart, depth: int, seal: str) -> str:
    return (
        f"Content-Type: multipart/{part.subtype}{part.parameters};\r\n"
        f' boundary="{_boundary(depth, seal)}"\r\n'
    )


def _seal(root: Multipart, seed: str) -> str:
    """Derive what all boundaries hold, and no part (RFC 2046, 5.1.1).

    Behind ``=_`` it can't occur in quoted-printable nor in base64. A part that stands as it was
    written could be a message of ours, so it is searched.
    """
    literal = _literals(root)
    for attempt in count():
        seal = sha256(f"{seed}{attempt}".encode()).hexdigest()[:32]
        mark = seal.encode("ascii")
        if not [content for content in literal if content.rfind(mark) >= 0]:
            break
    return seal


def _literals(part: Multipart) -> list[bytes]:
    """List the contents that stand as they were written, and so could hold any line."""
    found: list[bytes] = []
    for child in part.parts:
        if isinstance(child, Multipart):
            found += _literals(child)
        elif child.body.is_literal and isinstance(content := child.body.content, bytes):
            found.append(content)
    return found
