"""An asynchronous job-queue mailer: enqueue emails here, Celery workers deliver them.

>>> from mailer import Email, Mailer
>>> receipt = Mailer().enqueue(Email(from_email="shop@example.com", to="jm@example.org", text="Hi"))
"""

from mailer.address import Address, Group
from mailer.async_client import AsyncMailer
from mailer.attachment import Attachment
from mailer.batch import Batch, BatchReceipt
from mailer.client import Mailer
from mailer.email import Email
from mailer.errors import (
    AttachmentUnavailable,
    BatchConflict,
    BatchNotFound,
    EventsMissed,
    IdempotencyConflict,
    InvalidArgument,
    InvalidEmail,
    InvalidSetting,
    JobNotFound,
    MailerError,
    NotDurable,
    QueueFull,
    StoreUnavailable,
    TemplateError,
    Vetoed,
    WaitTimeout,
    WrongState,
)
from mailer.hooks import Outgoing
from mailer.job import (
    Attempt,
    Decision,
    Job,
    JobState,
    Priority,
    Receipt,
    Recipient,
    RecipientState,
)
from mailer.listing import Page
from mailer.loading import load_settings
from mailer.retry import RetryPolicy
from mailer.settings import Settings
from mailer.store.events import Event
from mailer.store.limits import Pace
from mailer.store.relays import RelayPause
from mailer.store.suppressions import Suppression

__all__ = [
    "Address",
    "AsyncMailer",
    "Attachment",
    "AttachmentUnavailable",
    "Attempt",
    "Batch",
    "BatchConflict",
    "BatchNotFound",
    "BatchReceipt",
    "Decision",
    "Email",
    "Event",
    "EventsMissed",
    "Group",
    "IdempotencyConflict",
    "InvalidArgument",
    "InvalidEmail",
    "InvalidSetting",
    "Job",
    "JobNotFound",
    "JobState",
    "Mailer",
    "MailerError",
    "NotDurable",
    "Outgoing",
    "Pace",
    "Page",
    "Priority",
    "QueueFull",
    "Receipt",
    "Recipient",
    "RecipientState",
    "RelayPause",
    "RetryPolicy",
    "Settings",
    "StoreUnavailable",
    "Suppression",
    "TemplateError",
    "Vetoed",
    "WaitTimeout",
    "WrongState",
    "load_settings",
]
