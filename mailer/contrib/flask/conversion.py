"""`Message` → `Email`."""

import re
import unicodedata
from collections.abc import Sequence
from email.encoders import encode_base64
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formataddr, formatdate
from typing import Any

from mailer.address import Address
from mailer.attachment import Attachment as Attached
from mailer.contrib.flask.message import (
    Attachment,
    BadHeaderError,
    Mailbox,
    Message,
    bad_headers,
    unfolded,
)
from mailer.email import Email
from mailer.errors import InvalidEmail

_THEIRS = {  # what a field of `Email` is called in a `Message`
    "from_email": "sender",
    "to": "recipients",
    "text": "body",
    "headers": "extra_headers",
    "dsn_notify": "rcpt_options",
}
_DSN_RETURN = {"FULL": "full", "HDRS": "headers"}
_WORKERS_DECIDE = ("BODY=", "SMTPUTF8", "SIZE=")


def email_of(
    message: Message, *, envelope_from: Mailbox | None = None, ascii_filenames: bool = False
) -> Email:
    """Make the email that a message means.

    Args:
        envelope_from: where bounces go, instead of to the sender.
        ascii_filenames: take the accents off names of attachments, and all else that isn't ASCII.

    Raises:
        BadHeaderError: a line end is in a header.
        InvalidEmail: naming the field as it is called in a `Message`.
    """
    if bad := next(bad_headers(message), None):
        raise BadHeaderError(bad, "has a line end in it")
    envelope = _envelope(message)
    if envelope_from:
        envelope["envelope_sender"] = _mailbox("envelope_from", envelope_from)
    filenames = [_filename(attachment, ascii_filenames) for attachment in message.attachments]
    try:
        if _is_plain(message):
            return Email(**_people(message), **_content(message, filenames), **envelope)
        return _as_mime(message, filenames, envelope)
    except InvalidEmail as error:
        name = re.split(r"\W", error.field, maxsplit=1)[0]
        field = _THEIRS.get(name, name) + error.field[len(name) :]
        raise InvalidEmail(field, error.reason) from None


def _is_plain(message: Message) -> bool:
    """Whether the fields of `Email` can say all of it."""
    return (
        message.date is None
        and (message.charset or "utf-8").lower() in {"utf-8", "utf8"}
        and message.alts.keys() <= {"html"}
        and all(_is_plain_attachment(attachment) for attachment in message.attachments)
    )


def _is_plain_attachment(attachment: Attachment) -> bool:
    wanted = "inline" if _content_id(attachment) else "attachment"
    others = [name for name in attachment.headers if name.lower() != "content-id"]
    return bool(attachment.filename) and attachment.disposition == wanted and not others


def _people(message: Message) -> dict[str, Any]:
    if not message.sender:
        raise InvalidEmail("sender", "is missing; give one, or set MAIL_DEFAULT_SENDER")
    return {
        "from_email": _mailbox("sender", message.sender),
        "to": _mailboxes("recipients", message.recipients),
        "cc": _mailboxes("cc", message.cc),
        "bcc": _mailboxes("bcc", message.bcc),
        "reply_to": [_mailbox("reply_to", message.reply_to)] if message.reply_to else [],
    }


def _content(message: Message, filenames: Sequence[str]) -> dict[str, Any]:
    return {
        "subject": unfolded(_text(message.subject)),
        "text": None if message.body is None else _text(message.body),
        "html": None if message.html is None else _text(message.html),
        "headers": message.extra_headers or {},
        "attachments": [
            Attached.from_bytes(
                _data(attachment),
                filename=filename,
                content_type=attachment.content_type,
                content_id=_content_id(attachment),
            )
            for attachment, filename in zip(message.attachments, filenames, strict=True)
        ],
    }


