"""Email → `NewJob`: what is checked and pinned at the moment of enqueueing."""

import os
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mailer.attachments.files import sha256_of
from mailer.attachments.pinning import Pinned, pin
from mailer.email import Email
from mailer.errors import InvalidEmail
from mailer.fingerprint import fingerprint
from mailer.html import text_of
from mailer.job import Recipient
from mailer.message import AttachmentRef, Message, Prepared, Source
from mailer.prepared import PreparedEmail
from mailer.retry import RetryPolicy
from mailer.settings import Settings
from mailer.store.new_jobs import NewJob
from mailer.store.records import Head, milliseconds

_NOTHING = Pinned((), MappingProxyType({}))
_VARIANT = {f"{digit:x}": "89ab"[digit % 4] for digit in range(16)}  # of a UUID, by a random digit


def new_job(email: Email, settings: Settings, job_id: str | None = None) -> NewJob:
    """Check ``email`` against the settings, pin its attachments and give it an id.

    Args:
        job_id: instead of a new one.

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
    if email.relay is not None and settings.relays and email.relay not in settings.relays:
        raise InvalidEmail(
            "relay", f"there is no relay {email.relay!r}; there are {', '.join(settings.relays)}"
        )
    job_id = job_id or new_id()
    sender = email.from_email.wire
    message_id = f"<{job_id}@{sender.rpartition('@')[2]}>"
    if email.prepared:
        message, blobs = _prepared(email.prepared, message_id, settings)
    else:
        message, blobs = _written(email, message_id, settings)
    head = Head(
        message_id=message.message_id,
        from_email=str(email.from_email),
        subject=email.subject,
        envelope_sender=email.envelope_sender.wire if email.envelope_sender else sender,
        relay=email.relay,
        delivery=email.delivery,
        dsn_notify=email.dsn_notify,
        dsn_return=email.dsn_return,
        retry=_policy(email.retry, settings),
        tags=email.tags,
        metadata=dict(email.metadata),
    )
    people = tuple([Recipient(address.wire) for address in recipients])
    return NewJob(
        id=job_id,
        head=head,
        message=message,
        recipients=people,
        priority=email.priority,
        scheduled_ms=milliseconds(email.scheduled_at) if email.scheduled_at else 0,
        expires_ms=milliseconds(email.expires_at) if email.expires_at else 0,
        idempotency_key=email.idempotency_key,
        fingerprint=fingerprint(head, message, people, blobs) if email.idempotency_key else "",
        supersede_key=email.supersede_key,
        blobs=blobs,
    )


def new_id() -> str:
    """Make a UUID of version 7 (RFC 9562): sorted by the time at which it was made."""
    time_ms = f"{time.time_ns() // 1_000_000:012x}"
    chance = os.urandom(10).hex()
    variant = _VARIANT[chance[0]]
    return f"{time_ms[:8]}-{time_ms[8:]}-7{chance[1:4]}-{variant}{chance[4:7]}-{chance[8:]}"


def _policy(retry: RetryPolicy | str | None, settings: Settings) -> RetryPolicy | None:
    """Read a policy that is given by its name: workers need not know that name."""
    if not isinstance(retry, str):
        return retry
    if retry not in settings.retry_policies:
        known = ", ".join(sorted(settings.retry_policies)) or "none"
        raise InvalidEmail("retry", f"there is no policy {retry!r}; mailer.toml has {known}")
    return settings.named_policy(retry)


def message_of(email: Email, message_id: str, attachments: Sequence[AttachmentRef]) -> Message:
    """Give what is stored of an email, and never changes."""
    return Message(
        message_id=message_id,
        from_email=email.from_email,
        to=email.to,
        cc=email.cc,
        reply_to=email.reply_to,
        sender=email.sender,
        subject=email.subject,
        text=text_of(email.html) if email.text_from_html and email.html else email.text,
        amp=email.amp,
        html=email.html,
        calendar=email.calendar,
        headers=(*email.typed_headers, *email.headers.items()),
        attachments=tuple(attachments),
    )


def _written(
    email: Email, message_id: str, settings: Settings
) -> tuple[Message, Mapping[str, bytes]]:
    pinned = pin(email.attachments, settings) if email.attachments else _NOTHING
    message = message_of(email, message_id, pinned.references)
    texts = (message.text, message.html, message.amp, message.calendar)
    bodies = [body for body in texts if body]
    if 4 * sum(map(len, bodies)) > settings.max_text_bytes:
        _check_size(sum(len(body.encode()) for body in bodies), settings.max_text_bytes)
    return message, pinned.blobs


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise InvalidEmail(
            "text",
            f"and the other bodies have {size} bytes; {most} are the most (MAILER_MAX_TEXT_BYTES)",
        )


def _prepared(
    email: PreparedEmail, message_id: str, settings: Settings
) -> tuple[Message, Mapping[str, bytes]]:
    size = len(email.body)
    if size > 2 * settings.max_attachment_bytes:  # as base64 and with the texts
        raise InvalidEmail(
            "message",
            f"has a body of {size} bytes; twice MAILER_MAX_ATTACHMENT_BYTES is the most, for its "
            "attachments are encoded already",
        )
    digest = sha256_of(email.body)
    header = email.header if email.message_id else f"Message-ID: {message_id}\r\n{email.header}"
    message = Message(
        message_id=email.message_id or message_id,
        from_email=email.from_email,
        prepared=Prepared(header, Source(digest, size), email.eight_bit),
    )
    return message, {digest: email.body}
