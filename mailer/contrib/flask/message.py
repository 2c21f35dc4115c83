"""`Message` as Flask-Mail has it; ``conversion`` makes an `Email` of it."""

import mimetypes
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from flask import current_app

from mailer.errors import InvalidEmail
from mailer.job import Receipt

if TYPE_CHECKING:
    from mailer.contrib.flask.extension import AppMail, Connection

Mailbox: TypeAlias = str | tuple[str, str]  # local@domain, or the display name and that

_NEEDS_QUOTES = re.compile(r'["()]')
_FOLD = re.compile(r"(?<=[^\r\n])\r\n(?=[ \t]+[^\s])")


class BadHeaderError(InvalidEmail):
    """A line end in a header; the message was not stored."""


class Attachment:
    """A file that goes with a `Message`.

    Args:
        data: its content; a text is written in UTF-8.
        disposition: ``attachment``, if not given, or ``inline``.
        headers: of this part, such as ``{"Content-ID": "<logo>"}``.

    Raises:
        ValueError: there is no ``data``.
    """

    def __init__(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if data is None:
            raise ValueError("The 'data' argument is required.")
        other = "text/plain" if isinstance(data, str) else "application/octet-stream"
        self.filename = filename
        self.content_type = content_type or mimetypes.guess_type(filename or "")[0] or other
        self.data = data
        self.disposition = disposition or "attachment"
        self.headers = headers or {}


class Message:
    """An email, which may be changed until it is sent; the arguments are Flask-Mail's.

    Args:
        recipients, cc, bcc: each ``local@domain``, ``Name <local@domain>`` or
            ``("Name", "local@domain")``.
        alts: other forms of the body, by the subtype of ``text/``; `html` is one of them.
        sender: without one, ``MAIL_DEFAULT_SENDER``.
        date: for the Date header, in seconds since 1970; without one, the time of sending.
        charset: of the bodies; without one, UTF-8.
        mail_options, rcpt_options: of ESMTP; see docs/flask.md.

    Attributes:
        receipt: of the job, once the message was sent; None where ``MAIL_SUPPRESS_SEND`` kept it.
    """

    def __init__(
        self,
        subject: str = "",
        recipients: list[Mailbox] | None = None,
        body: str | None = None,
        html: str | None = None,
        alts: dict[str, str] | Iterable[tuple[str, str]] | None = None,
        sender: Mailbox | None = None,
        cc: list[Mailbox] | None = None,
        bcc: list[Mailbox] | None = None,
        attachments: list[Attachment] | None = None,
        reply_to: Mailbox | None = None,
        date: float | None = None,
        charset: str | None = None,
        extra_headers: dict[str, str] | None = None,
        mail_options: list[str] | None = None,
        rcpt_options: list[str] | None = None,
    ) -> None:
        sender = sender or _of_app().default_sender
        self.recipients = recipients or []
        self.subject = subject
        self.sender = _written(sender) if isinstance(sender, tuple) else sender
        self.reply_to = reply_to
        self.cc = cc or []
        self.bcc = bcc or []
        self.body = body
        self.alts = dict(alts or {})
        self.html = html
        self.date = date
        self.charset = charset
        self.extra_headers = extra_headers
        self.mail_options = mail_options or []
        self.rcpt_options = rcpt_options or []
        self.attachments = attachments or []
        self.receipt: Receipt | None = None

    @property
    def html(self) -> str | None:
        """The body in HTML."""
        return self.alts.get("html")

    @html.setter
    def html(self, value: str | None) -> None:
        if value is None:
            self.alts.pop("html", None)
        else:
            self.alts["html"] = value

    @property
    def send_to(self) -> set[Mailbox]:
        """Everybody who gets it."""
        return {*self.recipients, *self.cc, *self.bcc}

    @property
    def msgId(self) -> str | None:  # noqa: N802 - Flask-Mail's name
        """The Message-ID, once it was sent."""
        return self.receipt.message_id if self.receipt else None

    def add_recipient(self, recipient: Mailbox) -> None:
        """Add one to `recipients`."""
        self.recipients.append(recipient)

    def attach(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Add an `Attachment`."""
        self.attachments.append(Attachment(filename, content_type, data, disposition, headers))

    def has_bad_headers(self) -> bool:
        """Whether a header has a line end in it, so that the message can't be sent."""
        return next(bad_headers(self), None) is not None

    def send(self, connection: "Connection") -> Receipt | None:
        """Send it; see `Mail.send`."""
        return connection.send(self)

    def as_bytes(self) -> bytes:
        """Return what would be sent; needs an application context."""
        return _of_app().preview(self)

    def as_string(self) -> str:
        """Return `as_bytes` as a text."""
        return self.as_bytes().decode(errors="replace")

    def __bytes__(self) -> bytes:
        return self.as_bytes()

    def __str__(self) -> str:
        return self.as_string()


def unfolded(subject: str) -> str:
    """Join the lines of a subject that was folded as RFC 5322, 2.2.3 says."""
    return _FOLD.sub("", subject)


def bad_headers(message: Message) -> Iterator[str]:
    """Name the fields that have a line end in them."""
    headers: dict[str, object] = {
        "sender": message.sender,
        "reply_to": message.reply_to,
        "subject": unfolded(str(message.subject)),
    }
    for field in ("recipients", "cc", "bcc"):
        headers |= {f"{field}[{i}]": value for i, value in enumerate(getattr(message, field))}
    for name, value in (message.extra_headers or {}).items():
        headers[f"extra_headers[{name!r}]"] = f"{name}{value}"
    for field, header in headers.items():
        text = "".join(map(str, header)) if isinstance(header, tuple) else str(header)
        if "\r" in text or "\n" in text:
            yield field


def _of_app() -> "AppMail":
    from mailer.contrib.flask.extension import of_app  # noqa: PLC0415 - each knows the other

    return of_app(current_app)


def _written(mailbox: tuple[str, str]) -> str:
    """Write a sender as Flask-Mail does, and within quotes where its name needs them."""
    name, address = mailbox
    if _NEEDS_QUOTES.search(name):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        name = f'"{escaped}"'
    return f"{name} <{address}>"
