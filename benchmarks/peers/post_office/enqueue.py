"""Queue letters with django-post-office: ``enqueue.py [--many] COUNT``.

One by one, as views do, or 100 at a time by ``send_many``, which takes no attachments.
"""

import os
import sys

import django
from django.core.files.base import ContentFile
from django.core.management import call_command
from workload import ATTACHMENT_NAME, ATTACHMENT_TYPE, Letter, run

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from post_office import mail  # noqa: E402 - models want Django to be set up

CHUNK = 100


def fields(letter: Letter) -> dict[str, object]:
    """Return the arguments of ``mail.send``."""
    arguments = {
        "recipients": [letter["to"]],
        "sender": letter["sender"],
        "subject": letter["subject"],
        "message": letter["text"],
        "html_message": letter["html"],
    }
    if letter["attachment"]:
        file = ContentFile(letter["attachment"])
        arguments["attachments"] = {ATTACHMENT_NAME: {"file": file, "mimetype": ATTACHMENT_TYPE}}
    return arguments


def one_by_one(letters: list[Letter]) -> None:
    """Queue each letter in a transaction of its own."""
    for letter in letters:
        mail.send(**fields(letter))


def many(letters: list[Letter]) -> None:
    """Queue letters in chunks, where they have no attachments."""
    if letters[0]["attachment"]:
        one_by_one(letters)
        return
    for begin in range(0, len(letters), CHUNK):
        mail.send_many([fields(letter) for letter in letters[begin : begin + CHUNK]])


call_command("migrate", verbosity=0)
run(many if "--many" in sys.argv else one_by_one)