def _envelope(message: Message) -> dict[str, Any]:
    """Read the ESMTP options that concern reports (RFC 3461); workers see to the usual others."""
    found: dict[str, Any] = {}
    for field, options in (("mail", message.mail_options), ("rcpt", message.rcpt_options)):
        for option in options:
            name, _, value = option.upper().partition("=")
            if (field, name) == ("mail", "RET") and value in _DSN_RETURN:
                found["dsn_return"] = _DSN_RETURN[value]
            elif (field, name) == ("rcpt", "NOTIFY"):
                found["dsn_notify"] = value.lower().split(",")
            elif field == "rcpt" or not option.upper().startswith(_WORKERS_DECIDE):
                raise InvalidEmail(f"{field}_options", f"has {option!a}, which workers can't say")
    return found


def _as_mime(message: Message, filenames: Sequence[str], envelope: dict[str, Any]) -> Email:
    """Build what only MIME can say: a charset, a date, other alternatives, headers of parts."""
    people = _people(message)
    try:
        built = _bodies(message, filenames)
        built["Subject"] = unfolded(_text(message.subject))
        built["From"] = _header([people["from_email"]])
        for name, field in (("To", "to"), ("Cc", "cc"), ("Reply-To", "reply_to")):
            if people[field]:
                built[name] = _header(people[field])
        if message.date is not None:
            built["Date"] = formatdate(message.date, localtime=True)
        for name, value in (message.extra_headers or {}).items():
            built[name] = value
        recipients = [*people["to"], *people["cc"], *people["bcc"]]
        return Email.from_message(built, recipients=recipients, **envelope)
    except InvalidEmail:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise InvalidEmail("message", f"can't be written: {error}") from None


def _bodies(message: Message, filenames: Sequence[str]) -> MIMEBase:
    """Nest the parts as Flask-Mail does."""
    charset = message.charset or "utf-8"
    texts = {"plain": message.body or "", **message.alts}
    parts = [MIMEText(_text(text), subtype, charset) for subtype, text in texts.items()]
    body: MIMEBase = MIMEMultipart("alternative", _subparts=parts) if message.alts else parts[0]
    if not message.attachments:
        return body
    attached = [
        _part(attachment, filename)
        for attachment, filename in zip(message.attachments, filenames, strict=True)
    ]
    return MIMEMultipart("mixed", _subparts=[body, *attached])


def _part(attachment: Attachment, filename: str) -> MIMEBase:
    maintype, _, subtype = attachment.content_type.partition("/")
    part = MIMEBase(maintype, subtype)
    part.set_payload(_data(attachment))
    encode_base64(part)
    if filename:
        shown = filename if filename.isascii() else ("utf-8", "", filename)  # RFC 2231
        part.add_header("Content-Disposition", attachment.disposition, filename=shown)
    for name, value in attachment.headers.items():
        part.add_header(name, value)
    return part


def _header(addresses: Sequence[Address]) -> str:
    return ", ".join(formataddr((address.name, address.wire)) for address in addresses)


def _mailboxes(field: str, values: object) -> list[Address]:
    if not isinstance(values, list | tuple | set):
        raise InvalidEmail(field, f"is a list of addresses, not {type(values).__name__}")
    return [_mailbox(f"{field}[{i}]", value) for i, value in enumerate(values)]


def _mailbox(field: str, value: Mailbox) -> Address:
    try:
        if isinstance(value, tuple) and len(value) == 2:
            name, address = value
            return Address(_text(address), _text(name or ""))
        return Address.parse(_text(value))
    except InvalidEmail as error:
        raise InvalidEmail(field, error.reason) from None


def _filename(attachment: Attachment, ascii_only: bool) -> str:
    """Take the base name, which is all that a reader may see of a path."""
    name = re.split(r"[/\\]", attachment.filename or "")[-1]
    if ascii_only:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        return " ".join(plain.split()) or (name and "attachment")
    return name


def _data(attachment: Attachment) -> bytes:
    data = attachment.data
    return data.encode() if isinstance(data, str) else data


def _content_id(attachment: Attachment) -> str | None:
    for name, value in attachment.headers.items():
        if name.lower() == "content-id":
            return value.strip().removeprefix("<").removesuffix(">")
    return None


def _text(value: Any) -> Any:
    """Make a text of what becomes one when it is looked at, such as a lazy translation."""
    return value if isinstance(value, str | bytes) else str(value)
