"""Where attachments may be fetched from: rules without input and output, for producer and worker.

A URL is read once, strictly, and only what was read of it is used after, so that no other parser
can take it for another host. Sources: RFC 3986 (URLs), RFC 5890 (A-labels); the list of hosts
instead of a list of bad addresses: OWASP, Server-Side Request Forgery Prevention.
"""

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote, unquote, urlsplit

import attrs

from mailer.address import domain_to_ascii
from mailer.errors import AttachmentUnavailable, InvalidSetting

HTTPS_PORT = 443
_MAX_CHARACTERS = 8000  # signed URLs are long; bounds what the patterns below see
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\"  # and the backslash, / to some parsers
_UNSAFE_IN_URI = re.compile(rf"[{_CONTROL}]")
_UNSAFE_IN_URL = re.compile(rf"[{_CONTROL}\s]")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:@/?#%]{1,255})(?::([0-9]{1,5}))?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_AS_WRITTEN = "/%:?#[]@!$&'()*+,;=~"  # may stand in a path or query; all else is percent-encoded
_URI = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)")
_NO_URI = "is not of the form protocol://bucket/key; chains (::) are not read"
_DECODINGS = 3

# Not by reference: what has a rule of its own, and file systems around others, whose paths
# name a second place that no prefix speaks of.
_OTHER_WAYS = {"http": "from_url", "https": "from_url", "file": "from_path", "local": "from_path"}
_REFUSED_PROTOCOLS = {
    *("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask", "data"),
    *("dir", "filecache", "ftp", "generic", "git", "libarchive", "pyscript", "reference"),
    *("simplecache", "tar", "zip"),
}


@attrs.frozen
class HttpsUrl:
    """A URL as it was read: what is connected to, and what is asked for there.

    Attributes:
        host: in A-labels and lower case; an IPv6 address stands without brackets.
        port: 443 where none is written.
        target: path and query, percent-encoded; left out of ``repr``, as it may hold secrets.
    """

    host: str
    port: int
    target: str = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The host, as it stands in ``MAILER_ATTACHMENT_HOSTS``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.name}{self.target}"


