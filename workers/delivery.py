"""Deliver jobs: each is one task on the loop, and goes begin → build → send → classify → settle."""

import random
from collections.abc import Awaitable, Callable, Sequence

import attrs
import structlog

from mailer.errors import MailerError, StoreUnavailable
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Result
from workers.batch import Batch
from workers.leases import LeaseLost
from workers.outcomes.outcome import Outcome
from workers.outcomes.settlement import (
    Circumstances,
    crashed,
    fail,
    hand_back,
    open_recipients,
    put_back,
    settle,
)
from workers.relays.routes import Group
from workers.sending import Hold, Parcel, Sender

log = structlog.get_logger()
_UNTIL_INSTALLED_MS = 60_000  # another worker may have it, too


@attrs.frozen
class Deliverer:
    """Delivers jobs through the relays.

    Attributes:
        groups: divides recipients; see `Routes.groups`.
        send: runs a transaction; see `Sender.send`.
        record: takes what comes of each attempt.
        give_up: called where the process is out of memory: it should end, for it would fail others.
    """

    worker: str
    groups: Callable[[Assignment, Sequence[str]], list[Group]]
    send: Callable[[Parcel, Batch], Awaitable[Outcome | Hold]]
    sender: Sender
    policy: RetryPolicy
    record: Callable[[Result], None]
    give_up: Callable[[], None]

    async def deliver(self, job: Assignment, batch: Batch) -> None:
        """Make one attempt at ``job``, and have recorded what came of it."""
        try:
            self.record(await self._attempt(job, batch))
        except LeaseLost:
            log.warning("lease lost before sending", job=job.lease.job_id)
            self.sender.leases.drop([job.lease])
        except MailerError as error:
            self.record(self.unsent(job, error))
        except Exception as error:
            log.exception("attempt failed by a fault of ours", job=job.lease.job_id)
            if isinstance(error, MemoryError):
                self.give_up()
            # which is not quoted: it may contain a part of the message
            reason = f"internal: {type(error).__name__}"
            made = self.sender.commits.made(job.lease)
            committed = made.recipients if made else ()
            self.record(crashed(job, reason, self.circumstances(), committed))
        finally:
            self.sender.commits.forget(job.lease)
            batch.left(job)
            batch.contents.done(job.message)

    def unsent(self, job: Assignment, error: MailerError | ImportError) -> Result:
        """Say what becomes of a job that could not be sent for that reason."""
        given = self.circumstances()
        if isinstance(error, StoreUnavailable):
            return hand_back(job)
        if isinstance(error, ImportError):
            return put_back(job, given.now_ms + _UNTIL_INSTALLED_MS, str(error))
        return fail(job, str(error), given)

    async def _attempt(self, job: Assignment, batch: Batch) -> Result:
        """Send to those open recipients that go together, the first of whom it is possible."""
        sender, holds = self.sender, list[Hold]()
        due = open_recipients(job.recipients, max(job.begun_ms, sender.clock.now_ms))
        addresses = [recipient.address for recipient in due]
        for group in self.groups(job, addresses):
            relay, hold = await self._relay_for(group)
            if hold:
                holds.append(hold)
                continue
            for part in sender.limits.divide(group, sender.limiter.paces):
                parcel = Parcel(job, part.recipients, relay, part.limit)
                outcome = await self.send(parcel, batch)
                if isinstance(outcome, Outcome):
                    return self._settled(parcel, group, outcome)
                holds.append(outcome)
        first = min(holds, key=lambda hold: hold.seconds)
        return put_back(job, sender.clock.now_ms + round(first.seconds * 1000), first.reason)

    async def _relay_for(self, group: Group) -> tuple[str, Hold | None]:
        """Choose the first relay that may be tried; a hold where none may."""
        breakers, holds = self.sender.breakers, list[Hold]()
        for relay in group.relays:
            if not (wait := await breakers.admit(relay)):
                return relay, None
            holds.append(Hold(wait, f"relay {relay} is paused: {breakers.reason(relay)}"))
        return group.relays[0], min(holds, key=lambda hold: hold.seconds)

    def _settled(self, parcel: Parcel, group: Group, outcome: Outcome) -> Result:
        pause = 0.0
        if outcome.relay_fault:  # no pause where another relay takes over at once
            pause = self.sender.breakers.held_up(group.relays)
        given = self.circumstances(parcel.relay, pause)
        return settle(parcel.job, outcome, given, parcel.recipients)

    def circumstances(self, relay: str = "", pause: float = 0.0) -> Circumstances:
        """Tell what a decision depends on besides the outcome, as of now."""
        return Circumstances(
            worker=self.worker,
            relay=relay,
            policy=self.policy,
            now_ms=self.sender.clock.now_ms,
            chance=random.random(),  # noqa: S311 - jitter, no secret
            pause_ms=round(pause * 1000),
        )
