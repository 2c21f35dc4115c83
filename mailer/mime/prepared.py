"""Messages that another library has built: completed, and made fit for relays of seven bits."""

import re
from email import message_from_bytes, policy
from email.message import Message as LibraryMessage
from typing import Any

from mailer.message import Prepared
from mailer.mime.bodies import encode_base64, encode_lines
from mailer.mime.draft import Draft, Segment
from mailer.mime.errors import CannotBuild
from mailer.mime.headers import date

_DATE = re.compile(r"^date[ \t]*:", re.IGNORECASE | re.MULTILINE)
_SIGNED = re.compile(
    r"^dkim-signature[ \t]*:"
    r"|^content-type[ \t]*:\s*(?:multipart/signed|application/(?:x-)?pkcs7-mime)",
    re.IGNORECASE | re.MULTILINE,
)
_ENCODING = re.compile(
    r"^content-transfer-encoding[ \t]*:(?:[^\r]|\r\n[ \t])*\r\n", re.IGNORECASE | re.MULTILINE
)
# what may hold parts encoded anew: no other message/… may (RFC 2046, 5.2), nor what is signed
_CHANGEABLE = re.compile(r"multipart/(?!signed\Z)|message/(?:rfc822|global)\Z")
# the fields of parts stay as they are, whatever is in them
_AS_IT_IS = policy.compat32.clone(cte_type="8bit", linesep="\r\n", max_line_length=0)


def complete(prepared: Prepared, body: Segment, seconds: int) -> Draft:
    """Put what is missing before a message that was built elsewhere, and leave the rest as it is.

    Args:
        seconds: Unix time, for the Date where it has none (RFC 5322, 3.6.1).
    """
    header = prepared.header
    if not _DATE.search(header):
        header = date(seconds) + header
    return Draft(header.encode(), (body,))


def to_seven_bit(draft: Draft) -> Draft:
    """Encode the parts of a prepared message for a relay without 8BITMIME (RFC 6152, 3).

    Its own header stays as it is, but for the Content-Transfer-Encoding.

    Raises:
        CannotBuild: if it is signed, for the signature would not fit any more; or has other than
            ASCII where nothing may encode it.
    """
    header = draft.header.decode()
    if _SIGNED.search(header):
        raise CannotBuild("a signed message in 8 bits needs a relay that offers 8BITMIME")
    try:
        message = message_from_bytes(bytes(draft), policy=_AS_IT_IS)
        _encode_parts(message)
        body = message.as_bytes(policy=_AS_IT_IS).partition(b"\r\n\r\n")[2]
    except RecursionError:
        raise CannotBuild("a message in 8 bits is nested too deeply to be encoded") from None
    if not body.isascii():
        raise CannotBuild("a message in 8 bits outside of its texts needs 8BITMIME")
    header = _ENCODING.sub("", header)
    if encoding := message.get("Content-Transfer-Encoding"):
        header += f"Content-Transfer-Encoding: {encoding}\r\n"
    return Draft(header.encode(), (body if body.endswith(b"\r\n") else body + b"\r\n",))


def _encode_parts(part: LibraryMessage) -> bool:
    """Encode the leaves that have 8 bits, and label the others; tell whether there were any."""
    payload: Any = part.get_payload()
    if isinstance(payload, list):
        eight_bit = max(map(_encode_parts, payload), default=False)  # of all, not up to the first
        if eight_bit and not _CHANGEABLE.match(part.get_content_type()):
            raise CannotBuild("a signed or partial part in 8 bits needs 8BITMIME")
    else:
        eight_bit = not str(payload).isascii()
        if eight_bit:
            _encode_leaf(part)
    if str(part.get("Content-Transfer-Encoding")).strip().lower() in {"8bit", "binary"}:
        part.replace_header("Content-Transfer-Encoding", "7bit")
    return eight_bit


def _encode_leaf(part: LibraryMessage) -> None:
    if part.get_content_maintype() in {"multipart", "message"}:
        # a damaged one, or one that no encoding is allowed for (RFC 2045, 6.4)
        raise CannotBuild(f"a part of {part.get_content_maintype()} in 8 bits needs 8BITMIME")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)  # noqa: S101 - as it is for anything but a list
    if part.get_content_maintype() == "text":
        encoding, encoded = encode_lines(content.replace(b"\r\n", b"\n"))
    else:
        encoding, encoded = "base64", encode_base64(content)
    part.set_payload(encoded.decode("ascii"))
    del part["Content-Transfer-Encoding"]
    part["Content-Transfer-Encoding"] = encoding
