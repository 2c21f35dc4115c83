"""The tree of a message's parts, and its bytes (RFC 2046)."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import NamedTuple, TypeAlias

from mailer.mime.bodies import Encoded
from mailer.mime.draft import Segment


class Leaf(NamedTuple):
    """A part with content.

    Attributes:
        fields: its Content-* fields, each with its CRLF.
        body: the encoded content.
    """

    fields: str
    body: Encoded


class Multipart(NamedTuple):
    """A part made of parts.

    Attributes:
        subtype: ``mixed``, ``alternative`` or ``related``.
        parts: in order.
        parameters: what the Content-Type says besides the boundary, each with ``; `` before it.
    """

    subtype: str
    parts: "tuple[Part, ...]"
    parameters: str = ""


Part: TypeAlias = Leaf | Multipart


def serialize(root: Part, seed: str) -> tuple[str, tuple[Segment, ...]]:
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
    # all boundaries are equally long: to some parsers one that begins like another is that other
    seal = _seal(root, seed)
    boundaries = (f"=_{number:02}_{seal}" for number in count())
    boundary = next(boundaries)
    pieces = (*_content(root, boundary, boundaries), b"\r\n")
    return _multipart_fields(root, boundary), pieces


def _content(part: Multipart, boundary: str, boundaries: Iterator[str]) -> Iterator[Segment]:
    delimiter = f"--{boundary}\r\n"
    end = ""  # of the part before
    for child in part.parts:
        if isinstance(child, Leaf):
            yield f"{end}{delimiter}{_fields(child)}\r\n".encode("ascii")
            yield child.body.content
        else:
            inner = next(boundaries)
            yield f"{end}{delimiter}{_multipart_fields(child, inner)}\r\n".encode("ascii")
            yield from _content(child, inner, boundaries)
        end = "\r\n"
    yield f"\r\n--{boundary}--".encode("ascii")


def _fields(leaf: Leaf) -> str:
    return f"{leaf.fields}Content-Transfer-Encoding: {leaf.body.encoding}\r\n"


def _multipart_fields(part: Multipart, boundary: str) -> str:
    return f'Content-Type: multipart/{part.subtype}{part.parameters};\r\n boundary="{boundary}"\r\n'


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


def _literals(part: Part) -> list[bytes]:
    """List the contents that stand as they were written, and so could hold any line."""
    if isinstance(part, Multipart):
        return [content for child in part.parts for content in _literals(child)]
    content = part.body.content
    return [content] if part.body.is_literal and isinstance(content, bytes) else []
