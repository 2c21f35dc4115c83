"""Email → `NewJob`: what is checked and pinned at the moment of enqueueing."""

import hashlib
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from mailer.attachment import Attachment
from mailer.email import Email
from mailer.errors import AttachmentUnavailable, InvalidEmail
from mailer.files import read_allowed, sha256_of
from mailer.job import Recipient
from mailer.message import AttachmentRef, Message
from mailer.settings import Settings
from mailer.store.jobs import NewJob
from mailer.store.records import Head, encode, milliseconds


def new_job(email: Email, settings: Settings) -> NewJob:
    """Check ``email`` against the settings, pin its attachments and give it an id.

    Raises:
        InvalidEmail: naming the field.
    """
    recipients = email.recipients
    if len(recipients) > settings.max_recipients:
        raise InvalidEmail(
            "to",
            f"{len(recipients)} recipients are more than {settings.max_recipients} "
            "(MAILER_MAX_RECIPIENTS); send each their own email instead",
        )
    job_id = new_id()
    references, blobs = _pinned(email.attachments, settings)
    message = Message(
        message_id=f"<{job_id}@{email.from_email.wire.rpartition('@')[2]}>",
        sender=email.from_email,
        to=email.to,
        cc=email.cc,
        reply_to=email.reply_to,
        subject=email.subject,
        text=email.text,
        html=email.html,
        headers=tuple(email.headers.items()),
        attachments=references,
    )
    head = Head(
        message_id=message.message_id,
        sender=str(email.from_email),
        subject=email.subject,
        envelope_sender=(email.envelope_sender or email.from_email).wire,
        retry=email.retry,
        tags=email.tags,
        metadata=dict(email.metadata),
    )
    people = tuple(Recipient(address.wire) for address in recipients)
    return NewJob(
        id=job_id,
        head=head,
        message=message,
        recipients=people,
        priority=email.priority,
        scheduled_ms=milliseconds(email.scheduled_at) if email.scheduled_at else 0,
        expires_ms=milliseconds(email.expires_at) if email.expires_at else 0,
        idempotency_key=email.idempotency_key,
        fingerprint=_fingerprint(message, people) if email.idempotency_key else "",
        blobs=blobs,
    )


def new_id() -> str:
    """Make a UUID of version 7 (RFC 9562): sorted by the time at which it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def _pinned(
    attachments: Sequence[Attachment], settings: Settings
) -> tuple[tuple[AttachmentRef, ...], dict[str, bytes]]:
    """Read what is attached: a reference to each, and the contents to be stored."""
    references, blobs = [], {}
    room = settings.max_attachment_bytes
    for i, attachment in enumerate(attachments):
        try:
            content = _content(attachment, settings.attachment_roots, room)
        except (AttachmentUnavailable, OSError) as error:
            raise InvalidEmail(f"attachments[{i}]", str(error)) from error
        room -= len(content)
        digest = sha256_of(content)
        if attachment.path is None:
            blobs[digest] = content
        references.append(
            AttachmentRef(
                filename=attachment.filename,
                content_type=attachment.content_type,
                sha256=digest,
                size=len(content),
                path=str(attachment.path.absolute()) if attachment.path else None,
                content_id=attachment.content_id,
            )
        )
    return tuple(references), blobs


def _content(attachment: Attachment, roots: Sequence[Path], room: int) -> bytes:
    if attachment.path is not None:
        return read_allowed(attachment.path, roots, room)
    content = attachment.content or b""
    if len(content) > room:
        raise AttachmentUnavailable(
            f"{attachment.filename} has {len(content)} bytes, which makes too many together "
            "(MAILER_MAX_ATTACHMENT_BYTES)"
        )
    return content


def _fingerprint(message: Message, recipients: Sequence[Recipient]) -> str:
    """Identify what the recipients would see, without what differs at every call."""
    content = (msgspec.structs.replace(message, message_id=""), recipients)
    return hashlib.sha256(encode(content)).hexdigest()[:32]
