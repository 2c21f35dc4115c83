"""Deliver jobs: each is one task on the loop, and goes begin → build → send → classify → settle."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import structlog

from mailer.errors import AttachmentUnreachable, MailerError, StoreUnavailable
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Lease, Result
from mailer.store.keys import LANES
from workers.breakers import Breakers
from workers.building import Builder
from workers.clock import ServerClock
from workers.commits import Commits
from workers.contents import Contents
from workers.fetches import Fetches
from workers.leases import LeaseLost, Leases
from workers.outcome import Outcome, broken_relay, classify, postponed
from workers.routes import Group, Routes
from workers.rules import Rule
from workers.settlement import (
    Circumstances,
    fail,
    hand_back,
    open_recipients,
    put_back,
    settle,
)
from workers.smtp.connector import RelayFault
from workers.smtp.pool import Pool
from workers.smtp.session import Check

log = structlog.get_logger()


class Batch:
    """Jobs that were dispatched together; tells when the last of them has left the queue.

    Attributes:
        contents: of their attachments.
    """

    def __init__(
        self, jobs: Sequence[Assignment], contents: Contents, on_left: Callable[[], None]
    ) -> None:
        self.contents = contents
        self._waiting = {job.lease for job in jobs}
        self._on_left = on_left
        if not jobs:
            on_left()

    def left(self, job: Assignment) -> None:
        """Note that ``job`` waits for a session no longer."""
        if job.lease in self._waiting:
            self._waiting.remove(job.lease)
            if not self._waiting:
                self._on_left()

    def waits(self, job: Assignment) -> bool:
        """Whether ``job`` has not come to its turn yet."""
        return job.lease in self._waiting


@attrs.frozen
class Hold:
    """Why a group of recipients can't be sent to now, and in how many seconds perhaps."""

    seconds: float
    reason: str


@attrs.frozen
class Deliverer:
    """Delivers jobs through the relays. What comes of each goes to ``record``.

    Attributes:
        pools: of sessions, by the relay's name.
    """

    worker: str
    routes: Routes
    pools: Mapping[str, Pool]
    breakers: Breakers
    fetches: Fetches
    builder: Builder
    leases: Leases
    commits: Commits
    clock: ServerClock
    policy: RetryPolicy
    rules: Sequence[Rule]
    record: Callable[[Result], None]

    async def deliver(self, job: Assignment, batch: Batch) -> None:
        """Make one attempt at ``job``, and have recorded what came of it."""
        try:
            self.record(await self._attempt(job, batch))
        except LeaseLost:
            log.warning("lease lost before sending", job=job.lease.job_id)
            self.leases.drop([job.lease])
        except StoreUnavailable:
            self.record(hand_back(job))
        except Exception as error:
            if not isinstance(error, MailerError):
                log.exception("job failed by a fault of ours", job=job.lease.job_id)
            self.record(fail(job, _explained(error), self._circumstances()))
        finally:
            batch.left(job)
            batch.contents.done(job.message)

    async def _attempt(self, job: Assignment, batch: Batch) -> Result:
        """Send to those open recipients that go together, the first of whom it is possible."""
        due = open_recipients(job.recipients, max(job.begun_ms, self.clock.now_ms))
        addresses = [recipient.address for recipient in due]
        holds: list[Hold] = []
        for group in self.routes.groups(job, addresses):
            relay, hold = await self._relay_for(group)
            if hold is None:
                outcome = await self._transaction(job, batch, group, relay)
                if isinstance(outcome, Outcome):
                    return self._settled(job, group, relay, outcome)
                hold = outcome
            holds.append(hold)
        first = min(holds, key=lambda hold: hold.seconds)
        return put_back(job, self.clock.now_ms + round(first.seconds * 1000), first.reason)

    async def _relay_for(self, group: Group) -> tuple[str, Hold | None]:
        """Choose the first relay that may be tried; a hold where none may."""
        holds = []
        for relay in group.relays:
            if not (wait := await self.breakers.admit(relay)):
                return relay, None
            holds.append(Hold(wait, f"relay {relay} is paused: {self.breakers.reason(relay)}"))
        return group.relays[0], min(holds, key=lambda hold: hold.seconds)

    async def _transaction(
        self, job: Assignment, batch: Batch, group: Group, relay: str
    ) -> Outcome | Hold:
        number = len(group.recipients)
        pool = self.pools.get(relay)
        if pool is None:
            return postponed(f"there is no relay {relay!r} in the worker's settings", number)
        build = partial(
            self.builder.build, job, recipients=group.recipients, contents=batch.contents
        )
        try:
            message = await self.fetches.pinned(job)
            async with pool.seat(LANES.index(job.priority)) as seat:
                batch.left(job)
                if wait := self.breakers.wait(relay):
                    return Hold(wait, f"relay {relay} is paused: {self.breakers.reason(relay)}")
                try:
                    transcript = await seat.transact(
                        partial(build, message),
                        partial(self._check, job.lease),
                        self._before_final(job),
                    )
                    outcome = classify(transcript, number, self.rules)
                except RelayFault as fault:
                    outcome = broken_relay(fault.phase, fault.reply, fault.reason, number)
                if outcome.relay_fault:  # known before the next one gets the seat
                    await self.breakers.fault(relay, outcome.relay_fault)
                return outcome
        except AttachmentUnreachable as error:
            return postponed(str(error), number)
        except StoreUnavailable:  # an OSError too, but none of the attachment's
            raise
        except OSError as error:
            return postponed(f"an attachment can't be read now: {error.strerror}", number)

    def _before_final(self, job: Assignment) -> Check | None:
        """Give what must be on record before the message is complete; at least once needs none."""
        once = job.head.delivery == "at-most-once"
        return partial(self.commits.commit, job.lease) if once else None

    def _check(self, lease: Lease) -> None:
        if not self.leases.holds(lease):
            raise LeaseLost

    def _settled(self, job: Assignment, group: Group, relay: str, outcome: Outcome) -> Result:
        pause = 0.0
        if outcome.relay_fault:
            pause = self.breakers.held_up(group.relays)  # none where another takes over at once
        elif relay in self.pools:
            self.breakers.success(relay)
        return settle(job, outcome, self._circumstances(relay, pause), group.recipients)

    def _circumstances(self, relay: str = "", pause: float = 0.0) -> Circumstances:
        return Circumstances(
            worker=self.worker,
            relay=relay,
            policy=self.policy,
            now_ms=self.clock.now_ms,
            chance=random.random(),  # noqa: S311 - jitter, no secret
            pause_ms=round(pause * 1000),
        )


def _explained(error: Exception) -> str:
    """Say what went wrong without quoting a message: only our own errors may speak freely."""
    return str(error) if isinstance(error, MailerError) else f"internal: {type(error).__name__}"
