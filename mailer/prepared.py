"""Messages that another library has built, as `Email.from_message` takes them."""

import re
from collections import Counter
from collections.abc import Sequence
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.message import Message as LibraryMessage
from email.utils import getaddresses
from io import BytesIO
from typing import Any

import attrs

from mailer.address import FORBIDDEN_IN_HEADERS, Address, forbidden_in_headers
from mailer.errors import InvalidEmail

_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:((?:[^\r]|\r\n[ \t])*)\r\n")
_FOLD = re.compile(r"\r?\n([ \t])")
_EMPTY_GROUP = re.compile(r"(?:\A|(?<=[,;]))[^:;,<>@\"]*:[ \t]*;")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_MESSAGE_ID = re.compile(r"<[!-;=?A-~]+@[!-;=?A-~]+>")
_MAX_LINE = 998  # RFC 5322, 2.1.1
_MAX_HEADER = 256 * 1024
# RFC 5322, 3.6: at most one of each; two of these mean one thing to a filter, another to a reader
_ONCE = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to"}
    | {"references", "mime-version", "content-type", "content-transfer-encoding"}
)
# who gets it secretly, and what is written at delivery only (RFC 5321, 4.4)
_REMOVED = frozenset({"bcc", "resent-bcc", "return-path"})

_NO_LIST = "is no list of addresses with commas between them"

Field = tuple[str, str, str]  # its name, its value unfolded, and all of it as it stands


@attrs.frozen
class PreparedEmail:
    """A checked message in the form that goes over the wire.

    Attributes:
        message_id: its own, or None: then the job's is put before it.
        header: the fields without Bcc, each line with CRLF.
        eight_bit: the body has bytes above 127.
    """

    from_email: Address
    subject: str
    message_id: str | None
    header: str = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    eight_bit: bool


def read_prepared(
    message: LibraryMessage | bytes,
) -> tuple[PreparedEmail, dict[str, list[Address]]]:
    """Check a message, and tell whom its To, Cc and Bcc name.

    Raises:
        InvalidEmail: naming the header or the line.
    """
    wire = _with_crlf(serialized(message))
    header, _, body = wire.partition(b"\r\n\r\n")
    if wire.startswith(b"\r\n") or not header.strip():
        raise InvalidEmail("message", "has no header")
    header = header.removesuffix(b"\r\n") + b"\r\n"
    body = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    _check_lines(header, body)
    fields = _fields(header)
    named = Counter(name.lower() for name, _, _ in fields)
    for name in _ONCE & named.keys():
        if named[name] > 1:
            raise InvalidEmail(f"message[{name!r}]", f"is there {named[name]} times")
    values = {name.lower(): value for name, value, _ in fields}
    if not values.get("from", "").strip():
        raise InvalidEmail("message['from']", "is missing")
    kept = "".join(raw for name, _, raw in fields if name.lower() not in _REMOVED)
    prepared = PreparedEmail(
        from_email=_author(values["from"]),
        subject=_decoded(values.get("subject", "")),
        message_id=_own_id(values),
        header=kept if "mime-version" in values else kept + "MIME-Version: 1.0\r\n",
        body=body,
        eight_bit=not body.isascii(),
    )
    listed = {name: _listed(fields, name) for name in ("to", "cc", "bcc")}
    return prepared, {name: mailboxes for name, mailboxes in listed.items() if mailboxes}


def serialized(message: LibraryMessage | bytes) -> bytes:
    """Write a message as its library would; bytes as they are.

    Raises:
        InvalidEmail: naming the header that can't be written safely.
    """
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    if not isinstance(message, LibraryMessage):
        raise InvalidEmail(
            "message", f"is an email.message.EmailMessage or bytes, not {type(message).__name__}"
        )
    # before it is written: some versions of the library turn a line end that hides in an encoded
    # word into a real one, and so a value into a field of its own (CVE-2024-6923)
    rules: Any = message.policy
    try:
        for part in message.walk():
            for name, value in part.items():
                _check_field(name, str(value))
        # and not by its own as_bytes, which in some libraries takes other arguments
        written = BytesIO()
        generator = BytesGenerator(written, policy=rules.clone(linesep="\r\n", mangle_from_=False))
        generator.flatten(message)
        return written.getvalue()
    except InvalidEmail:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises whatever odd messages lead it to
        raise InvalidEmail("message", f"can't be written: {type(error).__name__}") from None


