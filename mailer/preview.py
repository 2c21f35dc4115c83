"""A message as a relay gets it, without sending it."""

import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mailer.attachments.files import open_allowed, sha256_of
from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.errors import AttachmentUnavailable
from mailer.message import Message, Source
from mailer.mime import needs_smtputf8, render
from mailer.settings import Settings


def preview(email: Email, settings: Settings) -> bytes:
    """Build what would be sent if ``email`` were enqueued now.

    Raises:
        InvalidEmail: as ``enqueue`` would.
        AttachmentUnavailable: an attachment would be fetched by a worker.
    """
    job = new_job(email, settings)
    seconds = job.scheduled_ms / 1000 if job.scheduled_ms else time.time()
    dated = msgspec.structs.replace(job.message, date=int(seconds))
    return rendered(dated, job.blobs, settings)


def rendered(message: Message, blobs: Mapping[str, bytes], settings: Settings) -> bytes:
    """Build a message for a relay that offers 8BITMIME, as most do, and sign it by our DKIM keys.

    Args:
        blobs: those of its contents that are no files, by their SHA-256.

    Raises:
        AttachmentUnavailable: a content can't be read here.
    """
    contents = dict(blobs)
    for source in message.sources:
        if source.path:
            contents[source.sha256] = _file(source, settings)
        elif source.uri:
            raise AttachmentUnavailable(
                "an attachment is yet to be fetched by a worker; there is no preview before"
            )
    draft = render(message, contents, eight_bit=True, utf8_headers=needs_smtputf8(message))
    if not settings.dkim:
        return bytes(draft)
    from mailer.dkim.signing import dkim_keys, signed  # noqa: PLC0415 - loads a library for few

    return bytes(signed(draft, message, dkim_keys(settings)))


def _file(source: Source, settings: Settings) -> bytes:
    path = Path(source.path or "")
    with open_allowed(path, settings.attachment_roots) as file:
        content = file.read(source.size + 1)
    if sha256_of(content) != source.sha256:
        raise AttachmentUnavailable(f"{path} has changed since it was enqueued")
    return content
