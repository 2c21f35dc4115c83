"""One message as bytes for the wire: its header, and the nesting of its parts."""

from collections.abc import Mapping

from mailer.errors import AttachmentUnavailable
from mailer.message import AttachmentRef, Message
from mailer.mime import headers
from mailer.mime.addresses import address_field
from mailer.mime.bodies import encode_binary, encode_message, encode_text
from mailer.mime.errors import CannotBuild
from mailer.mime.parameters import content_type, content_type_field, disposition_field
from mailer.mime.parts import Leaf, Multipart, Part, serialize


def build(
    message: Message,
    contents: Mapping[str, bytes],
    *,
    eight_bit: bool = False,
    utf8_headers: bool = False,
) -> bytes:
    """Write a message as the relay shall get it; the same bytes for the same arguments.

    The lines end with CRLF and the last one too. Dots are not doubled: that is SMTP's business
    (RFC 5321, 4.5.2).

    Args:
        message: what was enqueued.
        contents: each attachment's bytes, by its ``sha256``.
        eight_bit: the relay offers 8BITMIME (RFC 6152).
        utf8_headers: the relay offers SMTPUTF8 (RFC 6531).

    Raises:
        NeedsSmtpUtf8: if an address can't be written without ``utf8_headers``.
        CannotBuild: if a header or a body has no correct form. Checks at enqueue prevent it.
        AttachmentUnavailable: if ``contents`` lacks one.
    """
    header = _header(message, utf8=utf8_headers)
    root = _tree(message, contents, eight_bit=eight_bit)
    return b"".join([header, *serialize(root, message.message_id)])


def _header(message: Message, *, utf8: bool) -> bytes:
    """Write the fields of RFC 5322, 3.6. Bcc is none of them."""
    fields = [address_field("From", (message.sender,), utf8=utf8)]
    if message.to:
        fields.append(address_field("To", message.to, utf8=utf8))
    if message.cc:
        fields.append(address_field("Cc", message.cc, utf8=utf8))
    if not (message.to or message.cc):
        # all are in Bcc; filters take a message without any To for spam
        fields.append("To: undisclosed-recipients:;\r\n")
    if message.reply_to:
        fields.append(address_field("Reply-To", message.reply_to, utf8=utf8))
    fields.append(headers.unstructured("Subject", message.subject, utf8=utf8))
    fields.append(headers.date(message.date))
    fields.append(headers.verbatim("Message-ID", message.message_id))
    fields.extend(headers.custom(name, value, utf8=utf8) for name, value in message.headers)
    fields.append("MIME-Version: 1.0\r\n")
    return "".join(fields).encode()


def _tree(message: Message, contents: Mapping[str, bytes], *, eight_bit: bool) -> Part:
    """Nest the parts (RFC 2046, 5.1; RFC 2387), and nothing deeper than they need."""
    inline, attached = [], []
    for ref in message.attachments:
        if message.html and ref.content_id is not None:
            inline.append(_attachment(ref, contents, kind="inline", eight_bit=eight_bit))
        else:
            attached.append(_attachment(ref, contents, kind="attachment", eight_bit=eight_bit))
    body = _body(message, tuple(inline), eight_bit=eight_bit)
    if not attached:
        return body or _text("plain", "", eight_bit=eight_bit)
    return Multipart("mixed", (body, *attached) if body else tuple(attached))


def _body(message: Message, inline: tuple[Leaf, ...], *, eight_bit: bool) -> Part | None:
    """Nest what the reader sees, the richest form last (RFC 2046, 5.1.4)."""
    forms: list[Part] = []
    if message.text:
        forms.append(_text("plain", message.text, eight_bit=eight_bit))
    if message.html:
        html = _text("html", message.html, eight_bit=eight_bit)
        forms.append(
            Multipart("related", (html, *inline), '; type="text/html"') if inline else html
        )
    if len(forms) > 1:
        return Multipart("alternative", tuple(forms))
    return forms[0] if forms else None


def _text(subtype: str, text: str, *, eight_bit: bool) -> Leaf:
    body = encode_text(text, eight_bit=eight_bit)
    return Leaf(f"Content-Type: text/{subtype}; charset=utf-8\r\n", body)


def _attachment(
    ref: AttachmentRef, contents: Mapping[str, bytes], *, kind: str, eight_bit: bool
) -> Leaf:
    try:
        data = contents[ref.sha256]
    except KeyError:
        raise AttachmentUnavailable(f"the content with SHA-256 {ref.sha256} is missing") from None
    given = content_type(ref.content_type)
    body = None
    if given.lower().startswith("message/"):
        body = encode_message(data, eight_bit=eight_bit)
        if body is None:
            # as an opaque file it arrives unchanged, and mail programs still open an .eml
            given = content_type("")
    fields = content_type_field(given) + disposition_field(kind, ref.filename)
    if ref.content_id is not None:
        fields += _content_id_field(ref.content_id)
    return Leaf(fields, body or encode_binary(data))


def _content_id_field(content_id: str) -> str:
    if not content_id or any(character in "<> \t" for character in content_id):
        raise CannotBuild("a content_id is empty, or has spaces or angle brackets in it")
    return headers.verbatim("Content-ID", f"<{content_id}>")
