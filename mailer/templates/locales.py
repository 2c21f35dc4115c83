"""Locales: which folders have the templates for a reader's language."""

import re

from mailer.errors import TemplateError

# a language, then any of script, region and variant: de, de-AT, zh_Hant_TW (RFC 5646, or POSIX)
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,4}")


def is_locale(name: str) -> bool:
    """Whether a folder of this name may be one of a locale."""
    return _LOCALE.fullmatch(name) is not None


def normalised(locale: str) -> str:
    """Spell a locale so that ``de_AT`` and ``de-at`` are the same."""
    return locale.replace("_", "-").lower()


def fallbacks(locale: str) -> list[str]:
    """Name a locale and those that stand in for it: ``de-at``, ``de``.

    Raises:
        TemplateError: it is none.
    """
    if not isinstance(locale, str) or not is_locale(locale):
        raise TemplateError("locale", f"{locale!r} is none; write de or de-AT")
    parts = normalised(locale).split("-")
    return ["-".join(parts[:end]) for end in range(len(parts), 0, -1)]
