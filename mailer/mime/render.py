"""A message as bytes, where all of its contents are at hand: for a preview, and for tests."""

from collections.abc import Mapping

from mailer.errors import AttachmentUnavailable
from mailer.message import Message, Source
from mailer.mime.bodies import encode_attachment
from mailer.mime.build import build, needs_smtputf8
from mailer.mime.draft import Draft
from mailer.mime.errors import NeedsSmtpUtf8
from mailer.mime.prepared import complete, to_seven_bit


def render(
    message: Message,
    contents: Mapping[str, bytes],
    *,
    eight_bit: bool = False,
    utf8_headers: bool = False,
) -> Draft:
    """Write a message as `build` does, with nothing left to be streamed.

    Args:
        contents: what its sources lead to, by ``sha256``.

    Raises:
        AttachmentUnavailable: if ``contents`` lacks one.
        NeedsSmtpUtf8, CannotBuild: as `build` does.
    """

    def content(source: Source) -> bytes:
        try:
            return contents[source.sha256]
        except KeyError:
            raise AttachmentUnavailable(
                f"the content with SHA-256 {source.sha256} is missing"
            ) from None

    if message.prepared:
        if needs_smtputf8(message) and not utf8_headers:
            raise NeedsSmtpUtf8("a prepared header in UTF-8 needs a relay that offers SMTPUTF8")
        draft = complete(message.prepared, content(message.prepared.body), message.date)
        return to_seven_bit(draft) if message.prepared.eight_bit and not eight_bit else draft
    attached = [
        encode_attachment(a.content_type, content(a.source), eight_bit=eight_bit)
        for a in message.attachments
    ]
    return build(message, attached, eight_bit=eight_bit, utf8_headers=utf8_headers)