def _check_field(name: str, value: str) -> None:
    if FORBIDDEN_IN_HEADERS.search(name):
        raise InvalidEmail(f"message[{name[:60]!a}]", "has a control character in its name")
    if found := forbidden_in_headers(_FOLD.sub(r"\1", value)):
        raise InvalidEmail(f"message[{name!r}]", f"has the control character {found!a} in it")


def _with_crlf(data: bytes) -> bytes:
    """Make every line end CRLF: no other is allowed on the wire (RFC 5321, 2.3.8)."""
    if b"\0" in data:
        raise InvalidEmail("message", f"has a NUL in it, at byte {data.index(0)}")
    lf = data.replace(b"\r\n", b"\n")
    if b"\r" in lf:
        lf = lf.replace(b"\r", b"\n")
    return lf.replace(b"\n", b"\r\n")


def _check_lines(header: bytes, body: bytes) -> None:
    if len(header) > _MAX_HEADER:
        raise InvalidEmail(
            "message", f"has a header of {len(header)} bytes; {_MAX_HEADER} are the most"
        )
    for part, name in ((header, "header"), (body, "body")):
        longest = max(map(len, part.split(b"\r\n")))
        if longest > _MAX_LINE:
            raise InvalidEmail(
                "message",
                f"has a line of {longest} bytes in its {name}; the most is {_MAX_LINE} "
                "(RFC 5322, 2.1.1): encode that part as base64 or quoted-printable",
            )


def _fields(header: bytes) -> list[Field]:
    """Cut a header into fields: name, unfolded value, and the field as it stands."""
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        raise InvalidEmail(
            "message", f"has a header that is neither ASCII nor UTF-8, at byte {error.start}"
        ) from None
    found, at = [], 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if not match:
            line = text[at:].partition("\r\n")[0]
            raise InvalidEmail("message", f"has a line in its header that is none: {line[:40]!a}")
        name, value = match[1], _FOLD.sub(r"\1", match[2]).strip()
        _check_field(name, value)
        found.append((name, value, match[0]))
        at = match.end()
    return found


def _own_id(values: dict[str, str]) -> str | None:
    message_id = values.get("message-id")
    if message_id is not None and not _MESSAGE_ID.fullmatch(message_id):
        raise InvalidEmail("message['message-id']", "looks like <42.7f3a@example.com>")
    return message_id


def _author(value: str) -> Address:
    """Read From; of several authors the first."""
    found = _read("from", value)
    if not found:
        raise InvalidEmail("message['from']", "is missing")
    name, mailbox = found[0]
    return Address(_address("from", mailbox).email, _decoded(name))


def _listed(fields: Sequence[Field], name: str) -> list[Address]:
    """Read who is named in all fields of a name."""
    values = [value for field, value, _ in fields if field.lower() == name]
    # a group without members names nobody; of any other the parser gives the members
    found = [pair for value in values for pair in _read(name, _EMPTY_GROUP.sub("", value))]
    return [_address(name, mailbox) for _, mailbox in found]


def _read(name: str, value: str) -> list[tuple[str, str]]:
    """Split a list of addresses into display names and mailboxes."""
    if not value.strip(" ,"):
        return []
    try:
        found = getaddresses([value])
    except RecursionError:
        raise InvalidEmail(f"message[{name!r}]", "is nested too deeply") from None
    # of "a@example.com <b@example.com>" some versions of the library make two (CVE-2023-27043)
    if len(found) > 1 + _QUOTED.sub("", value).count(","):
        raise InvalidEmail(f"message[{name!r}]", _NO_LIST)
    return found


def _address(name: str, mailbox: str) -> Address:
    if not mailbox:  # what the parser makes of anything that it can't read
        raise InvalidEmail(f"message[{name!r}]", _NO_LIST)
    try:
        return Address(mailbox)
    except InvalidEmail as error:
        raise InvalidEmail(f"message[{name!r}]", error.reason) from None


def _decoded(value: str) -> str:
    """Decode encoded words, for the record only; what can't be decoded stays as it is."""
    try:
        text = str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        return value
    text = FORBIDDEN_IN_HEADERS.sub("\ufffd", text)
    # a word within a word: no reader decodes it, but what decodes the record could
    return text.replace("=?", "= ?") if forbidden_in_headers(text) else text
