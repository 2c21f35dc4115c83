"""For Django: ``EMAIL_BACKEND = "mailer.contrib.django.EmailBackend"``; see docs/django.md.

As an app, ``"mailer.contrib.django"``, it brings pages for the admin and ``manage.py mailer``.
"""

from importlib.util import find_spec

if find_spec("django") is None:
    raise ModuleNotFoundError(
        "mailer.contrib.django needs Django: pip install 'celery-mailer[django]'"
    )

from mailer.contrib.django.backend import EmailBackend
from mailer.contrib.django.configuration import get_mailer
from mailer.contrib.django.messages import MailerMessage

__all__ = ["EmailBackend", "MailerMessage", "get_mailer"]
