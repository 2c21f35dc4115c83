"""What a producer writes: `Email`, checked when it is made.

Nothing here looks at a file or at Redis; what needs settings is checked by ``enqueue``.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from email.message import Message as LibraryMessage
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import attrs

from mailer import checks, header_checks
from mailer.address import Address, Group, mailboxes_of
from mailer.attachment import Attachment
from mailer.errors import InvalidEmail
from mailer.job import Priority
from mailer.prepared import PreparedEmail, read_prepared
from mailer.retry import RetryPolicy

_NOTHING_MORE: Mapping[str, Any] = MappingProxyType({})


def _attachments(value: Iterable["Attachment"]) -> tuple["Attachment", ...]:
    if not isinstance(value, checks.SEVERAL):
        raise InvalidEmail("", f"is a list of attachments, not {type(value).__name__}")
    attachments = tuple(value)
    for i, attachment in enumerate(attachments):
        if not isinstance(attachment, Attachment):
            raise InvalidEmail(
                f"[{i}]",
                f"is made by Attachment.from_path and its like, not a {type(attachment).__name__}",
            )
    return attachments


@attrs.frozen(kw_only=True, slots=False)  # a dict takes all that is given at once
class Email:
    """One email, as an application writes it.

    Attributes:
        from_email: ``shop@example.com`` or ``Shop <shop@example.com>``.
        to, cc, bcc: one address or several, or a `Group`; together at least one. Bcc is never
            written anywhere in the message.
        reply_to: where answers go.
        sender: who sent it on behalf of ``from_email``, where that is somebody else.
        subject: any text.
        text, html: the body, in either form or both.
        text_from_html: derive ``text`` from ``html``.
        amp: the body in AMP for Email, beside the others.
        calendar: an invitation, as an iCalendar object with a METHOD.
        in_reply_to: the message id of what this answers.
        references: the message ids of the thread, the oldest first.
        list_unsubscribe: URIs by which a reader leaves the list.
        one_click_unsubscribe: a POST to the ``https`` one of them is enough.
        auto_submitted: ``auto-generated`` or ``auto-replied``, so that no robot answers.
        importance: ``high``, ``normal`` or ``low``, as the reader sees it.
        headers: additional header fields.
        attachments: made by `Attachment.from_path` and its like.
        envelope_sender: where bounces go (RFC 5321 MAIL FROM); without it, ``from_email``.
        priority: ``high`` leaves before ``normal``, ``normal`` before ``low``.
        scheduled_at: not before this time. Aware of its time zone.
        expires_at: not after this time.
        tags, metadata: kept with the job, never sent.
        idempotency_key: enqueued again under the same key, the same content is one job.
        supersede_key: cancels the last email enqueued under the same key, if it has not left.
        relay: the name of the only relay that may take it, instead of those of the routes.
        delivery: where an outcome is unknown, ``at-least-once`` sends again, and ``at-most-once``
            never does: the job ends as ``unconfirmed``.
        dsn_notify: when the relay should report to ``envelope_sender`` (RFC 3461): ``success``,
            ``failure``, ``delay``; or ``never``. Said to relays that offer DSN.
        dsn_return: what a report brings back of the message, ``full`` or ``headers``.
        retry: the retry policy, where it differs from the settings': one of its own, or the name
            of one in ``mailer.toml``.
        prepared: set by `from_message`.

    Raises:
        InvalidEmail: on construction, naming the field.
    """

    from_email: Address = attrs.field(converter=checks.sender)
    to: tuple[Address | Group, ...] = attrs.field(default=(), converter=checks.mailboxes)
    cc: tuple[Address | Group, ...] = attrs.field(default=(), converter=checks.mailboxes)
    bcc: tuple[Address | Group, ...] = attrs.field(default=(), converter=checks.mailboxes)
    reply_to: tuple[Address | Group, ...] = attrs.field(default=(), converter=checks.mailboxes)
    sender: Address | None = attrs.field(default=None, converter=checks.optional_sender)
    subject: str = attrs.field(default="", converter=header_checks.header_value)
    text: str | None = attrs.field(default=None, repr=False, converter=checks.body)
    html: str | None = attrs.field(default=None, repr=False, converter=checks.body)
    text_from_html: bool = attrs.field(default=False, converter=checks.flag)
    amp: str | None = attrs.field(default=None, repr=False, converter=checks.body)
    calendar: str | None = attrs.field(default=None, repr=False, converter=checks.calendar)
    in_reply_to: str | None = attrs.field(default=None, converter=header_checks.message_id)
    references: tuple[str, ...] = attrs.field(default=(), converter=header_checks.message_ids)
    list_unsubscribe: tuple[str, ...] = attrs.field(
        default=(), converter=header_checks.unsubscribe_uris
    )
    one_click_unsubscribe: bool = attrs.field(default=False, converter=checks.flag)
    auto_submitted: str | None = attrs.field(default=None, converter=header_checks.auto_submitted)
    importance: str | None = attrs.field(default=None, converter=header_checks.importance)
    headers: Mapping[str, str] = attrs.field(default=_NOTHING_MORE, converter=header_checks.headers)
    attachments: tuple[Attachment, ...] = attrs.field(default=(), converter=_attachments)
    envelope_sender: Address | None = attrs.field(default=None, converter=checks.optional_sender)
    priority: Priority = attrs.field(default=Priority.NORMAL, converter=checks.priority)
    scheduled_at: datetime | None = attrs.field(default=None, converter=checks.moment)
    expires_at: datetime | None = attrs.field(default=None, converter=checks.moment)
    tags: tuple[str, ...] = attrs.field(default=(), converter=checks.tags)
    metadata: Mapping[str, Any] = attrs.field(default=_NOTHING_MORE, converter=checks.metadata)
    idempotency_key: str | None = attrs.field(default=None, converter=checks.key)
    supersede_key: str | None = attrs.field(default=None, converter=checks.key)
    relay: str | None = attrs.field(default=None, converter=checks.relay)
    delivery: checks.Delivery = attrs.field(default="at-least-once", converter=checks.delivery)
    dsn_notify: tuple[str, ...] = attrs.field(default=(), converter=checks.dsn_notify)
    dsn_return: str | None = attrs.field(default=None, converter=checks.dsn_return)
    retry: RetryPolicy | str | None = attrs.field(default=None, converter=checks.retry_policy)
    prepared: PreparedEmail | None = attrs.field(
        default=None, repr=False, converter=checks.prepared
    )

    if not TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None:
            # attrs would do the same, but its converters can't name the field, nor its TypeErrors
            # be told from a programmer's
            if "from_email" not in fields:
                raise InvalidEmail("from_email", "is missing")
            try:
                for name, value in fields.items():
                    fields[name] = _CONVERTERS.get(name, _unknown)(value)
            except InvalidEmail as error:
                raise InvalidEmail(name + error.field, error.reason) from None
            # what is not given is found in the class
            object.__setattr__(self, "__dict__", fields)
            self._check()

    @classmethod
    def from_message(
        cls,
        message: LibraryMessage | bytes,
        *,
        recipients: checks.Mailboxes | None = None,
        **fields: Any,
    ) -> Self:
        """Deliver a message that any library has built, as it is.

        What it must have and lacks is added: Date, Message-ID, MIME-Version. Bcc is taken out.

        Args:
            message: an `email.message.EmailMessage`, or bytes such as an .eml file has.
            recipients: who gets it, instead of those in To, Cc and Bcc.
            fields: any of `Email` that are not content: ``envelope_sender``, ``tags``,
                ``scheduled_at`` and so on.

        Raises:
            InvalidEmail: naming the header or line that can't be sent.
        """
        if unfit := CONTENT_FIELDS & fields.keys():
            raise InvalidEmail(min(unfit), "is part of the message; set it there")
        prepared, listed = read_prepared(message)
        fields |= listed if recipients is None else {"to": recipients}
        return cls(
            from_email=prepared.from_email, subject=prepared.subject, prepared=prepared, **fields
        )

    def _check(self) -> None:
        """Refuse what no field can see alone."""
        if not self.recipients:
            raise InvalidEmail("to", "names nobody; give at least one of to, cc and bcc")
        if self.scheduled_at and self.expires_at and self.scheduled_at >= self.expires_at:
            raise InvalidEmail("expires_at", "is not after scheduled_at")
        if self.text_from_html and (self.text is not None or not self.html):
            raise InvalidEmail("text_from_html", "needs html, and no text")
        if self.amp and not (self.html or self.text):
            raise InvalidEmail("amp", "needs html or text beside it, for those who can't show it")
        if self.one_click_unsubscribe and not any(
            uri.lower().startswith("https:") for uri in self.list_unsubscribe
        ):
            raise InvalidEmail(
                "one_click_unsubscribe", "needs an https URI in list_unsubscribe (RFC 8058)"
            )
        if self.headers:
            self._check_headers()

    def _check_headers(self) -> None:
        ours = {name.lower() for name, _ in self.typed_headers}
        if self.sender:
            ours.add("sender")
        for name in self.headers:
            if name.lower() in ours:
                raise InvalidEmail(f"headers[{name!r}]", "is set by a field of its own as well")

    @property
    def recipients(self) -> tuple[Address, ...]:
        """To, Cc and Bcc in this order, each mailbox once."""
        # once for all, without the lock of a cached_property
        found: tuple[Address, ...] | None = self.__dict__.get("_recipients")
        if found is None:
            found = self.__dict__["_recipients"] = _each_once(self.to + self.cc + self.bcc)
        return found

    @property
    def typed_headers(self) -> tuple[tuple[str, str], ...]:
        """The header fields, but those of addresses, that have fields of their own here."""
        found: list[tuple[str, str]] = []
        if self.in_reply_to:
            found.append(("In-Reply-To", self.in_reply_to))
        if thread := self.references or (self.in_reply_to and (self.in_reply_to,)):
            found.append(("References", " ".join(thread)))
        if self.auto_submitted:
            found.append(("Auto-Submitted", self.auto_submitted))
        if self.importance:
            found.append(("Importance", self.importance))
            found.append(("X-Priority", _X_PRIORITY[self.importance]))
        if self.list_unsubscribe:
            uris = ", ".join(f"<{uri}>" for uri in self.list_unsubscribe)
            found.append(("List-Unsubscribe", uris))
        if self.one_click_unsubscribe:
            found.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
        return tuple(found)


def _each_once(entries: tuple[Address | Group, ...]) -> tuple[Address, ...]:
    if len(entries) == 1 and isinstance(entries[0], Address):  # as in most emails
        return (entries[0],)
    unique: dict[str, Address] = {}
    for address in mailboxes_of(entries):
        local, _, domain = address.wire.rpartition("@")
        unique.setdefault(f"{local}@{domain.lower()}", address)
    return tuple(unique.values())


_FIELDS = attrs.fields(Email)
for _field in _FIELDS[1:]:  # all but from_email
    setattr(Email, _field.name, _field.default)
_CONVERTERS: dict[str, Any] = {field.name: field.converter for field in _FIELDS}
_X_PRIORITY = {"high": "1", "normal": "3", "low": "5"}  # by the custom of mail programs
# what `from_message` takes from the message
CONTENT_FIELDS = frozenset(
    field.name for field in _FIELDS[: _FIELDS.index(attrs.fields(Email).envelope_sender)]
) | {"prepared"}


def _unknown(value: Any) -> Any:
    known = ", ".join(field for field in _CONVERTERS if field != "prepared")
    raise InvalidEmail("", f"is no field of Email; there are {known}")
