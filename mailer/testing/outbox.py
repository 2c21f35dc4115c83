"""An outbox: what mailers of this process enqueue goes into a list, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Unpack
from unittest import TestCase

from mailer.client import Mailer
from mailer.diversion import diverting
from mailer.job import JobState
from mailer.store.runners import SyncRunner
from mailer.testing.criteria import Criteria, misfits, nobody_fits, several_fit
from mailer.testing.databases import empty_database
from mailer.testing.sent import SentEmail
from mailer.testing.stand_in import StandIn

_MOST_SCHEDULED = 1_000_000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Outbox(list[SentEmail]):
    """The emails that would have been sent, in their order.

    One with `scheduled_at` ahead is not among them until `send_scheduled`; meanwhile
    ``mailer.list("scheduled")`` has its job.
    """

    def __init__(self, runner: SyncRunner) -> None:
        super().__init__()
        self.stand_in = StandIn(runner, self.append)

    def one(self, **criteria: Unpack[Criteria]) -> SentEmail:
        """Return the only email that fits.

        Raises:
            AssertionError: none does, and in what each differs; or several do, and which.
        """
        found = self.matching(**criteria)
        if not found:
            raise AssertionError(nobody_fits(self, criteria))
        if len(found) > 1:
            raise AssertionError(several_fit(found, criteria, "only one"))
        return found[0]

    def none(self, **criteria: Unpack[Criteria]) -> None:
        """Demand that no email fits.

        Raises:
            AssertionError: some do, and which.
        """
        if found := self.matching(**criteria):
            raise AssertionError(several_fit(found, criteria, "none"))

    def matching(self, **criteria: Unpack[Criteria]) -> list[SentEmail]:
        """Return the emails that fit."""
        return [email for email in self if not misfits(email, criteria)]

    def send_scheduled(self) -> None:
        """Let the time come of each email that waits for its `scheduled_at`."""
        for settings in self.stand_in.settings:
            with Mailer(settings=settings) as mailer:
                for job in reversed(mailer.list(JobState.SCHEDULED, limit=_MOST_SCHEDULED)):
                    mailer.reschedule(job.id, _LONG_AGO)


class OutboxMixin(TestCase):
    """For unittest, and for Django's test cases: each test has an outbox of its own.

    Attributes:
        outbox: what was sent.
    """

    outbox: Outbox

    def setUp(self) -> None:
        """Open the outbox."""
        super().setUp()
        self.outbox = self.enterContext(outbox())


@contextmanager
def outbox() -> Iterator[Outbox]:
    """Divert what all mailers of this process enqueue, also those made before, into a list.

    Raises:
        EmbeddedRedisError: there is no Redis server to be found, and what to install.
    """
    with empty_database() as runner:
        box = Outbox(runner)
        with diverting(box.stand_in.divert):
            yield box
