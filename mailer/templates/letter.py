"""`Letter`: one email for many, each of whom it is filled in for."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

import attrs
import msgspec

from mailer.address import Address, Group, mailboxes_of
from mailer.attachment import Attachment
from mailer.checks import flag, mailboxes
from mailer.email import Email
from mailer.enqueueing import message_of
from mailer.errors import InvalidEmail
from mailer.message import AttachmentRef, Message
from mailer.templates.template import Template

_OF_THE_ROW = ("to", "cc", "bcc", "idempotency_key", "supersede_key")
_UNFIT = ("amp", "calendar", "prepared")
_UNSUBSCRIBE = ("list_unsubscribe", "one_click_unsubscribe")


class Common(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the messages of a letter have in common: enough to write each of them.

    Attributes:
        headers, list_unsubscribe: each may have placeholders, as the parts of the template have.
        others: see `Email`.
    """

    template: Template
    from_email: Address
    reply_to: tuple[Address | Group, ...] = ()
    sender: Address | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    list_unsubscribe: tuple[str, ...] = ()
    one_click_unsubscribe: bool = False
    auto_submitted: str | None = None
    importance: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    text_from_html: bool = False

    def email(self, to: Any, values: Mapping[str, Any], **fields: Any) -> Email:
        """Write the email to one of them.

        Args:
            values: what the placeholders stand for; besides them there is ``to``, an address.
            fields: more of `Email`, such as how it is to be delivered.

        Raises:
            TemplateError, InvalidEmail: naming what is wrong with the values.
        """
        try:
            people = mailboxes(to)
        except InvalidEmail as error:
            raise InvalidEmail(f"to{error.field}", error.reason) from None
        context = {**values, "to": next(map(str, mailboxes_of(people)), "")}
        rendered = self.template.render(context)
        return Email(
            from_email=self.from_email,
            to=people,
            reply_to=self.reply_to,
            sender=self.sender,
            subject=rendered.subject,
            text=rendered.text,
            html=rendered.html,
            text_from_html=self.text_from_html,
            in_reply_to=self.in_reply_to,
            references=self.references,
            list_unsubscribe=[_filled(uri, context) for uri in self.list_unsubscribe],
            one_click_unsubscribe=self.one_click_unsubscribe,
            auto_submitted=self.auto_submitted,
            importance=self.importance,
            headers={name: _filled(text, context) for name, text in self.headers},
            **fields,
        )

    def __repr__(self) -> str:
        """Name the template, and nothing of its content: this may come into logs."""
        return f"Common({self.template.name!r})"


_COMMON = frozenset(Common.__struct_fields__) - {"template"}


class FiledLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A letter as the store keeps it, once for all of a batch."""

    common: Common
    attachments: tuple[AttachmentRef, ...] = ()

    @classmethod
    def from_json(cls, stored: bytes) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(stored, type=cls)

    def to_json(self) -> bytes:
        """Write it down: equal letters as the same bytes."""
        return msgspec.json.encode(self, order="deterministic")

    def filled_in(self, message: Message) -> Message:
        """Write a message of which only the values are stored.

        Raises:
            TemplateError, InvalidEmail: its producer had checked that with another version.
        """
        email = self.common.email(message.to, message.merged or {})
        written = message_of(email, message.message_id, self.attachments)
        return msgspec.structs.replace(written, date=message.date)


@attrs.frozen(init=False)
class Letter:
    """An email with placeholders, for `Mailer.enqueue_batch`; each row of a list fills it in.

    Either ``template``, or ``subject``, ``text`` and ``html`` with what Jinja2 fills in, such as
    ``Hello {{ name }}``; and the fields of `Email` that are the same for all. Those of ``headers``
    and ``list_unsubscribe`` are filled in too.

    Raises:
        TemplateError: a syntax error.
        InvalidEmail: on construction, naming the field.
    """

    common: Common
    attachments: tuple[Attachment, ...]
    delivery: Mapping[str, Any]

    def __init__(
        self,
        template: Template | None = None,
        *,
        subject: str = "",
        text: str | None = None,
        html: str | None = None,
        **fields: Any,
    ) -> None:
        for name in fields:
            if name in _OF_THE_ROW:
                raise InvalidEmail(name, "is for one email alone; a letter is the same for all")
            if name in _UNFIT:
                raise InvalidEmail(name, "has no place in a letter")
        if template is None:
            template = Template.of(subject=subject, text=text, html=html, name="letter")
        elif subject or text is not None or html is not None:
            raise InvalidEmail("template", "or subject, text and html: give either")
        elif template.text is None and template.html is not None:
            fields = {"text_from_html": True, **fields}  # as Templates.email does
        checked = _checked(fields)
        common = Common(template=template, **{n: checked[n] for n in checked.keys() & _COMMON})
        delivery = {n: value for n, value in checked.items() if n not in _COMMON}
        attachments = delivery.pop("attachments", ())
        self.__attrs_init__(common, attachments, delivery)

    def email(self, row: Mapping[str, Any]) -> Email:
        """Write the email of one row, as it will be sent.

        Raises:
            TemplateError, InvalidEmail: naming what is wrong with the row.
        """
        to, values = _address_and_values(row)
        return self.common.email(to, values, attachments=self.attachments, **self.delivery)

    def filled_in(self, row: Mapping[str, Any]) -> tuple[Email, dict[str, Any]]:
        """Write the email of one row but for its attachments, and give what it was filled in with.

        Raises:
            TemplateError, InvalidEmail: see `email`.
        """
        to, values = _address_and_values(row)
        return self.common.email(to, values, **self.delivery), values

    def filed(self, attachments: tuple[AttachmentRef, ...]) -> bytes:
        """Write down what the store keeps of it, with its attachments pinned; see `FiledLetter`."""
        return FiledLetter(self.common, attachments).to_json()


def _address_and_values(row: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Tell whom a row names as ``to``, and what else there is in it, as JSON keeps it.

    Raises:
        InvalidEmail: it names nobody, or has a value that JSON has none for.
    """
    if not isinstance(row, Mapping):
        raise InvalidEmail("row", f"maps names to values; not {type(row).__name__}")
    if not row.get("to"):
        raise InvalidEmail("to", "is missing: the address")
    try:
        # as a worker will have them, so that it writes the same
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(row)))
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: a lone surrogate
        raise InvalidEmail("row", f"has a value that can't be kept as JSON: {error}") from None
    values.pop("to")
    return row["to"], values


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Check what is the same for all, and convert it as `Email` does."""
    sample = {name: value for name, value in fields.items() if name not in _UNSUBSCRIBE}
    body: dict[str, Any] = {"html": "-"} if fields.get("text_from_html") else {"text": "-"}
    email = Email(to="nobody@invalid", **body, **sample)
    checked = {name: getattr(email, name) for name in sample}
    if "headers" in checked:
        checked["headers"] = tuple(checked["headers"].items())  # in their order
    # with placeholders these are no URIs yet
    uris = fields.get("list_unsubscribe", ())
    checked["list_unsubscribe"] = (uris,) if isinstance(uris, str) else tuple(uris)
    checked["one_click_unsubscribe"] = flag(fields.get("one_click_unsubscribe", False))
    return checked


def _filled(text: str, values: Mapping[str, Any]) -> str:
    """Fill in a text that becomes part of a header."""
    return _template_of(text).render(values).subject if "{" in text else text


@lru_cache(maxsize=1024)
def _template_of(text: str) -> Template:
    return Template.of(subject=text, name="headers")
