"""A message of Django's → `Email`."""

import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import attrs
from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives

from mailer.attachment import Attachment
from mailer.email import CONTENT_FIELDS, Email
from mailer.errors import InvalidEmail
from mailer.job import Receipt


class MailerMessage(EmailMultiAlternatives):
    """Django's message, with names that type checkers know for what the backend reads and sets.

    The backend does the same with any other message.

    Attributes:
        mailer: fields of `Email` that are no content, such as ``tags`` and ``idempotency_key``.
        job_id: names the job to `Mailer.get`, once the message is enqueued.
        receipt: all that ``Mailer.enqueue`` returned.
    """

    mailer: Mapping[str, Any] = MappingProxyType({})
    job_id: str | None = None
    receipt: Receipt | None = None


# those that write themselves as Django's documentation says; a class of somebody else's may differ
_DJANGO_S = (EmailMessage, EmailMultiAlternatives, MailerMessage)
_SET_TO_DIFFER = frozenset({"message", "recipients", "mixed_subtype", "alternative_subtype"})
_FIELDS = frozenset(field.name for field in attrs.fields(Email)) - CONTENT_FIELDS
# attributes that django-anymail made a custom
_ANYMAIL = MappingProxyType(
    {
        "tags": "tags",
        "metadata": "metadata",
        "envelope_sender": "envelope_sender",
        "send_at": "scheduled_at",
    }
)
_MIME_TYPE = re.compile(r"(text|image|audio|video|font|application)/[A-Za-z0-9.+_-]+")


def require_message(message: object) -> None:
    """Refuse what is none.

    Raises:
        InvalidEmail: it is something else.
    """
    if not isinstance(message, EmailMessage):
        kind = type(message).__name__
        raise InvalidEmail("message", f"is a django.core.mail.EmailMessage, not {kind}")


def email_of(message: EmailMessage, defaults: Mapping[str, Any]) -> Email:
    """Make what is enqueued: the same message as Django's SMTP backend would send.

    Most messages are told by fields of `Email`, which takes 30 µs. Any other one is built by
    Django, and sent as it is; that takes a hundred times as long.

    Args:
        defaults: fields of `Email`, where the message says nothing of them.

    Raises:
        InvalidEmail: naming what can't be sent.
        ValueError: Django's own, as for a line break in a header.
    """
    fields = {**defaults, **_asked_for(message)}
    # what `Email` does not take Django may, and where not, Django's own error is expected
    with suppress(InvalidEmail, UnicodeEncodeError):
        if content := _content(message):
            return Email(**content, **fields)
    fields.setdefault("envelope_sender", str(message.from_email))
    recipients = [str(address) for address in message.recipients()]
    return Email.from_message(message.message(), recipients=recipients, **fields)


def _asked_for(message: EmailMessage) -> dict[str, Any]:
    """Read what a message says of its delivery."""
    own = getattr(message, "mailer", {})
    if not isinstance(own, Mapping):
        raise InvalidEmail("mailer", f"maps names of fields to values; not {type(own).__name__}")
    if unfit := own.keys() - _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise InvalidEmail(
            f"mailer[{min(map(str, unfit))!r}]", f"is not set there; there are {known}"
        )
    values = {ours: getattr(message, theirs, None) for theirs, ours in _ANYMAIL.items()}
    return {name: value for name, value in values.items() if value is not None} | dict(own)


def _content(message: EmailMessage) -> dict[str, Any] | None:
    """Tell a message by fields of `Email`, or None where they would not say the same."""
    if type(message) not in _DJANGO_S or vars(message).keys() & _SET_TO_DIFFER:
        return None
    headers = {str(name): str(value) for name, value in message.extra_headers.items()}
    shown = {
        "from_email": str(message.from_email),
        "to": [str(address) for address in message.to],
        "cc": [str(address) for address in message.cc],
        "reply_to": [str(address) for address in message.reply_to],
        "subject": str(message.subject),
    }
    # Django leaves encoded words as they are, and knows which headers are addresses
    if "=?" in f"{shown}{headers}" or not all(value.isascii() for value in headers.values()):
        return None
    bodies, attachments = _bodies(message), _attachments(message)
    if bodies is None or attachments is None:
        return None
    bcc = [str(address) for address in message.bcc]
    return {**shown, **bodies, "bcc": bcc, "headers": headers, "attachments": attachments}


def _bodies(message: EmailMessage) -> dict[str, str] | None:
    charset = message.encoding or settings.DEFAULT_CHARSET
    if not isinstance(charset, str) or charset.lower() != "utf-8" or settings.EMAIL_USE_LOCALTIME:
        return None
    body, subtype = str(message.body), message.content_subtype
    alternatives = getattr(message, "alternatives", [])
    if not body:
        return {} if not alternatives and subtype == "plain" else None
    match subtype, alternatives:
        case "plain", []:
            return {"text": body}
        case "html", []:
            return {"html": body}
        case "plain", [(str() as html, "text/html")] if html:
            return {"text": body, "html": str(html)}
        case _:
            return None


def _attachments(message: EmailMessage) -> list[Attachment] | None:
    found = [_attachment(attachment) for attachment in message.attachments]
    known = [attachment for attachment in found if attachment]
    return known if len(known) == len(found) else None


def _attachment(attachment: Any) -> Attachment | None:
    match attachment:
        case (str() as filename, content, str() as kind) if filename and _MIME_TYPE.fullmatch(kind):
            if isinstance(content, str) and kind.startswith("text/"):
                kind, content = f"{kind}; charset=utf-8", content.encode()
            elif not isinstance(content, bytes) or kind.startswith("text/"):
                return None
            return Attachment.from_bytes(content, filename=filename, content_type=kind)
        case _:
            return None
