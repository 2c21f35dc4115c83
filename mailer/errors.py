"""Every error that the mailer raises on purpose.

Each carries a sentence that says what is wrong and, where something can be changed, what to
change. All survive pickling, because applications pass them between processes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailer.job import Receipt


class MailerError(Exception):
    """The base of every error below.

    Attributes:
        receipts: of the emails that ``enqueue_many`` had stored before it failed.
    """

    receipts: "Sequence[Receipt]" = ()


class InvalidArgument(MailerError, ValueError):
    """A call can't be carried out as asked.

    Attributes:
        field: the part at fault, as the caller wrote it, for example ``to[2]``.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class InvalidEmail(InvalidArgument):
    """An email that can't be sent as written; it was not stored."""


class TemplateError(InvalidEmail):
    """A template that can't be read or rendered; ``field`` is its file, and the line where known.

    The reason names variables, and never quotes a value.
    """


class InvalidSetting(MailerError, ValueError):
    """A setting that is malformed or contradicts another; names the variable to change."""


class IdempotencyConflict(MailerError):
    """The idempotency key is known, but was used with other content; nothing was stored."""


class BatchConflict(MailerError):
    """The batch is known, but with another letter or other rows; no more was stored of it."""


class BatchNotFound(MailerError, LookupError):
    """No batch is recorded under this name: never begun here, or all of it was retired since."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no batch is recorded under the name {self.name!r}"


class JobNotFound(MailerError, LookupError):
    """No job is recorded under this id: never enqueued here, or retired since."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"no job is recorded under the id {self.job_id!r}"


class WrongState(MailerError):
    """The job's state does not allow what was asked, for example to retry what was sent."""


class StoreUnavailable(MailerError, ConnectionError):
    """Redis did not answer in time, or refused to serve.

    Whether an enqueue that ended so was recorded is unknown; repeat it with the same
    ``idempotency_key``, and it is recorded once.
    """


class QueueFull(StoreUnavailable):
    """The backlog or the memory of Redis is at its limit; nothing was stored. Enqueue later."""


class NotDurable(StoreUnavailable):
    """What is stored might not outlive the Redis server, as was asked for.

    The error's ``receipts`` are those of the emails that are stored nevertheless, and will be sent.
    """


class EventsMissed(MailerError):
    """Events were dropped before they were read: more came than ``MAILER_EVENTS_KEPT``."""

    def __str__(self) -> str:
        return (
            "events were dropped before they were read (MAILER_EVENTS_KEPT); "
            "begin anew with the oldest that is kept"
        )


class Vetoed(MailerError):
    """A hook keeps an email from being sent; raised by hooks, with the reason.

    Attributes:
        place: which one of several emails it is, for example ``emails[150]``.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason, place)
        self.reason = reason
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: vetoed: {self.reason}" if self.place else f"vetoed: {self.reason}"


class WaitTimeout(MailerError, TimeoutError):
    """The job had not ended within the time given to ``wait``."""


class AttachmentUnavailable(MailerError):
    """The content of an attachment is gone, has changed, or may not be read; never retried."""


class AttachmentUnreachable(MailerError):
    """The content of an attachment can't be read now; the email is tried again."""
