"""The relay: where mail is handed over, how, and whether it is worth trying now."""

import ipaddress
import ssl
import time
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from mailer.errors import InvalidSetting

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_MALFORMED = (
    "MAILER_RELAY_URL: looks like smtp://user:password@host:587 or smtps://host, with special "
    "characters of the password percent-encoded (@ as %40, / as %2F, # as %23, ? as %3F)"
)


class Tls(StrEnum):
    """How a session is secured (RFC 3207, RFC 8314)."""

    REQUIRED = "required"  # STARTTLS, or nothing is said
    IMPLICIT = "implicit"  # from the first byte, as on port 465
    OPPORTUNISTIC = "opportunistic"  # STARTTLS where offered; open to an attacker who hides it
    OFF = "off"


@attrs.frozen
class Relay:
    """A relay, as ``MAILER_RELAY_URL`` describes it."""

    host: str
    port: int
    tls: Tls
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Relay":
        """Read ``smtp://user:password@host:587?starttls=required`` or ``smtps://host``.

        TLS is required by default, but for loopback addresses.

        Raises:
            InvalidSetting: with what to change; the URL itself is never repeated.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            # Python's message may quote a part of the password as the port
            raise InvalidSetting(_MALFORMED) from None
        if (
            parts.scheme not in {"smtp", "smtps"}
            or not parts.hostname
            or parts.path not in {"", "/"}
            or parts.fragment
        ):
            raise InvalidSetting(_MALFORMED)
        tls = _tls(
            parts.scheme, parts.hostname, dict(parse_qsl(parts.query, keep_blank_values=True))
        )
        if bool(parts.username) != bool(parts.password):
            raise InvalidSetting("MAILER_RELAY_URL: has a user or a password, but not both")
        if (
            parts.password
            and tls in {Tls.OFF, Tls.OPPORTUNISTIC}
            and not _is_loopback(parts.hostname)
        ):
            raise InvalidSetting(
                f"MAILER_RELAY_URL: starttls={tls} would send the password in the clear; "
                "use starttls=required or smtps://"
            )
        return cls(
            host=parts.hostname,
            port=port or (465 if tls is Tls.IMPLICIT else 25),
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    @property
    def name(self) -> str:
        """The relay as it is shown: never with its password."""
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Make the context for all sessions (it takes some 40 ms): certificates are verified."""
        return None if self.tls is Tls.OFF else ssl.create_default_context()


def _tls(scheme: str, host: str, options: dict[str, str]) -> Tls:
    asked = options.pop("starttls", None)
    if options:
        # not named: it may be a part of the password
        raise InvalidSetting("MAILER_RELAY_URL: has an option other than starttls")
    if scheme == "smtps":
        if asked is not None:
            raise InvalidSetting("MAILER_RELAY_URL: smtps:// is TLS already; leave out starttls")
        return Tls.IMPLICIT
    if asked is None:
        return Tls.OFF if _is_loopback(host) else Tls.REQUIRED
    if asked not in {Tls.REQUIRED, Tls.OPPORTUNISTIC, Tls.OFF}:
        raise InvalidSetting("MAILER_RELAY_URL: starttls is required, opportunistic or off")
    return Tls(asked)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Breaker:
    """Pauses a relay that is at fault: 1 s at first, then twice as long, up to a minute."""

    def __init__(self) -> None:
        self._faults = 0
        self._until = 0.0

    @property
    def pause(self) -> float:
        """Seconds until the relay may be tried again; 0 where it may be now."""
        return max(0.0, self._until - time.monotonic())

    @property
    def probing(self) -> bool:
        """Whether the last thing heard of the relay was a fault: try it with one job, not many."""
        return self._faults > 0

    def fault(self) -> float:
        """Note a fault of the relay; return the pause. Faults during a pause don't add up."""
        if not self.pause:
            pause = _FIRST_PAUSE * 2 ** min(self._faults, 16)  # 2**1024 would be no float
            self._until = time.monotonic() + min(pause, _LONGEST_PAUSE)
            self._faults += 1
        return self.pause

    def success(self) -> bool:
        """Note that the relay works; return whether that is news."""
        was_at_fault, self._faults, self._until = self.probing, 0, 0.0
        return was_at_fault
