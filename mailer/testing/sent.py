"""An email as it would have been sent, taken apart again: what a test looks at."""

from collections.abc import Mapping
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default
from functools import cached_property
from types import MappingProxyType
from typing import Any, cast

import attrs


@attrs.frozen
class SentAttachment:
    """An attachment, or an inline image.

    Attributes:
        filename: None where it has none.
        content_type: such as ``application/pdf``.
        content_id: of an inline image, without angle brackets.
    """

    filename: str | None
    content_type: str
    content: bytes = attrs.field(repr=False)
    content_id: str | None = None


@attrs.frozen(slots=False, repr=False)  # cached properties need a __dict__
class SentEmail:
    """One email that would have been sent.

    Addresses stand here without names, as SMTP takes them; ``headers`` has them with their names.

    Attributes:
        raw: the message, as a relay with 8BITMIME gets it.
        recipients: of the envelope: all of To, Cc and Bcc, but for those on the suppression list.
        envelope_sender: where bounces go; empty for the null sender.
        job_id: for `Mailer.get`.
    """

    raw: bytes
    recipients: tuple[str, ...]
    envelope_sender: str
    tags: tuple[str, ...]
    metadata: Mapping[str, Any]
    job_id: str

    @cached_property
    def message(self) -> EmailMessage:
        """The message, parsed."""
        return message_from_bytes(self.raw, policy=default)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """Each header, decoded; `message` has `get_all` for those that come twice."""
        return MappingProxyType({name: str(value) for name, value in self.message.items()})

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return self.headers.get("Subject", "")

    @property
    def from_email(self) -> str:
        """The author's address."""
        return "".join(self._addresses("From")[:1])

    @property
    def to(self) -> tuple[str, ...]:
        """The addresses in To, those of groups included."""
        return self._addresses("To")

    @property
    def cc(self) -> tuple[str, ...]:
        """The addresses in Cc."""
        return self._addresses("Cc")

    @property
    def bcc(self) -> tuple[str, ...]:
        """The recipients whom no header names."""
        named = {*self.to, *self.cc}
        return tuple(address for address in self.recipients if address not in named)

    @cached_property
    def text(self) -> str | None:
        """The text, decoded, with ``\\n`` between lines."""
        return self._body("plain")

    @cached_property
    def html(self) -> str | None:
        """The HTML, likewise."""
        return self._body("html")

    @cached_property
    def attachments(self) -> tuple[SentAttachment, ...]:
        """The attachments and the inline images, in their order.

        One that a worker would have fetched (`Attachment.from_url`) contains its URL.
        """
        return tuple(
            SentAttachment(
                part.get_filename(),
                part.get_content_type(),
                _content(part),
                str(part["Content-ID"]).strip("<>") if part["Content-ID"] else None,
            )
            for part in _parts(self.message)
            if part.get_content_disposition()
        )

    @property
    def tree(self) -> str:
        """How the parts nest, drawn as in docs/messages.md: a line for each."""
        return drawn(self.message)

    def __repr__(self) -> str:
        return f"<SentEmail {self.subject!r} to {', '.join(self.recipients)}>"

    def _addresses(self, name: str) -> tuple[str, ...]:
        fields = self.message.get_all(name, [])
        return tuple(address.addr_spec for field in fields for address in field.addresses)

    def _body(self, kind: str) -> str | None:
        part = self.message.get_body((kind,))
        return part.get_content().replace("\r\n", "\n") if part else None


def drawn(part: MIMEPart, first: str = "", rest: str = "") -> str:
    """Draw the tree of a message, a line for each part."""
    kind, disposition = part.get_content_type(), part.get_content_disposition()
    lines = [f"{first}{kind} {disposition}" if disposition else f"{first}{kind}"]
    children = _children(part)
    for child in children:
        last = child is children[-1]
        branch, below = ("└── ", "    ") if last else ("├── ", "│   ")
        lines.append(drawn(child, rest + branch, rest + below))
    return "\n".join(lines)


def _children(part: MIMEPart) -> list[MIMEPart]:
    return [*part.iter_parts()] if part.get_content_maintype() == "multipart" else []


def _parts(part: MIMEPart) -> list[MIMEPart]:
    """List a message and its parts, but not those of a message that is attached to it."""
    return [part, *(below for child in _children(part) for below in _parts(child))]


def _content(part: MIMEPart) -> bytes:
    if part.get_content_type() == "message/rfc822":
        return bytes(part.get_content())
    return cast("bytes", part.get_payload(decode=True))
