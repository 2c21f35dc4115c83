"""What a producer writes: `Email`, checked when it is made.

Nothing here looks at a file or at Redis; what needs settings is checked by ``enqueue``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import attrs

from mailer import checks
from mailer.address import Address
from mailer.attachment import Attachment
from mailer.errors import InvalidEmail
from mailer.job import Priority
from mailer.retry import RetryPolicy

Delivery = Literal["at-least-once"]
_NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


def _attachments(value: Iterable["Attachment"]) -> tuple["Attachment", ...]:
    if not isinstance(value, Iterable):
        raise InvalidEmail("", f"is a list of attachments, not {type(value).__name__}")
    attachments = tuple(value)
    for i, attachment in enumerate(attachments):
        if not isinstance(attachment, Attachment):
            raise InvalidEmail(
                f"[{i}]",
                f"is made by Attachment.from_path or from_bytes, not a {type(attachment).__name__}",
            )
    return attachments


@attrs.frozen(kw_only=True)
class Email:
    """One email, as an application writes it.

    Attributes:
        from_email: ``shop@example.com`` or ``Shop <shop@example.com>``.
        to, cc, bcc: one address or several; together at least one. Bcc is never written anywhere
            in the message.
        headers: additional header fields.
        envelope_sender: where bounces go (RFC 5321 MAIL FROM); without it, ``from_email``.
        priority: ``high`` leaves before ``normal``, ``normal`` before ``low``.
        scheduled_at: not before this time. Aware of its time zone.
        expires_at: not after this time.
        tags, metadata: kept with the job, never sent.
        idempotency_key: enqueued again under the same key, the same content is one job.
        retry: the retry policy, where it differs from the settings'.

    Raises:
        InvalidEmail: on construction, naming the field.
    """

    from_email: Address = attrs.field(converter=checks.sender)
    to: tuple[Address, ...] = attrs.field(default=(), converter=checks.mailboxes)
    cc: tuple[Address, ...] = attrs.field(default=(), converter=checks.mailboxes)
    bcc: tuple[Address, ...] = attrs.field(default=(), converter=checks.mailboxes)
    reply_to: tuple[Address, ...] = attrs.field(default=(), converter=checks.mailboxes)
    subject: str = attrs.field(default="", converter=checks.header_text)
    text: str | None = attrs.field(default=None, repr=False, converter=checks.body)
    html: str | None = attrs.field(default=None, repr=False, converter=checks.body)
    headers: Mapping[str, str] = attrs.field(default=_NOTHING_MORE, converter=checks.headers)
    attachments: tuple[Attachment, ...] = attrs.field(default=(), converter=_attachments)
    envelope_sender: Address | None = attrs.field(default=None, converter=checks.optional_sender)
    priority: Priority = attrs.field(default=Priority.NORMAL, converter=checks.priority)
    scheduled_at: datetime | None = attrs.field(default=None, converter=checks.moment)
    expires_at: datetime | None = attrs.field(default=None, converter=checks.moment)
    tags: tuple[str, ...] = attrs.field(default=(), converter=checks.tags)
    metadata: Mapping[str, Any] = attrs.field(default=_NOTHING_MORE, converter=checks.metadata)
    idempotency_key: str | None = attrs.field(default=None, converter=checks.idempotency_key)
    relay: str | None = None
    delivery: Delivery = "at-least-once"
    retry: RetryPolicy | None = attrs.field(default=None, converter=checks.retry_policy)

    if not TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None:
            # attrs would do the same, but its converters can't name the field, nor its TypeErrors
            # be told from a programmer's
            for field in attrs.fields(Email):
                object.__setattr__(self, field.name, _value(field, fields))
            if fields:
                known = ", ".join(field.name for field in attrs.fields(Email))
                raise InvalidEmail(next(iter(fields)), f"is no field of Email; there are {known}")
            self._check()

    def _check(self) -> None:
        """Refuse what no field can see alone."""
        if not self.recipients:
            raise InvalidEmail("to", "names nobody; give at least one of to, cc and bcc")
        if self.scheduled_at and self.expires_at and self.scheduled_at >= self.expires_at:
            raise InvalidEmail("expires_at", "is not after scheduled_at")
        if self.delivery != "at-least-once":
            raise InvalidEmail("delivery", "only 'at-least-once' is known to this version")
        if self.relay is not None:
            raise InvalidEmail("relay", "this version has one relay, MAILER_RELAY_URL")

    @property
    def recipients(self) -> tuple[Address, ...]:
        """To, Cc and Bcc in this order, each mailbox once."""
        unique: dict[str, Address] = {}
        for address in (*self.to, *self.cc, *self.bcc):
            local, _, domain = address.wire.rpartition("@")
            unique.setdefault(f"{local}@{domain.lower()}", address)
        return tuple(unique.values())


def _value(field: Any, given: dict[str, Any]) -> Any:
    """Take a field's value out of ``given``, converted; or its default."""
    if field.name not in given:
        if field.default is attrs.NOTHING:
            raise InvalidEmail(field.name, "is missing")
        return field.default
    value = given.pop(field.name)
    try:
        return field.converter(value) if field.converter else value
    except InvalidEmail as error:
        raise InvalidEmail(field.name + error.field, error.reason) from None
