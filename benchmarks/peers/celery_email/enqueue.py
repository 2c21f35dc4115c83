"""Queue letters with django-celery-email: ``enqueue.py [--many] COUNT``.

One by one, as views do, or all by one ``send_messages``, which the backend cuts into chunks of
CELERY_EMAIL_CHUNK_SIZE, each of them a task.
"""

import sys

import django
import project  # noqa: F401 - makes the Celery application the current one
from django.core.mail import EmailMultiAlternatives, get_connection
from workload import ATTACHMENT_NAME, ATTACHMENT_TYPE, Letter, run


def message(letter: Letter) -> EmailMultiAlternatives:
    """Write the letter as Django has it."""
    email = EmailMultiAlternatives(
        subject=letter["subject"],
        body=letter["text"],
        from_email=letter["sender"],
        to=[letter["to"]],
    )
    if letter["html"]:
        email.attach_alternative(letter["html"], "text/html")
    if letter["attachment"]:
        email.attach(ATTACHMENT_NAME, letter["attachment"], ATTACHMENT_TYPE)
    return email


def one_by_one(letters: list[Letter]) -> None:
    """Send each letter, as Django's documentation does."""
    for letter in letters:
        message(letter).send()


def many(letters: list[Letter]) -> None:
    """Send them all in one call."""
    get_connection().send_messages([message(letter) for letter in letters])


django.setup()
run(many if "--many" in sys.argv else one_by_one)
