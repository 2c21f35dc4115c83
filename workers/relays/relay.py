"""A relay: where mail is handed over, and how."""

import ipaddress
import ssl
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from mailer.errors import InvalidSetting
from mailer.sections import RelaySettings
from mailer.settings import Settings
from workers.relays.tokens import Token

# How many times `connections` may be open besides, while messages wait for late answers. A relay
# that takes 1 s for a message and never answers 1 % of them needs 6, for each must be waited for
# 600 s; and more once those are tried again (docs/decisions/0017).
_LATE = 10
_PORTS = {"smtp": 25, "smtps": 465, "lmtp": 24}
_FORMS = (
    "looks like smtp://user:password@host:587, smtps://host, lmtp://host:24 or "
    "lmtp+unix:///run/lmtp.sock, with special characters of the password percent-encoded "
    "(@ as %40, / as %2F, # as %23, ? as %3F)"
)


class Tls(StrEnum):
    """How a session is secured (RFC 3207, RFC 8314)."""

    REQUIRED = "required"  # STARTTLS, or nothing is said
    IMPLICIT = "implicit"  # from the first byte, as on port 465
    OPPORTUNISTIC = "opportunistic"  # STARTTLS where offered; open to an attacker who hides it
    OFF = "off"


@attrs.frozen
class Certificates:
    """Whom to trust, and how to prove who we are: files in PEM form.

    Attributes:
        ca_file: the only issuers trusted, instead of those of the system.
        client: our own certificate with its chain, and its key where that is another file.
    """

    ca_file: Path | None = None
    client: Path | None = None
    client_key: Path | None = None


