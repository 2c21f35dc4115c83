"""Which relays take which recipients of an email, and in which order: pure, but for the dice."""

import random
from collections.abc import Mapping, Sequence

import attrs
import msgspec

from mailer.address import Address
from mailer.errors import InvalidEmail, InvalidSetting
from mailer.sections import RouteSettings
from mailer.settings import Settings
from mailer.store.agenda import Assignment
from workers.relays.relay import Relay


class Group(msgspec.Struct, frozen=True):
    """Recipients that may share a transaction.

    Attributes:
        recipients: their addresses.
        relays: by name, those that take them, the best one first.
    """

    recipients: tuple[str, ...]
    relays: tuple[str, ...]


@attrs.frozen
class Route:
    """What a route takes, and where it leads.

    Attributes:
        sender_domains, recipient_domains: in A-labels; ``*.example.com`` stands for all below it.
            Empty for all.
        tags: of which the email has one; empty for any email.
        weights: of the relays; without them their order counts.
    """

    relays: tuple[str, ...]
    weights: tuple[int, ...] = ()
    backups: tuple[str, ...] = ()
    sender_domains: frozenset[str] = frozenset()
    recipient_domains: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()

    def takes(self, sender_domain: str, tags: Sequence[str], recipient_domain: str) -> bool:
        """Whether this route is for a recipient of an email."""
        return (
            among(sender_domain, self.sender_domains)
            and among(recipient_domain, self.recipient_domains)
            and (not self.tags or not self.tags.isdisjoint(tags))
        )

    def order(self) -> tuple[str, ...]:
        """Put the relays into the order in which they are to be tried."""
        if not self.weights:
            return self.relays + self.backups
        # Efraimidis and Spirakis: the first is each with a chance in proportion to its weight
        pairs = zip(self.relays, self.weights, strict=True)
        keys = {name: random.random() ** (1 / weight) for name, weight in pairs}  # noqa: S311 - no secret
        return (*sorted(self.relays, key=keys.__getitem__, reverse=True), *self.backups)


@attrs.frozen
class Routes:
    """All routes, in the order of the settings. The last one takes everything."""

    routes: tuple[Route, ...]

    @classmethod
    def read(cls, settings: Settings, relays: Mapping[str, Relay]) -> "Routes":
        """Take the routes out of the settings.

        Raises:
            InvalidSetting: naming the route that is wrong.
        """
        if not settings.routes:
            return cls((Route(tuple(relays)),))
        routes = tuple(
            _route(table, f"routes[{i}]", relays) for i, table in enumerate(settings.routes)
        )
        if routes[-1].sender_domains or routes[-1].recipient_domains or routes[-1].tags:
            raise InvalidSetting(
                "routes: the last one takes all that the others leave; give it relays only"
            )
        return cls(routes)

    def groups(self, job: Assignment, recipients: Sequence[str]) -> list[Group]:
        """Divide the recipients of a job by the routes that they take."""
        if job.head.relay is not None:
            return [Group(tuple(recipients), (job.head.relay,))]
        if len(self.routes) == 1:
            return [Group(tuple(recipients), self.routes[0].order())]
        sender = domain_of(job.message.from_email.wire)
        found: dict[Route, list[str]] = {}
        for recipient in recipients:
            domain = domain_of(recipient)
            route = next(r for r in self.routes if r.takes(sender, job.head.tags, domain))
            found.setdefault(route, []).append(recipient)
        return [Group(tuple(people), route.order()) for route, people in found.items()]


def _route(table: RouteSettings, setting: str, relays: Mapping[str, Relay]) -> Route:
    route = Route(
        relays=tuple(table.relays),
        weights=tuple(table.relays.values()) if isinstance(table.relays, dict) else (),
        backups=table.backups,
        sender_domains=_domains(table.sender_domains, f"{setting}.sender_domains"),
        recipient_domains=_domains(table.recipient_domains, f"{setting}.recipient_domains"),
        tags=frozenset(table.tags),
    )
    for name in (*route.relays, *route.backups):
        if name not in relays:
            raise InvalidSetting(
                f"{setting}: there is no relay {name!r} under [relays]; there are "
                f"{', '.join(relays)}"
            )
    if not route.relays:
        raise InvalidSetting(f"{setting}.relays: names none")
    return route


def _domains(names: Sequence[str], setting: str) -> frozenset[str]:
    return frozenset(pattern(name, setting) for name in names)


def pattern(name: str, setting: str) -> str:
    """Check ``example.com`` or ``*.example.com``, and put it into A-labels."""
    below = "*." if name.startswith("*.") else ""
    try:
        return below + domain_of(Address(f"x@{name.removeprefix(below or '@')}").wire)
    except InvalidEmail:
        raise InvalidSetting(f"{setting}: {name!r} is no domain") from None


def domain_of(address: str) -> str:
    """Take an address's domain, in small letters."""
    return address.rpartition("@")[2].lower()


def among(domain: str, names: frozenset[str]) -> bool:
    """Whether a domain is one of ``names``, or below one that begins with ``*.``; of none, any."""
    if not names or domain in names:
        return True
    _, dot, parent = domain.partition(".")
    while dot:
        if f"*.{parent}" in names:
            return True
        _, dot, parent = parent.partition(".")
    return False
