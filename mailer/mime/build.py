"""One message as it goes over the wire: its header, and the nesting of its parts."""

import re
from collections.abc import Sequence
from functools import lru_cache

from mailer.address import Address, Group, mailboxes_of
from mailer.message import AttachmentRef, Message
from mailer.mime import headers
from mailer.mime.addresses import address_field
from mailer.mime.bodies import Encoded, encode_text, is_message
from mailer.mime.draft import Draft
from mailer.mime.errors import CannotBuild
from mailer.mime.parameters import content_type, content_type_field, disposition_field
from mailer.mime.parts import Leaf, Multipart, Part, serialize

_METHOD = re.compile(r"^METHOD:([A-Za-z0-9-]{1,40})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


def build(
    message: Message,
    attached: Sequence[Encoded] = (),
    *,
    eight_bit: bool = False,
    utf8_headers: bool = False,
) -> Draft:
    """Write a message as the relay shall get it; the same bytes for the same arguments.

    Args:
        message: what was enqueued.
        attached: the content of each of its attachments, in their order.
        eight_bit: the relay offers 8BITMIME (RFC 6152).
        utf8_headers: the relay offers SMTPUTF8 (RFC 6531).

    Raises:
        NeedsSmtpUtf8: if an address can't be written without ``utf8_headers``.
        CannotBuild: if a header or a body has no correct form. Checks at enqueue prevent it.
    """
    header = _header(message, utf8=utf8_headers)
    fields, body = serialize(_tree(message, attached, eight_bit=eight_bit), message.message_id)
    return Draft((header + fields).encode(), body)


def calendar_method(calendar: str) -> str | None:
    """Find what an invitation asks for, such as REQUEST (RFC 5546, 1.4)."""
    match = _METHOD.search(calendar)
    return match[1].upper() if match else None


def _header(message: Message, *, utf8: bool) -> str:
    """Write the fields of RFC 5322, 3.6. Bcc is none of them."""
    fields = [_kept_field("From", (message.from_email,), utf8)]
    if message.to:
        fields.append(address_field("To", message.to, utf8=utf8))
    if message.cc:
        fields.append(address_field("Cc", message.cc, utf8=utf8))
    if not (message.to or message.cc):
        # all are in Bcc; filters take a message without any To for spam
        fields.append("To: undisclosed-recipients:;\r\n")
    if message.reply_to:
        fields.append(_kept_field("Reply-To", message.reply_to, utf8))
    if message.sender:
        fields.append(_kept_field("Sender", (message.sender,), utf8))
    fields.append(headers.unstructured("Subject", message.subject, utf8=utf8))
    fields.append(headers.date(message.date))
    fields.append(headers.verbatim("Message-ID", message.message_id))
    for name, value in message.headers:
        fields.append(headers.custom(name, value, utf8=utf8))
    fields.append("MIME-Version: 1.0\r\n")
    return "".join(fields)


@lru_cache(maxsize=256)
def _kept_field(name: str, entries: tuple[Address | Group, ...], utf8: bool) -> str:
    """Write a field that is the same in most messages of an application."""
    return address_field(name, entries, utf8=utf8)


def needs_smtputf8(message: Message) -> bool:
    """Whether an address in the header has a UTF-8 local part, or the header is UTF-8 already."""
    if message.prepared:
        return not message.prepared.header.isascii()
    listed = [message.from_email, *message.to, *message.cc, *message.reply_to]
    if message.sender:
        listed.append(message.sender)
    return any(address.needs_smtputf8 for address in mailboxes_of(listed)) or any(
        headers.needs_smtputf8(name, value) for name, value in message.headers
    )


def _tree(message: Message, attached: Sequence[Encoded], *, eight_bit: bool) -> Part:
    """Nest the parts (RFC 2046, 5.1; RFC 2387), and nothing deeper than they need."""
    inline, mixed = _attachments(message, attached) if message.attachments else ((), ())
    body = _body(message, inline, eight_bit=eight_bit)
    if not mixed:
        return body or _text("plain", "", eight_bit=eight_bit)
    return Multipart("mixed", (body, *mixed) if body else mixed)


def _body(message: Message, inline: tuple[Leaf, ...], *, eight_bit: bool) -> Part | None:
    """Nest what the reader sees, the richest form last (RFC 2046, 5.1.4).

    AMP stands between text and HTML, for programs that know the first or the last form only; an
    invitation is last, for those that know it show it above all else (RFC 6047, 2.4).
    """
    forms: list[Part] = []
    if message.text:
        forms.append(_text("plain", message.text, eight_bit=eight_bit))
    if message.amp:
        forms.append(_text("x-amp-html", message.amp, eight_bit=eight_bit))
    if message.html:
        html = _text("html", message.html, eight_bit=eight_bit)
        forms.append(
            Multipart("related", (html, *inline), '; type="text/html"') if inline else html
        )
    if message.calendar:
        method = calendar_method(message.calendar)
        subtype = f"calendar; method={method}" if method else "calendar"
        forms.append(_text(subtype, message.calendar, eight_bit=eight_bit))
    if len(forms) > 1:
        return Multipart("alternative", tuple(forms))
    return forms[0] if forms else None


def _text(subtype: str, text: str, *, eight_bit: bool) -> Leaf:
    body = encode_text(text, eight_bit=eight_bit)
    fields = (
        f"Content-Type: text/{subtype}; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {body.encoding}\r\n"
    )
    return Leaf(fields, body)


def _attachments(
    message: Message, attached: Sequence[Encoded]
) -> tuple[tuple[Leaf, ...], tuple[Leaf, ...]]:
    """Write the attachments: those that the HTML shows, and the others."""
    inline, mixed = list[Leaf](), list[Leaf]()
    for reference, content in zip(message.attachments, attached, strict=True):
        if message.html and reference.content_id is not None:
            inline.append(_attachment(reference, content, kind="inline"))
        else:
            mixed.append(_attachment(reference, content, kind="attachment"))
    return tuple(inline), tuple(mixed)


def _attachment(reference: AttachmentRef, content: Encoded, *, kind: str) -> Leaf:
    given = content_type(reference.content_type)
    if is_message(given) and not content.is_literal:
        given = content_type("")  # see encode_attachment
    fields = content_type_field(given) + disposition_field(kind, reference.filename)
    if reference.content_id is not None:
        fields += _content_id_field(reference.content_id)
    return Leaf(f"{fields}Content-Transfer-Encoding: {content.encoding}\r\n", content)


def _content_id_field(content_id: str) -> str:
    if not content_id or any(character in "<> \t" for character in content_id):
        raise CannotBuild("a content_id is empty, or has spaces or angle brackets in it")
    return headers.verbatim("Content-ID", f"<{content_id}>")
