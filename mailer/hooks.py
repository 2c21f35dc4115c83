"""Functions of an application through which every email goes: see docs/hooks.md.

``MAILER_HOOKS`` names modules. A ``pre_enqueue`` there takes each `Email` before it is checked
against the settings, a ``pre_send`` takes each `Outgoing` before a worker builds its message. Both
return what they were given, a changed copy, or None for no change; or they raise `Vetoed`.
"""

from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from pkgutil import resolve_name
from typing import Any

import attrs

from mailer import checks, header_checks
from mailer.address import Address
from mailer.email import CONTENT_FIELDS, Email
from mailer.errors import InvalidSetting

_KINDS = ("pre_enqueue", "pre_send")


@attrs.frozen(kw_only=True)
class Outgoing:
    """An email that is about to be sent, to some or all of its recipients.

    A hook may change the subject, the texts, ``headers`` and ``envelope_sender``, by
    `attrs.evolve`. Of a message that another library has built (`Email.from_message`) only the
    latter two; its headers are empty here, and what is put there is added.

    Attributes:
        recipients: of this transaction, as SMTP takes them.
        tries: how many attempts of the retry policy are used up.
        headers: all but those of addresses, Subject, Date, Message-ID and MIME.

    Raises:
        InvalidEmail: on construction, where something can't be sent as written.
    """

    job_id: str
    message_id: str
    from_email: Address
    recipients: tuple[str, ...] = attrs.field(repr=False)
    tries: int
    tags: tuple[str, ...]
    metadata: Mapping[str, Any] = attrs.field(repr=False)
    subject: str = attrs.field(repr=False, converter=header_checks.header_value)
    text: str | None = attrs.field(repr=False, converter=checks.body)
    html: str | None = attrs.field(repr=False, converter=checks.body)
    headers: Mapping[str, str] = attrs.field(repr=False, converter=header_checks.headers)
    envelope_sender: Address = attrs.field(converter=checks.sender)


@attrs.frozen
class Hook:
    """One function, and where it was found."""

    name: str
    run: Any


def find_hooks(kind: str, places: Sequence[str]) -> tuple[Hook, ...]:
    """Import what ``MAILER_HOOKS`` names, and find its functions of one kind, in this order.

    Raises:
        InvalidSetting: it can't be imported, or has no such functions.
    """
    hooks = []
    for place in places:
        try:
            owner = resolve_name(place)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise InvalidSetting(f"MAILER_HOOKS: can't import {place}: {reason}") from error
        functions = {name: getattr(owner, name) for name in _KINDS if hasattr(owner, name)}
        if not functions or not all(map(callable, functions.values())):
            raise InvalidSetting(f"MAILER_HOOKS: {place} has no functions {' or '.join(_KINDS)}")
        if kind in functions:
            hooks.append(Hook(f"{place}.{kind}", functions[kind]))
    return tuple(hooks)


def before_enqueue(places: Sequence[str]) -> tuple[Hook, ...]:
    """Find the ``pre_enqueue`` functions.

    Raises:
        InvalidSetting: see `find_hooks`; or one is async, for nobody would await it.
    """
    hooks = find_hooks("pre_enqueue", places)
    for hook in hooks:
        if iscoroutinefunction(hook.run):
            raise InvalidSetting(f"MAILER_HOOKS: {hook.name} is async; it must be a plain function")
    return hooks


def passed_through(hooks: Sequence[Hook], email: Email) -> Email:
    """Give an email to each ``pre_enqueue``, as the one before it has left it.

    Raises:
        Vetoed: one of them keeps it from being enqueued.
        InvalidSetting: one of them returned something else.
    """
    for hook in hooks:
        returned = hook.run(email)
        if returned is not None and not isinstance(returned, Email):
            raise InvalidSetting(
                f"MAILER_HOOKS: {hook.name} returned a {type(returned).__name__}, and no Email"
            )
        email = returned or email
    return email


def require_same_content(before: Email, after: Email) -> None:
    """Refuse what hooks have changed of an email whose content is stored once for many.

    Raises:
        InvalidSetting: naming it.
    """
    for name in sorted(CONTENT_FIELDS):
        if getattr(after, name) != getattr(before, name):
            raise InvalidSetting(
                f"MAILER_HOOKS: a pre_enqueue changed {name} of an email of a batch, whose content "
                "is the letter's; do it in pre_send"
            )
