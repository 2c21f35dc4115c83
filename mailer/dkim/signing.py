"""Signing by the DKIM keys that the settings name."""

from collections.abc import Mapping, Sequence

from mailer.dkim.keys import DkimKey, keys_for
from mailer.dkim.signature import BodyHash, signature_fields
from mailer.errors import InvalidSetting
from mailer.message import Message
from mailer.mime import Draft
from mailer.sections import DkimKeySettings
from mailer.settings import Settings


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
                raise InvalidSetting(f"MAILER_DKIM: {error}") from None
            keys.setdefault(key.domain, []).append(key)
    return keys


def signed(draft: Draft, message: Message, keys: Mapping[str, Sequence[DkimKey]]) -> Draft:
    """Put signatures before the header, by the keys of the author's domain.

    Args:
        draft: with nothing in it that is yet to be read.
    """
    chosen = keys_for(message.from_email.domain, keys)
    body = BodyHash()
    for part in draft.body:
        if isinstance(part, bytes):
            body.update(part)
    return with_signatures(draft, message, chosen, body)


def with_signatures(
    draft: Draft, message: Message, keys: Sequence[DkimKey], body: BodyHash
) -> Draft:
    """Put signatures before the header; the same ones at every attempt.

    Args:
        body: that all of the draft's body has been through.
    """
    fields = signature_fields(draft.header, body.digest(), keys, message.date)
    return Draft(fields + draft.header, draft.body)


def _pem(entry: DkimKeySettings) -> bytes:
    if (entry.key is None) == (entry.key_file is None):
        raise InvalidSetting(f"selector {entry.selector!r} needs key_file or key, one of them")
    if entry.key is not None:
        return entry.key.get_secret_value().encode()
    assert entry.key_file is not None  # noqa: S101 - for the type checker
    return entry.key_file.read_bytes()