def require_allowed_url(url: str, hosts: Collection[str]) -> HttpsUrl:
    """Read a URL, and make sure that it points to one of ``hosts``; a fragment is dropped.

    Each of ``hosts`` is a ``host``, of which port 443 is meant, or ``host:port``.

    Raises:
        AttachmentUnavailable: with the reason; never repeats user, password, path or query.
        InvalidSetting: one of ``hosts`` is malformed.
    """
    if len(url) > _MAX_CHARACTERS:
        raise AttachmentUnavailable(f"the URL is over {_MAX_CHARACTERS} characters long")
    if _UNSAFE_IN_URL.search(url):  # before urlsplit() removes some of them
        raise AttachmentUnavailable(
            "the URL has a control character, a space or a backslash in it; percent-encode it"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AttachmentUnavailable("the URL is malformed; it is like https://host/path") from None
    if parts.scheme != "https":
        raise AttachmentUnavailable("the URL does not begin with https://, which alone is fetched")
    if "@" in parts.netloc:
        raise AttachmentUnavailable("the URL has a user or a password in it; leave them out")
    try:
        host, port = _read_authority(parts.netloc)
    except ValueError:
        raise AttachmentUnavailable("the URL has no host, or a malformed one") from None
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    found = HttpsUrl(host, port, quote(target, safe=_AS_WRITTEN))
    if (host, port) not in {endpoint(entry) for entry in hosts}:
        raise AttachmentUnavailable(
            f"{_shortened(found.name)} is not an allowed host; "
            "add it to MAILER_ATTACHMENT_HOSTS, or use Attachment.from_bytes"
        )
    return found


@lru_cache(maxsize=1024)
def endpoint(entry: str) -> tuple[str, int]:
    """Read an entry of ``MAILER_ATTACHMENT_HOSTS``: host, in A-labels and lower case, and port.

    Raises:
        InvalidSetting: it is neither ``host`` nor ``host:port``.
    """
    try:
        return _read_authority(entry)
    except ValueError:
        raise InvalidSetting(
            f"MAILER_ATTACHMENT_HOSTS: {entry[:60]!a} is neither host nor host:port"
        ) from None


def require_allowed_uri(uri: str, prefixes: Collection[str]) -> None:
    """Make sure that an fsspec URI, such as ``s3://bucket/key``, begins with one of ``prefixes``.

    A prefix that does not end with ``/`` allows itself and what follows after a ``/``.

    Raises:
        AttachmentUnavailable: with the reason; never repeats the key.
        InvalidSetting: one of ``prefixes`` is malformed.
    """
    if len(uri) > _MAX_CHARACTERS:
        raise AttachmentUnavailable(f"the URI is over {_MAX_CHARACTERS} characters long")
    if fault := _uri_fault(uri):
        raise AttachmentUnavailable(f"the URI {fault}")
    if not any(_begins(uri, prefix) for prefix in prefixes):
        protocol, _, rest = uri.partition("://")
        bucket = rest.partition("/")[0].rpartition("@")[2]  # before the @ may be a password
        raise AttachmentUnavailable(
            f"{protocol}://{_shortened(bucket)} or this part of it is not allowed; "
            "add it to MAILER_ATTACHMENT_URIS, or use Attachment.from_bytes"
        )


@lru_cache(maxsize=1024)
def require_prefix(entry: str) -> None:
    """Make sure that an entry of ``MAILER_ATTACHMENT_URIS`` is like ``s3://bucket/``.

    Raises:
        InvalidSetting: it can't begin any URI that is read.
    """
    if fault := _uri_fault(entry):
        raise InvalidSetting(f"MAILER_ATTACHMENT_URIS: {entry[:60]!a} {fault}")


def _read_authority(text: str) -> tuple[str, int]:
    """Read ``host`` or ``host:port``; ValueError where it is neither (IDNAError is one, too)."""
    match = _AUTHORITY.fullmatch(text)
    port = int(match[2] or HTTPS_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError
    if match[1].startswith("["):
        return IPv6Address(match[1][1:-1]).compressed, port
    host = domain_to_ascii(match[1]).lower().removesuffix(".")
    if not _NAME.fullmatch(host):
        raise ValueError
    return host, port


def _uri_fault(uri: str) -> str | None:
    """Say what keeps ``uri`` from being read by any file system, or nothing."""
    decoded = [uri]
    for _ in range(_DECODINGS):  # some file systems decode paths, and some do it twice
        decoded.append(unquote(decoded[-1]))
    match = _URI.fullmatch(uri)
    fault = None
    if any(_UNSAFE_IN_URI.search(text) for text in decoded):
        fault = "has a control character or a backslash in it"
    elif match is None:
        fault = _NO_URI
    elif way := _OTHER_WAYS.get(match[1]):
        fault = f"begins with {match[1]}://; use Attachment.{way}"
    elif match[1] in _REFUSED_PROTOCOLS:
        fault = f"begins with {match[1]}://, which is not read; use Attachment.from_bytes"
    elif match[2][:1] in {"", "/"} or "::" in uri or "://" in match[2]:
        fault = _NO_URI
    elif "?" in uri or "#" in uri:
        fault = "has a ? or # in it; options belong into fsspec's configuration"
    elif decoded[-1] != decoded[-2]:
        fault = "is percent-encoded several times"
    elif any({".", ".."} & set(text.split("/")) for text in decoded):
        fault = "has . or .. between slashes"
    return fault


def _begins(uri: str, prefix: str) -> bool:
    require_prefix(prefix)
    return uri == prefix or uri.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def _shortened(text: str) -> str:
    """Show somebody else's text in an error message: escaped, and never endless."""
    shown = text if text.isascii() else ascii(text)[1:-1]
    return shown if len(shown) <= 100 else f"{shown[:99]}…"
