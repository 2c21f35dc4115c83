"""The tree of a message's parts, and its bytes (RFC 2046)."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import count
from typing import NamedTuple, TypeAlias

from mailer.mime.bodies import Encoded


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


def serialize(root: Part, seed: str) -> Iterator[bytes]:
    """Yield the tree as bytes, which begin with the root's fields and end with CRLF.

    Args:
        root: the outermost part.
        seed: what the boundaries are made of: the same for each attempt to send a message.
    """
    if isinstance(root, Leaf):
        yield from _leaf(root)
        if root.body.content and not root.body.content.endswith(b"\r\n"):
            yield b"\r\n"
    else:
        yield from _multipart(root, _seal(root, seed), count())
        yield b"\r\n"


def _leaf(leaf: Leaf) -> Iterator[bytes]:
    yield f"{leaf.fields}Content-Transfer-Encoding: {leaf.body.encoding}\r\n\r\n".encode("ascii")
    yield leaf.body.content


def _multipart(part: Multipart, seal: str, numbers: Iterator[int]) -> Iterator[bytes]:
    # all boundaries are equally long: to some parsers one that begins like another is that other
    boundary = f"=_{next(numbers):02}_{seal}"
    yield (
        f"Content-Type: multipart/{part.subtype}{part.parameters};\r\n"
        f' boundary="{boundary}"\r\n\r\n'
    ).encode("ascii")
    delimiter = f"--{boundary}\r\n".encode("ascii")
    for child in part.parts:
        yield delimiter
        if isinstance(child, Leaf):
            yield from _leaf(child)
        else:
            yield from _multipart(child, seal, numbers)
        yield b"\r\n"
    yield f"--{boundary}--".encode("ascii")


def _seal(root: Multipart, seed: str) -> str:
    """Derive what all boundaries hold, and no part (RFC 2046, 5.1.1).

    Behind ``=_`` it can't occur in quoted-printable nor in base64. A part that stands as it was
    written could be a message of ours, so it is searched.
    """
    literal = [leaf.body.content for leaf in _leaves(root) if leaf.body.is_literal]
    for attempt in count():
        seal = sha256(f"{seed}{attempt}".encode()).hexdigest()[:32]
        if not any(seal.encode("ascii") in content for content in literal):
            break
    return seal


def _leaves(part: Part) -> Iterator[Leaf]:
    if isinstance(part, Leaf):
        yield part
    else:
        for child in part.parts:
            yield from _leaves(child)