@attrs.frozen(kw_only=True)
class Relay:
    """One relay.

    Attributes:
        name: as it is shown, and as routes name it.
        socket: of a server on this machine, instead of host and port.
        lmtp: it speaks LMTP (RFC 2033).
        token: makes the access tokens for XOAUTH2, instead of a password.
        connections: the most sessions of one worker process.
        late_connections: how many more, while messages wait for late answers.
        messages_per_connection, connection_seconds: after which a session is not used again.
        without: extensions that are not used, although offered.
    """

    name: str
    host: str
    port: int
    tls: Tls
    socket: str | None = None
    lmtp: bool = False
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    token: Token | None = None
    certificates: Certificates = Certificates()
    connections: int = 20
    late_connections: int = 0
    messages_per_connection: int = 1000
    connection_seconds: float = 600.0
    without: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, url: str, setting: str = "MAILER_RELAY_URL", name: str = "") -> "Relay":
        """Read ``smtp://user:password@host:587?starttls=required`` and its like.

        TLS is required by default, but for loopback addresses and Unix sockets.

        Args:
            setting: where the URL stands, for errors.
            name: without one, host and port.

        Raises:
            InvalidSetting: with what to change; the URL itself is never repeated.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Python's message may quote a part of the password as the port
            raise InvalidSetting(f"{setting}: {_FORMS}") from None
        scheme, _, unix = parts.scheme.partition("+")
        _check_form(parts, scheme, unix, setting)
        socket = unquote(parts.path) if unix else None
        host = parts.hostname or "localhost"
        tls = _tls(scheme, parts, setting, here=bool(socket) or _is_loopback(host))
        port = port or _PORTS[scheme]
        return cls(
            name=name or socket or f"{host}:{port}",
            host=host,
            port=port,
            tls=tls,
            socket=socket,
            lmtp=scheme == "lmtp",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    def check(self, setting: str) -> None:
        """Refuse what contradicts itself.

        Raises:
            InvalidSetting: naming ``setting``.
        """
        if self.token and self.password:
            raise InvalidSetting(f"{setting}: has a password in its URL and a token; use one")
        if bool(self.username) != bool(self.token or self.password):
            wanted = "a user" if self.token or self.password else "a password or a token"
            raise InvalidSetting(f"{setting}: lacks {wanted} to sign in with")
        here = self.socket is not None or _is_loopback(self.host)
        if self.username and self.tls in {Tls.OFF, Tls.OPPORTUNISTIC} and not here:
            raise InvalidSetting(
                f"{setting}: starttls={self.tls} would send the password in the clear; "
                "use starttls=required or smtps://"
            )
        if self.tls is Tls.OFF and self.certificates != Certificates():
            raise InvalidSetting(f"{setting}: has certificates, but no TLS to use them in")
        self.tls_context(setting)

    def tls_context(self, setting: str = "relay") -> ssl.SSLContext | None:
        """Return the context for all sessions: certificates are verified.

        Raises:
            InvalidSetting: a file of certificates can't be used.
        """
        return None if self.tls is Tls.OFF else _tls_context(self.certificates, setting)


def relays(settings: Settings) -> Mapping[str, Relay]:
    """Read all relays of the settings, in their order.

    Raises:
        InvalidSetting: naming the one that is wrong, and what to change.
    """
    if settings.relays and "relay_url" in settings.model_fields_set:
        raise InvalidSetting(
            "MAILER_RELAY_URL: is set, and so is [relays]; make it a relay there, or leave one out"
        )
    found = []
    for name, table in settings.relays.items():
        found.append((f"relays.{name}", _from_table(name, table, settings)))
    if not found:
        relay = Relay.parse(settings.relay_url.get_secret_value())
        most, late = settings.connections, settings.late_connections
        relay = attrs.evolve(relay, connections=most, late_connections=_late(most, late))
        found.append(("MAILER_RELAY_URL", relay))
    for setting, relay in found:
        relay.check(setting)
    return {relay.name: relay for _, relay in found}


def _from_table(name: str, table: RelaySettings, settings: Settings) -> Relay:
    relay = Relay.parse(table.url.get_secret_value(), f"relays.{name}.url", name)
    connections, late = table.connections or settings.connections, table.late_connections
    if late is None:
        late = 0 if table.max_connections else settings.late_connections
    return attrs.evolve(
        relay,
        token=Token.read(table, f"relays.{name}"),
        certificates=Certificates(table.ca_file, table.client_certificate, table.client_key),
        connections=connections,
        late_connections=_late(connections, late),
        messages_per_connection=table.messages_per_connection,
        connection_seconds=table.connection_seconds,
        without=frozenset(extension.lower() for extension in table.without),
    )


def _late(connections: int, late: int | None) -> int:
    return _LATE * connections if late is None else late


def _check_form(parts: SplitResult, scheme: str, unix: str, setting: str) -> None:
    known = scheme in _PORTS and unix in {"", "unix"} and not parts.fragment
    if unix:
        placed = scheme != "smtps" and parts.path.startswith("/") and not parts.hostname
    else:
        placed = bool(parts.hostname) and parts.path in {"", "/"}
    if not known or not placed or (parts.password and not parts.username):
        raise InvalidSetting(f"{setting}: {_FORMS}")


def _tls(scheme: str, parts: SplitResult, setting: str, *, here: bool) -> Tls:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    asked = options.pop("starttls", None)
    if options:
        # not named: it may be a part of the password
        raise InvalidSetting(f"{setting}: has an option other than starttls")
    if scheme == "smtps":
        if asked is not None:
            raise InvalidSetting(f"{setting}: smtps:// is TLS already; leave out starttls")
        return Tls.IMPLICIT
    if asked is None:
        return Tls.OFF if here else Tls.REQUIRED
    if asked not in {Tls.REQUIRED, Tls.OPPORTUNISTIC, Tls.OFF}:
        raise InvalidSetting(f"{setting}: starttls is required, opportunistic or off")
    return Tls(asked)


@cache  # a context takes some 40 ms to make
def _tls_context(certificates: Certificates, setting: str) -> ssl.SSLContext:
    field = "ca_file"
    try:
        context = ssl.create_default_context(cafile=certificates.ca_file)
        field = "client_certificate"
        if certificates.client:
            # without a function for it, OpenSSL would ask the terminal for a passphrase
            context.load_cert_chain(certificates.client, certificates.client_key, lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting(f"{setting}.{field}: can't be used: {error}") from None
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
