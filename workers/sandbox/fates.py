"""What sandbox mode does with each recipient: pure."""

from collections.abc import Sequence
from enum import Enum, auto

import attrs

from mailer.address import Address
from mailer.errors import InvalidEmail, InvalidSetting
from mailer.settings import Settings
from mailer.store.agenda import Assignment
from workers.relays.routes import Group, Routes, among, domain_of, pattern
from workers.sandbox.simulator import breaks_off, is_simulated

_RELAY = "sandbox"  # on record, for what no relay gets


class Fate(Enum):
    """What becomes of a recipient."""

    SIMULATED = auto()
    AS_USUAL = auto()
    REDIRECTED = auto()
    KEPT_BACK = auto()


@attrs.frozen
class Sandbox:
    """The settings of sandbox mode.

    Attributes:
        allowed: domains that are sent to as usual, in A-labels; ``*.example.com`` stands for all
            below it.
        redirect_to: who gets all other email instead; empty for nobody.
    """

    allowed: frozenset[str] = frozenset()
    redirect_to: str = ""

    @classmethod
    def read(cls, settings: Settings) -> "Sandbox | None":
        """Take it out of the settings; None where it is off.

        Raises:
            InvalidSetting: naming the one that is wrong.
        """
        if not settings.sandbox:
            return None
        allowed = frozenset(
            pattern(name, "MAILER_ALLOW_DOMAINS") for name in settings.allow_domains
        )
        return cls(allowed, _address(settings.redirect_to) if settings.redirect_to else "")

    def __str__(self) -> str:
        others = "all email goes to MAILER_REDIRECT_TO" if self.redirect_to else "no email leaves"
        if not self.allowed:
            return others
        return f"{others}, but for {', '.join(sorted(self.allowed))} (MAILER_ALLOW_DOMAINS)"

    def fate(self, recipient: str) -> Fate:
        """Decide on one recipient."""
        if is_simulated(recipient):
            return Fate.SIMULATED
        if self.allowed and among(domain_of(recipient), self.allowed):
            return Fate.AS_USUAL
        return Fate.REDIRECTED if self.redirect_to else Fate.KEPT_BACK

    def groups(self, routes: Routes, job: Assignment, recipients: Sequence[str]) -> list[Group]:
        """Divide the recipients of a job by their fate, and then by the routes."""
        groups: list[Group] = []
        for fate, people in self._divided(recipients):
            if fate is Fate.AS_USUAL:
                groups += routes.groups(job, people)
            elif fate is Fate.REDIRECTED:
                (way,) = routes.groups(job, [self.redirect_to])
                groups.append(Group(tuple(people), way.relays))
            else:
                groups.append(Group(tuple(people), (_RELAY,)))
        return groups

    def reason(self, recipient: str) -> str:
        """Say why a recipient is kept back."""
        domain = domain_of(recipient)
        if not self.allowed:
            return f"sandbox mode keeps it back: MAILER_ALLOW_DOMAINS does not name {domain}"
        names = ", ".join(sorted(self.allowed))
        return f"sandbox mode keeps it back: {domain} is not among MAILER_ALLOW_DOMAINS ({names})"

    def _divided(self, recipients: Sequence[str]) -> list[tuple[Fate, list[str]]]:
        """Divide recipients into those that may share a transaction, with their fate."""
        found: dict[tuple[Fate, bool], list[str]] = {}
        for recipient in recipients:
            fate = self.fate(recipient)
            alone = fate is Fate.SIMULATED and breaks_off(recipient)
            found.setdefault((fate, alone), []).append(recipient)
        return [(fate, people) for (fate, _), people in found.items()]


def _address(text: str) -> str:
    try:
        wire = Address.parse(text).wire
    except InvalidEmail as error:
        raise InvalidSetting(f"MAILER_REDIRECT_TO: {error.reason}") from None
    if not wire.isascii():
        raise InvalidSetting("MAILER_REDIRECT_TO: needs ASCII before the @, which all relays take")
    return wire
