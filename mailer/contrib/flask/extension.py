"""`Mail`: Flask-Mail's calls, by which messages are enqueued."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import blinker
from flask import Flask, current_app

from mailer.client import Mailer
from mailer.contrib.flask.config import mailer_settings, without_effect
from mailer.contrib.flask.conversion import email_of
from mailer.contrib.flask.message import Mailbox, Message
from mailer.errors import InvalidEmail
from mailer.job import Receipt

signals = blinker.Namespace()
email_dispatched = signals.signal(
    "email-dispatched",
    doc="An application has sent a message, or would have but for MAIL_SUPPRESS_SEND.",
)


class _Sends(ABC):
    """What `Mail` and ``app.extensions["mail"]`` have in common."""

    @abstractmethod
    def connect(self) -> "Connection":
        """See `Mail.connect`."""

    def send(self, message: Message) -> Receipt | None:
        """Enqueue a message.

        Returns:
            The job's receipt; None where ``MAIL_SUPPRESS_SEND`` keeps the message from leaving.

        Raises:
            BadHeaderError: a line end is in a header; nothing was stored.
            InvalidEmail: naming what is wrong with the message; nothing was stored.
            StoreUnavailable, QueueFull: see `Mailer.enqueue`.
        """
        if not callable(getattr(message, "send", None)):  # Flask-Mail's own has it, too
            raise InvalidEmail("message", f"is a Message, not {type(message).__name__}")
        return message.send(self.connect())

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt | None:
        """`send` a `Message` with these arguments."""
        return self.send(Message(*args, **kwargs))

    @contextmanager
    def record_messages(self) -> Iterator[list[Message]]:
        """Collect the messages that are sent meanwhile, also where none may leave."""
        outbox: list[Message] = []

        def record(_app: Flask, message: Message) -> None:
            outbox.append(message)

        with email_dispatched.connected_to(record):
            yield outbox


class Mail(_Sends):
    """The extension: ``Mail(app)``, or ``Mail()`` and ``init_app(app)``.

    Attributes:
        app: the application, where it was given to ``Mail``; else the current one is meant.
        state: of that application.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self.app = app
        self.state = self.init_app(app) if app else None

    def init_app(self, app: Flask) -> "AppMail":
        """Prepare an application; it has a `Mailer` of its own from now on.

        Raises:
            InvalidSetting: naming the setting.
        """
        mail = AppMail(app)
        app.extensions["mail"] = mail
        return mail

    def connect(self) -> "Connection":
        """Give what ``with mail.connect() as connection`` is about; nothing is waited for."""
        return self._of_app().connect()

    @property
    def mailer(self) -> Mailer:
        """The application's `Mailer`, for what Flask-Mail can't do."""
        return self._of_app().mailer

    def _of_app(self) -> "AppMail":
        return of_app(self.app or current_app)


class AppMail(_Sends):
    """What one application sends with: ``app.extensions["mail"]``.

    Attributes:
        mailer: safe to share between threads; a process that is forked has connections of its own.
        default_sender: of messages without one.
        suppress: nothing leaves; may be changed at any time.
        ascii_attachments: their names are written in ASCII.
    """

    def __init__(self, app: Flask) -> None:
        config = app.config
        self.app = app
        self.mailer = Mailer(settings=mailer_settings(config))
        self.default_sender: Mailbox | None = config.get("MAIL_DEFAULT_SENDER")
        self.suppress = bool(config.get("MAIL_SUPPRESS_SEND", app.testing))
        self.ascii_attachments = bool(config.get("MAIL_ASCII_ATTACHMENTS", False))
        weakref.finalize(app, self.mailer.close)
        for sentence in without_effect(config):
            app.logger.warning(sentence)

    def connect(self) -> "Connection":
        """See `Mail.connect`."""
        return Connection(self)

    def preview(self, message: Message) -> bytes:
        """Return what would be sent."""
        return self.mailer.preview(email_of(message, ascii_filenames=self.ascii_attachments))


class Connection:
    """Sends several messages, each by a call of its own: ``with mail.connect() as connection``."""

    def __init__(self, mail: AppMail) -> None:
        self.mail = mail

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Nothing is left to be done."""

    def send(self, message: Message, envelope_from: Mailbox | None = None) -> Receipt | None:
        """Enqueue a message; see `Mail.send`.

        Args:
            envelope_from: where bounces go, instead of to the sender.
        """
        mail = self.mail
        email = email_of(
            message, envelope_from=envelope_from, ascii_filenames=mail.ascii_attachments
        )
        message.receipt = None
        if mail.suppress:
            mail.mailer.check(email)
        else:
            message.receipt = mail.mailer.enqueue(email)
        email_dispatched.send(mail.app, message=message)
        return message.receipt

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt | None:
        """`send` a `Message` with these arguments."""
        return self.send(Message(*args, **kwargs))


def of_app(app: Flask) -> AppMail:
    """Return what an application sends with.

    Raises:
        RuntimeError: it has not been given to `Mail`.
    """
    try:
        mail: AppMail = app.extensions["mail"]
    except KeyError:
        raise RuntimeError("the application has no Mail: call mail.init_app(app)") from None
    return mail
