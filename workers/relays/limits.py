"""The limits of the settings: which of them a message must keep."""

import math
import re
from collections.abc import Collection, Container, Mapping, Sequence

import attrs
import msgspec

from mailer.errors import InvalidSetting
from mailer.sections import LimitSettings
from mailer.settings import Settings
from mailer.store.limits import Limit, Rate
from workers.relays.routes import Group, domain_of, pattern

_RATE = re.compile(r"(\d{1,9})\s*/\s*(s|sec|second|m|min|minute|h|hour|d|day)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LEEWAY = 0.99  # of an interval: a message that is late by less never makes one too many
EACH = "*"


class Limited(msgspec.Struct, frozen=True):
    """Recipients who may share a transaction, as far as limits go.

    Attributes:
        limit: of their domains, or None.
    """

    recipients: tuple[str, ...]
    limit: Limit | None


@attrs.frozen
class Limits:
    """All limits of the settings.

    Attributes:
        relays: by the relay's name.
        domains: by domain, in A-labels; ``*`` for each other one.
    """

    relays: Mapping[str, Limit]
    domains: Mapping[str, Limit]

    @classmethod
    def read(cls, settings: Settings) -> "Limits":
        """Take the limits out of the settings.

        Raises:
            InvalidSetting: naming the limit and what is wrong with it.
        """
        relays = {
            name: limit
            for name, table in settings.relays.items()
            if (limit := _of_relay(name, table.rate, table.burst, table.max_connections))
        }
        domains: dict[str, Limit] = {}
        for name, table in settings.limits.items():
            for domain in _domains(table, name):
                if domain in domains:
                    other = domains[domain].name
                    raise InvalidSetting(f"limits.{name}: {domain!r} is in {other!r} already")
                domains[domain] = _of_domains(name, table)
        return cls(relays, domains)

    def divide(self, group: Group, paced: Collection[str] = ()) -> list[Limited]:
        """Divide recipients by the limits of their domains.

        Args:
            paced: names of limits whose servers want less than the settings allow.
        """
        if not self.domains and not paced:
            return [Limited(group.recipients, None)]
        found: dict[str, tuple[Limit | None, list[str]]] = {}
        for recipient in group.recipients:
            limit = self.of_domain(domain_of(recipient), paced)
            found.setdefault(limit.name if limit else "", (limit, []))[1].append(recipient)
        return [Limited(tuple(people), limit) for limit, people in found.values()]

    def of_domain(self, domain: str, paced: Container[str] = ()) -> Limit | None:
        """Find the limit of a domain; where there is none, one for its learned pace, if any."""
        if limit := self.domains.get(domain):
            return limit
        own = f"domain {domain}"
        if each := self.domains.get(EACH):
            return attrs.evolve(each, name=own)
        return Limit(own) if own in paced else None

    def of(
        self, relay: str, domain: Limit | None, paced: Collection[str] = ()
    ) -> tuple[Limit, ...]:
        """Name all limits of a message through a relay to recipients of some domains."""
        if not self.relays and not paced and not domain:
            return ()
        name = f"relay {relay}"
        limit = self.relays.get(relay) or (Limit(name) if name in paced else None)
        return tuple(limit for limit in (limit, domain) if limit)

    def name_for(self, domain: str) -> str:
        """Name what a domain's pace is learned for."""
        limit = self.domains.get(domain)
        return limit.name if limit else f"domain {domain}"


def _domains(table: LimitSettings, name: str) -> list[str]:
    if not table.rate and table.connections is None:
        raise InvalidSetting(f"limits.{name}: limits nothing; give it a rate or connections")
    if not table.recipient_domains:
        raise InvalidSetting(f"limits.{name}.recipient_domains: names none")
    place = f"limits.{name}.recipient_domains"
    return [d if d == EACH else pattern(d, place) for d in table.recipient_domains]


def _of_domains(name: str, table: LimitSettings) -> Limit:
    return limit_of(f"limit {name}", f"limits.{name}", table.rate, table.burst, table.connections)


def _of_relay(
    name: str, rate: Sequence[str], burst: int | None, connections: int | None
) -> Limit | None:
    if not rate and connections is None:
        return None
    return limit_of(f"relay {name}", f"relays.{name}", rate, burst, connections)


def limit_of(
    name: str, place: str, rates: Sequence[str], burst: int | None, connections: int | None
) -> Limit:
    """Make a limit that never lets through more than a rate's count in its time, plus the burst.

    The burst is that of the fastest rate; by default a tenth of its count, as for slower ones.

    Half of the burst lets messages come before their even time, and half lets them be late: if
    each is sent from R to R + grace, those of a time W were due within W + grace, and are at most
    (W + grace + tolerance) / interval + 1.
    """
    parsed = [_rate(text, f"{place}.rate") for text in rates]
    if not parsed:
        return Limit(name, connections=connections)
    fastest = max(parsed, key=lambda rate: rate[0] / rate[1])
    made, graces = [], []
    for count, seconds in parsed:
        tenth = math.ceil(count / 10)
        most = (burst or tenth) if (count, seconds) == fastest else max(burst or 1, tenth)
        early = (most - 1) // 2
        made.append(Rate(count, seconds, early * seconds / count))
        graces.append((most - 1 - early + _LEEWAY) * seconds / count)
    return Limit(name, tuple(made), min(graces), connections)


def _rate(text: str, place: str) -> tuple[int, float]:
    match = _RATE.fullmatch(text.strip())
    if not match or not int(match[1]):
        raise InvalidSetting(f"{place}: {text!r} should look like 20/s, 100/min, 5000/h or 50000/d")
    return int(match[1]), _SECONDS[match[2][0]]
