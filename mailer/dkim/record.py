"""Whether the public key that DNS shows belongs to the key that signs (RFC 6376, 3.6)."""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence

from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailer.dkim.keys import DkimKey

LOOKUP_SECONDS = 3.0

_FOLDING = re.compile(r"[ \t\r\n]+")


class LookupFailed(Exception):
    """DNS gave no answer; says why."""


def problem_with(key: DkimKey, lookup: Callable[[str], Sequence[str]] | None = None) -> str | None:
    """Say what keeps verifiers from accepting a key's signatures, or nothing. Never raises.

    Args:
        key: that signs.
        lookup: gives the TXT records of a name, or raises `LookupFailed`; DNS if left out.
    """
    name = key.dns_name
    try:
        records = (lookup or txt_records)(name)
    except LookupFailed as failure:
        return f"the DKIM key at {name} could not be looked up: {failure}"
    if not records:
        return f"no DKIM key is published: add a TXT record at {name} with {key.dns_record}"
    if len(records) > 1:  # what verifiers do then is undefined (RFC 6376, 3.6.2.2)
        return f"{name} has {len(records)} TXT records: leave only {key.dns_record}"
    if fault := _fault(records[0], key):
        return f"the DKIM record at {name} {fault}: it should be {key.dns_record}"
    return None


def txt_records(name: str) -> list[str]:
    """Look up the TXT records of a name, the strings of each joined (RFC 6376, 3.6.2.2).

    Raises:
        LookupFailed: if no answer came within `LOOKUP_SECONDS`, or dnspython is missing.
    """
    try:
        import dns.exception  # noqa: PLC0415 - an optional dependency
        import dns.resolver  # noqa: PLC0415
    except ImportError:
        raise LookupFailed("it needs dnspython; pip install 'celery-mailer[dns]'") from None
    try:
        answer = dns.resolver.resolve(f"{name}.", "TXT", lifetime=LOOKUP_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError) as error:
        raise LookupFailed(str(error) or type(error).__name__) from None
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]


def _fault(record: str, key: DkimKey) -> str | None:
    """Compare a record with the key: what is wrong with it, or nothing (RFC 6376, 3.6.1)."""
    tags = _tags(record)
    kind = key.algorithm.removesuffix("-sha256")
    public = tags.get("p")
    fault = None
    if tags.get("v", "DKIM1") != "DKIM1" or public is None:
        fault = "is no DKIM key"
    elif not public:
        fault = "says that the key is revoked (its p= is empty)"
    elif tags.get("k", "rsa") != kind:
        fault = f"has a key for {tags.get('k', 'rsa')[:20]!a}, not for {kind}"
    elif not _same_key(public, key):
        fault = "has another key"
    elif "sha256" not in tags.get("h", "sha256").split(":"):
        fault = "does not allow SHA-256 (its h=)"
    elif not {"*", "email"} & set(tags.get("s", "*").split(":")):
        fault = "is not for email (its s=)"
    elif "y" in tags.get("t", "").split(":"):
        fault = "says that the domain only tests DKIM (its t=y), so that signatures do not count"
    return fault


def _tags(record: str) -> Mapping[str, str]:
    """Read ``tag=value; tag=value`` (RFC 6376, 3.2); white space matters in no tag of ours."""
    pairs = (part.partition("=") for part in _FOLDING.sub("", record).split(";"))
    return {tag: value for tag, equals, value in pairs if equals}


def _same_key(published: str, key: DkimKey) -> bool:
    """Compare what p= holds, of which there are two forms for RSA."""
    try:
        data = b64decode(published)
        if data == key.public_bytes:
            return True
        return load_der_public_key(data) == load_der_public_key(key.public_bytes)
    except Exception:  # noqa: BLE001 - whatever the parsers make of someone's text
        return False
