"""How settings are read, and what is said where they are wrong."""

import json
import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from mailer.errors import InvalidEmail, InvalidSetting
from mailer.settings import CONFIG_VARIABLE, Settings


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` win over environment and file.

    Raises:
        InvalidSetting: naming the variable and what is wrong with it.
    """
    config = os.environ.get(CONFIG_VARIABLE)
    if config is not None and not Path(config).is_file():
        raise InvalidSetting(f"{CONFIG_VARIABLE}: there is no file {config}")
    try:
        settings = Settings(**overrides)
        settings.retry_policy  # noqa: B018 - the policy checks what the fields can't
        _check_policies(settings)
        _check_sandbox(settings)
    except ValidationError as error:
        raise InvalidSetting("; ".join(_sentence(e) for e in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSetting(f"MAILER_CONFIG: mailer.toml can't be read: {error}") from None
    except InvalidEmail as error:
        variable = error.field.upper().replace(".", "_")
        raise InvalidSetting(f"MAILER_{variable}: {error.reason}") from None
    return settings


def _check_policies(settings: Settings) -> None:
    for name in settings.retry_policies:
        try:
            settings.named_policy(name)
        except InvalidEmail as error:
            loc = ("retry_policies", name, error.field.removeprefix("retry."))
            raise InvalidSetting(f"{_place(loc)}: {error.reason}") from None


def _check_sandbox(settings: Settings) -> None:
    """Refuse what would be taken for a safeguard, and is none."""
    for name in ("allow_domains", "redirect_to"):
        if getattr(settings, name) and not settings.sandbox:
            raise InvalidSetting(
                f"MAILER_{name.upper()}: counts in sandbox mode only; set MAILER_SANDBOX=true, or "
                "leave it out"
            )


def stray_variables() -> dict[str, str | None]:
    """Name the ``MAILER_*`` variables that are no settings, and what each may be meant for."""
    known = [f"MAILER_{name.upper()}" for name in Settings.model_fields] + [CONFIG_VARIABLE]
    stray = [name for name in os.environ if name.startswith("MAILER_") and name not in known]
    return {name: next(iter(get_close_matches(name, known, n=1)), None) for name in stray}


def export(given: Mapping[str, Any]) -> None:
    """Set variables for settings, so that they count in this process and those that it starts.

    Raises:
        InvalidSetting: naming the variable and what is wrong with it.
    """
    settings = load_settings(**given)
    for name, value in given.items():
        if value is not None:
            os.environ[f"MAILER_{name.upper()}"] = _written(getattr(settings, name), value)


def _written(read: Any, given: Any) -> str:
    """Write a value as its variable has it."""
    match read:
        case SecretStr():
            return read.get_secret_value()
        case (Path(), *_):
            return os.pathsep.join(map(str, read))
        case (str() | float(), *_):
            return ",".join(map(str, read))
        case str() | int() | float():
            return str(read)
        case _:  # tables, as they were given: those that were read hide their passwords
            return json.dumps(given, default=str)


@cache
def current_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def _sentence(error: Any) -> str:
    # the value is left out on purpose: it may hold a password
    place, name = _place(error["loc"]), str(error["loc"][0])
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}"
    if len(error["loc"]) > 1:
        return f"{place}: is no setting"
    return f"{place} (in mailer.toml: {name.lower()}) is no setting of the mailer"


def _place(loc: tuple[str | int, ...]) -> str:
    """Name a setting by its variable and, within tables, by the key in ``mailer.toml``."""
    variable, *keys = loc
    name = f"MAILER_{str(variable).upper()}"
    if not any(isinstance(key, str) for key in keys):
        return name
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return f"{name} (in mailer.toml: {variable}{path})"
