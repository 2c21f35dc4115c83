"""The email backend."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import attrs
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import transaction

from mailer.client import Mailer
from mailer.contrib.django.configuration import OPTIONS, configuration
from mailer.contrib.django.messages import email_of, require_message
from mailer.email import Email
from mailer.errors import InvalidEmail, MailerError, StoreUnavailable
from mailer.job import Receipt


class EmailBackend(BaseEmailBackend):
    """Enqueues messages; workers send them.

    A message that was enqueued has the job's id as ``message.job_id``, and the whole receipt as
    ``message.receipt``. Connections to Redis are shared by all backends of the process, and stay
    open, whatever `open` and `close` are called for.

    Args:
        fail_silently: no `MailerError` is raised; what can't be enqueued is not counted.
        alias: the name in ``MAILERS`` (Django 6.1).
        options: those of ``MAILER`` in small letters, and stronger; of others see Django.

    Raises:
        InvalidSetting: naming the setting that is wrong.
    """

    def __init__(
        self, fail_silently: bool = False, *, alias: str | None = None, **options: Any
    ) -> None:
        ours = {name: options.pop(name) for name in OPTIONS & options.keys()}
        super().__init__(alias=alias, **options)
        self.fail_silently = fail_silently
        self._configuration = configuration(ours)

    @property
    def mailer(self) -> Mailer:
        """By which it enqueues; shared, so never close it."""
        return self._configuration.mailer

    def send_messages(self, email_messages: Iterable[EmailMessage] | None) -> int:
        """Enqueue messages, in one round trip for a hundred; return how many were enqueued.

        With ``on_commit`` they are enqueued once the transaction was committed, and returned is
        how many will be; an error of then comes out of the block that commits.

        Raises:
            MailerError: as `Mailer.enqueue_many`. Where a message is wrong, none is enqueued.
            ValueError: Django's own, as for a line break in a header.
        """
        messages = list(email_messages or [])
        outgoing = []
        for place, message in enumerate(messages):
            name = f"messages[{place}]." if len(messages) > 1 else ""
            if email := self._email(message, name):
                outgoing.append(_Outgoing(message, email))
        if not outgoing:
            return 0
        database = self._configuration.on_commit
        if database is None:
            return self._enqueue(outgoing)
        transaction.on_commit(partial(self._committed, outgoing), using=database)
        return len(outgoing)

    def _email(self, message: EmailMessage, name: str) -> Email | None:
        """Make what is enqueued; None where there is nobody to send to, or silence is asked for."""
        try:
            require_message(message)
            if not message.recipients():
                return None
            _note(message, None)
            email = email_of(message, self._configuration.defaults)
            if self._configuration.on_commit:  # or it would be refused when it is too late
                self.mailer.check(email)
        except InvalidEmail as error:
            if self.fail_silently:
                return None
            raise InvalidEmail(name + error.field, error.reason) from None
        return email

    def _committed(self, outgoing: Sequence["_Outgoing"]) -> None:
        try:
            self._enqueue(outgoing)
        except MailerError as error:
            error.add_note("The transaction is committed; not all of its emails may be enqueued.")
            raise

    def _enqueue(self, outgoing: Sequence["_Outgoing"]) -> int:
        receipts: list[Receipt | None] = []
        try:
            if len(outgoing) == 1:  # an error needs to name no place
                receipts.append(self.mailer.enqueue(outgoing[0].email))
            else:
                receipts += self.mailer.enqueue_many(each.email for each in outgoing)
        except MailerError as error:
            receipts += error.receipts
            if not self.fail_silently:
                raise
            # where Redis was away, it is unknown what is stored: a second time could send a copy
            if not isinstance(error, StoreUnavailable):
                receipts += self._one_by_one(outgoing[len(receipts) :])
        finally:
            for each, receipt in zip(outgoing, receipts, strict=False):
                _note(each.message, receipt)
        return sum(receipt is not None for receipt in receipts)

    def _one_by_one(self, outgoing: Sequence["_Outgoing"]) -> Iterable[Receipt | None]:
        """Enqueue what can be enqueued."""
        for each in outgoing:
            try:
                yield self.mailer.enqueue(each.email)
            except StoreUnavailable:
                return
            except MailerError:
                yield None


@attrs.frozen
class _Outgoing:
    """A message, and what is enqueued for it."""

    message: EmailMessage
    email: Email


def _note(message: Any, receipt: Receipt | None) -> None:
    """Leave on a message what became of it."""
    message.receipt = receipt
    message.job_id = receipt and receipt.id
