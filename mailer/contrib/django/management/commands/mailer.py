"""``manage.py mailer``: the ``mailer`` command, with Django's settings."""

from argparse import REMAINDER
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mailer.cli import main
from mailer.contrib.django.configuration import options_of, settings_of_django
from mailer.errors import MailerError
from mailer.loading import export
from mailer.settings import Settings


class Command(BaseCommand):
    """Hands its arguments on."""

    help = "Run workers, and see what became of each email. Without arguments it lists commands."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take all that follows."""
        parser.add_argument("arguments", nargs=REMAINDER, help="as the command mailer takes them")

    def handle(self, *_: Any, arguments: list[str], **__: Any) -> None:
        """Run the command."""
        try:
            given = {**settings_of_django(), **options_of("default")}
            export({name: given[name] for name in Settings.model_fields.keys() & given.keys()})
        except MailerError as error:
            raise CommandError(str(error)) from None
        try:
            main(arguments, "manage.py mailer")
        except SystemExit as end:  # which would end call_command's caller as well
            if end.code:
                raise
