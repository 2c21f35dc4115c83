"""The app: pages for Django's admin, and ``manage.py mailer``."""

from typing import Any

from django.apps import AppConfig
from django.core import checks

from mailer.contrib.django.configuration import configuration, options_of
from mailer.errors import InvalidSetting


class MailerApp(AppConfig):
    """Needs no table, and no migration."""

    name = "mailer.contrib.django"
    label = "mailer"
    verbose_name = "Mailer"

    def ready(self) -> None:
        """Have ``manage.py check`` look at the settings."""
        checks.register(_check_settings)


def _check_settings(**_: Any) -> list[checks.CheckMessage]:
    try:
        configuration(options_of("default"))
    except InvalidSetting as error:
        return [checks.Error(str(error), id="mailer.E001")]
    return []
