"""Which settings count: options of a backend, over Django's ``MAILER``, over the environment."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import attrs
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from mailer.client import Mailer
from mailer.email import Email
from mailer.errors import InvalidArgument, InvalidEmail, InvalidSetting
from mailer.loading import load_settings
from mailer.settings import Settings

# the fields of `Email` that messages may have by default
EMAIL_FIELDS = ("envelope_sender", "priority", "tags", "relay", "delivery", "retry")
OPTIONS = frozenset({*Settings.model_fields, *EMAIL_FIELDS, "on_commit"})


@attrs.frozen
class Configuration:
    """What one backend works by.

    Attributes:
        mailer: shared with all whose settings are the same, as are its connections.
        defaults: fields of `Email`, for messages that say nothing else.
        on_commit: the database whose transaction decides; None: messages are enqueued at once.
    """

    mailer: Mailer
    defaults: Mapping[str, Any]
    on_commit: str | None


_known: dict[str, Configuration] = {}


def configuration(options: Mapping[str, Any]) -> Configuration:
    """Read the settings that Django has; ``options``, named as in `OPTIONS`, win over ``MAILER``.

    Raises:
        InvalidSetting: naming the one that is wrong.
    """
    given = {**settings_of_django(), **options}
    key = repr(sorted(given.items()))
    if key not in _known:
        _known.setdefault(key, _read(given))
    return _known[key]


def get_mailer(using: str = "default") -> Mailer:
    """Return the mailer that Django's settings name, with its connections; never close it.

    Args:
        using: a name in ``MAILERS``, whose options count as well (Django 6.1).

    Raises:
        InvalidArgument, InvalidSetting: naming what is wrong.
    """
    return configuration(options_of(using)).mailer


def options_of(using: str) -> dict[str, Any]:
    """Read those of our options that ``MAILERS`` has under a name; there need be no "default".

    Raises:
        InvalidArgument: there is no such name.
    """
    mailers: Mapping[str, Any] = getattr(settings, "MAILERS", {})
    if using not in mailers and using != "default":
        raise InvalidArgument("using", f"{using!r} is not in MAILERS")
    options = mailers.get(using, {}).get("OPTIONS", {})
    return {name: value for name, value in options.items() if name in OPTIONS}


def settings_of_django() -> dict[str, Any]:
    """Read ``MAILER``, with its names in small letters."""
    given = getattr(settings, "MAILER", {})
    if not isinstance(given, Mapping):
        raise InvalidSetting('MAILER: is a dict, such as {"REDIS_URL": "redis://…"}')
    known = {option.upper(): option for option in OPTIONS}
    for name in given:
        if name not in known:
            meant = get_close_matches(str(name).upper(), known, n=1)
            hint = f"; do you mean {meant[0]!r}?" if meant else ""
            raise InvalidSetting(f"MAILER[{name!r}]: is no setting of the mailer{hint}")
    return {known[name]: value for name, value in given.items()}


def _read(given: Mapping[str, Any]) -> Configuration:
    ours = {name: value for name, value in given.items() if name in Settings.model_fields}
    defaults = {name: value for name, value in given.items() if name in EMAIL_FIELDS}
    try:
        Email(from_email="a@example.com", to="a@example.com", **defaults)
    except InvalidEmail as error:
        name = error.field.partition("[")[0].upper()
        raise InvalidSetting(f"MAILER[{name!r}]: {error.reason}") from None
    return Configuration(
        Mailer(settings=load_settings(**ours)), defaults, _database(given.get("on_commit", False))
    )


def _database(on_commit: bool | str) -> str | None:
    if isinstance(on_commit, bool):
        return DEFAULT_DB_ALIAS if on_commit else None
    if on_commit not in settings.DATABASES:
        raise InvalidSetting("MAILER['ON_COMMIT']: is True, False or a name in DATABASES")
    return on_commit
