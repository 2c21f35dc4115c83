"""What the settings of an application mean; see docs/flask.md for each."""

from collections.abc import Iterator, Mapping
from typing import Any

from mailer.loading import load_settings
from mailer.settings import Settings

_PREFIX = "MAILER_"
_OF_THE_RELAY = (
    "MAIL_SERVER",
    "MAIL_PORT",
    "MAIL_USE_TLS",
    "MAIL_USE_SSL",
    "MAIL_USERNAME",
    "MAIL_PASSWORD",
)


def mailer_settings(config: Mapping[str, Any]) -> Settings:
    """Read the mailer's settings, of which those that stand in ``config`` win.

    Raises:
        InvalidSetting: naming the setting.
    """
    given = {
        name.removeprefix(_PREFIX).lower(): value
        for name, value in config.items()
        if name.startswith(_PREFIX)
    }
    return load_settings(**given)


def without_effect(config: Mapping[str, Any]) -> Iterator[str]:
    """Say which settings have no effect in an application, and where each belongs."""
    if given := [name for name in _OF_THE_RELAY if config.get(name)]:
        yield (
            f"{', '.join(given)}: without effect in the application, for workers send; take this "
            f"out, and give the workers MAILER_RELAY_URL={relay_url(config)}"
        )
    if config.get("MAIL_MAX_EMAILS"):
        yield (
            "MAIL_MAX_EMAILS: without effect in the application, for workers send; take it out, "
            "and give the relay messages_per_connection in the workers' mailer.toml"
        )
    if config.get("MAIL_DEBUG"):
        yield (
            "MAIL_DEBUG: without effect in the application, for workers send; take it out, and "
            "give the workers MAILER_LOG_LEVEL=DEBUG"
        )


def relay_url(config: Mapping[str, Any]) -> str:
    """Write ``MAIL_SERVER`` and its like as the URL of a relay, but for user and password."""
    host = config.get("MAIL_SERVER") or "127.0.0.1"
    port = config.get("MAIL_PORT") or 25
    signs_in = bool(config.get("MAIL_USERNAME"))
    place = f"{'USER:PASSWORD@' if signs_in else ''}{f'[{host}]' if ':' in host else host}:{port}"
    if config.get("MAIL_USE_SSL"):
        return f"smtps://{place}"
    # a password never goes in the clear, although Flask-Mail would have sent it
    secure = signs_in or config.get("MAIL_USE_TLS")
    return f"smtp://{place}?starttls={'required' if secure else 'opportunistic'}"
