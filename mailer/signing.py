"""The DKIM keys that the settings name, read and checked."""

from collections.abc import Mapping, Sequence

from mailer.errors import InvalidSetting
from mailer.mime.dkim import DkimKey
from mailer.settings import DkimKeySettings, Settings


def dkim_keys(settings: Settings) -> Mapping[str, Sequence[DkimKey]]:
    """Load every key, by its domain in A-labels.

    Raises:
        InvalidSetting: naming the domain and the selector whose key can't be used.
    """
    keys: dict[str, list[DkimKey]] = {}
    for domain, entries in settings.dkim.items():
        for entry in entries:
            try:
                key = DkimKey.load(domain, entry.selector, _pem(entry))
            except (InvalidSetting, OSError) as error:
                place = f"MAILER_DKIM: the key of {domain} with selector {entry.selector!r}"
                raise InvalidSetting(f"{place}: {error}") from None
            keys.setdefault(key.domain, []).append(key)
    return keys


def _pem(entry: DkimKeySettings) -> bytes:
    if (entry.key is None) == (entry.key_file is None):
        raise InvalidSetting("needs key_file or key, one of them")
    if entry.key is not None:
        return entry.key.get_secret_value().encode()
    assert entry.key_file is not None  # noqa: S101 - for the type checker
    return entry.key_file.read_bytes()
