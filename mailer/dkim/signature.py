"""DKIM: a domain answers for a message by a signature in its header (RFC 6376).

Relaxed canonicalisation throughout: relays that touch white space break nothing.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from mailer.dkim.keys import DkimKey
from mailer.mime.folding import fold, split

# Signed once more than they occur, so that nobody can add another (RFC 6376, 5.4.2 and 8.15)
_NEVER_MORE = (
    *(b"from", b"sender", b"reply-to", b"to", b"cc", b"subject", b"date", b"message-id"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
)
# Signed as often as they occur. RFC 6376, 5.4.1 recommends those that tell what the message is
# and answers; RFC 8058, 4 demands both fields of one-click unsubscribing. The body's meaning hangs
# on the Content-* fields, and Gmail counts complaints by the signed Feedback-ID.
_IF_PRESENT = (
    *(b"in-reply-to", b"references", b"auto-submitted", b"feedback-id"),
    *(b"content-id", b"content-description"),
    *(b"list-id", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe"),
    *(b"list-help", b"list-post", b"list-owner", b"list-archive"),
)

# what leaves room on a line for a tag's name
_NAMES = re.compile(r".{1,70}(?::|\Z)")
_DIGITS = re.compile(r".{1,72}")


class BodyHash:
    """The SHA-256 of a body in the relaxed form, which comes in any pieces (RFC 6376, 3.4.4)."""

    __slots__ = ("_empty_lines", "_hash", "_is_empty", "_rest")

    def __init__(self) -> None:
        self._hash = sha256()
        self._is_empty = True
        # read and not hashed yet: line ends, that count only if more text follows, ...
        self._empty_lines = 0
        # ... then a space and a CR, either of which depends on what is next
        self._rest = b""

    def update(self, chunk: bytes) -> None:
        """Add what follows, cut anywhere; lines end with CRLF."""
        text = _relaxed(self._rest + chunk if self._rest else chunk)
        end = len(text) - text.endswith(b"\r")
        end -= text.endswith(b" ", 0, end)
        self._rest = text[end:]
        lines = 0
        while text.endswith(b"\r\n", 0, end):
            end -= 2
            lines += 1
        if end:
            if self._empty_lines:
                self._hash.update(b"\r\n" * self._empty_lines)
                self._empty_lines = 0
            self._hash.update(memoryview(text)[:end])
            self._is_empty = False
        self._empty_lines += lines

    def digest(self) -> bytes:
        """End the body, and its last line where that is open; nothing can be added behind."""
        self.update(b"\r\n")  # one empty line more at the end makes no difference
        whole = self._hash.copy()
        if not self._is_empty:
            whole.update(b"\r\n")
        return whole.digest()


def signature_fields(
    header: bytes, body_hash: bytes, keys: Sequence[DkimKey], seconds: int
) -> bytes:
    """Sign a message: one DKIM-Signature field by each key, to be put before the header.

    The same bytes for the same arguments.

    Args:
        header: all of it, as it goes over the wire, with or without the empty line at its end.
        body_hash: the digest of `BodyHash`.
        keys: that sign, in the fields' order.
        seconds: the Unix time of signing (t=).
    """
    present = relaxed_fields(header)
    names, lines = [], []
    for name in _NEVER_MORE + _IF_PRESENT:
        same = present.get(name, [])
        lines += same[::-1]  # from the last one up (RFC 6376, 5.4.2)
        names += [name] * (len(same) + (name in _NEVER_MORE))
    hashed = sha256(b"".join(lines))
    rows = " ".join(_NAMES.findall(b":".join(names).decode("ascii")))
    rest = f"t={seconds}; h={rows}; bh={_base64(body_hash)}; b="
    fields = []
    for key in keys:
        unsigned = (
            f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain}; s={key.selector}; {rest}"
        )
        both = hashed.copy()
        # its relaxed form: folding only adds line ends, before spaces that are here already
        both.update(f"dkim-signature:{unsigned}".encode("ascii"))
        signature = " ".join(_DIGITS.findall(_base64(key.sign(both.digest()))))
        fields.append(fold("DKIM-Signature", split(unsigned + signature)))
    return "".join(fields).encode("ascii")


def relaxed_fields(header: bytes) -> dict[bytes, list[bytes]]:
    """Bring each field into the relaxed form (RFC 6376, 3.4.2), with its CRLF.

    Returns:
        those of each name, in their order, by the name in lower-case.
    """
    unfolded = _relaxed(header.replace(b"\t", b" ").replace(b"\r\n ", b" "))
    fields: dict[bytes, list[bytes]] = {}
    for line in unfolded.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            name = name.rstrip(b" ").lower()
            fields.setdefault(name, []).append(b"%b:%b\r\n" % (name, value.strip(b" ")))
    return fields


def _relaxed(text: bytes) -> bytes:
    """Make one space of each run of spaces and tabs, and none at a line's end.

    Each search is one pass in C, and base64 takes no more than two.
    """
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    if b" " in text:
        while b"  " in text:  # runs get half as long each time
            text = text.replace(b"  ", b" ")
        text = text.replace(b" \r\n", b"\r\n")
    return text


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
