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
        fields: its Content-* fields, the transfer encoding among them, each with its CRLF.
        body: the encoded content.
    """

    fields: str
    body: Encoded


class Multipart(msgspec.Struct, frozen=True):
    """A part made of parts.

    Attributes:
        subtype: ``mixed``, ``alternative`` or ``related``.
        parts: in order; at most one of them is made of parts itself, for a boundary is told from
            others by how deep it stands.
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
            return root.fields, (content,)
        return root.fields, (content, b"\r\n")
    for attempt in count():
        seal = sha256(f"{seed}{attempt}".encode()).hexdigest()[:32]
        pieces: list[Segment] = []
        if _add_content(pieces, root, 0, seal):
            break
    pieces.append(b"\r\n")
    return _multipart_fields(root, 0, seal), pieces


def _add_content(pieces: list[Segment], part: Multipart, depth: int, seal: str) -> bool:
    """Write the content of a multipart, between boundaries that no part holds (RFC 2046, 5.1.1).

    Behind ``=_`` the seal can't occur in quoted-printable nor in base64. A part that stands as it
    was written could be a message of ours, so it is searched.

    Returns:
        Whether that seal is in none of them; it takes another one otherwise.
    """
    boundary, mark = _boundary(depth, seal), seal.encode()
    delimiter = f"--{boundary}\r\n"
    for child in part.parts:
        if isinstance(child, Multipart):
            fields = _multipart_fields(child, depth + 1, seal)
            pieces.append(f"{delimiter}{fields}\r\n".encode("ascii"))
            if not _add_content(pieces, child, depth + 1, seal):
                return False
        else:
            body = child.body
            content = body.content
            if body.is_literal and isinstance(content, bytes) and content.rfind(mark) >= 0:
                return False
            pieces.append(f"{delimiter}{child.fields}\r\n".encode("ascii"))
            pieces.append(content)
        delimiter = f"\r\n--{boundary}\r\n"
    pieces.append(f"\r\n--{boundary}--".encode("ascii"))
    return True


def _boundary(depth: int, seal: str) -> str:
    # all are equally long: to some parsers one that begins like another is that other
    return f"=_{depth:02}_{seal}"


def _multipart_fields(part: Multipart, depth: int, seal: str) -> str:
    return (
        f"Content-Type: multipart/{part.subtype}{part.parameters};\r\n"
        f' boundary="{_boundary(depth, seal)}"\r\n'
    )
