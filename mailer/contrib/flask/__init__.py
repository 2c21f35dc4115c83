"""For users of Flask-Mail: the same names, and emails that leave through the queue.

>>> from mailer.contrib.flask import Mail, Message
"""

try:
    import flask as _flask  # noqa: F401 - an extra: to say which one is missing
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "mailer.contrib.flask needs Flask: pip install 'celery-mailer[flask]'"
    ) from None

from mailer.contrib.flask.extension import AppMail, Connection, Mail, email_dispatched, signals
from mailer.contrib.flask.message import Attachment, BadHeaderError, Message

__all__ = [
    "AppMail",
    "Attachment",
    "BadHeaderError",
    "Connection",
    "Mail",
    "Message",
    "email_dispatched",
    "signals",
]
