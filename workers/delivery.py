"""Deliver jobs: each goes begin → build → send → classify → settle.

Most need nothing but a session: they wait in line with others (`Deliverer.line_up`), and go several
at a time. What must be done for one alone, such as fetching an attachment or keeping a limit, is
done in a task of its own (`Deliverer.deliver`).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain

import attrs
import structlog

from mailer.errors import MailerError, StoreUnavailable
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Result
from mailer.store.keys import LANES
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
from workers.smtp.connector import RelayFault
from workers.smtp.orders import Orders
from workers.smtp.transaction import Envelope, Segment, Transcript

log = structlog.get_logger()
_UNTIL_INSTALLED_MS = 60_000  # another worker may have it, too


@attrs.frozen
class Deliverer:
    """Delivers jobs through the relays.

    Attributes:
        groups: divides recipients; see `Routes.groups`.
        send: runs a transaction; see `Sender.send`.
        orders: what waits in line with others, by the relay's name, then the most urgent first.
        record: takes what comes of each attempt.
        alone: has a job delivered by `deliver`, in a task of its own.
        give_up: called where the process is out of memory: it should end, for it would fail others.
    """

    worker: str
    groups: Callable[[Assignment, Sequence[str]], list[Group]]
    send: Callable[[Parcel, Batch], Awaitable[Outcome | Hold]]
    sender: Sender
    orders: Mapping[str, Sequence[Orders]]
    policy: RetryPolicy
    record: Callable[[Result], None]
    alone: Callable[[Assignment, Batch], None]
    give_up: Callable[[], None]

    def line_up(self, job: Assignment, batch: Batch) -> bool:
        """Have ``job`` delivered together with others; False where `deliver` must see to it."""
        if not self.sender.is_plain(job):
            return False
        try:
            first, *others = self._groups(job)
        except Exception:  # noqa: BLE001 - `deliver` meets it again
            return False
        relay = first.relays[0]
        if others or relay not in self.orders or not self.sender.is_free(relay, first):
            return False
        parcel = Parcel(job, first.recipients, relay, None)
        self.orders[relay][LANES.index(job.priority)].add(_Order(self, parcel, first, batch))
        return True

    def withdraw(self) -> None:
        """Hand all back that waits in line."""
        for orders in chain.from_iterable(self.orders.values()):
            orders.withdraw()

    @property
    def senders(self) -> list[asyncio.Task[None]]:
        """The tasks that send what waits in line; see `Orders.senders`."""
        every = chain.from_iterable(self.orders.values())
        return [sender for orders in every for sender in orders.senders]

    async def deliver(self, job: Assignment, batch: Batch) -> None:
        """Make one attempt at ``job``, and have recorded what came of it."""
        try:
            result = await self._attempt(job, batch)
        except Exception as error:  # noqa: BLE001 - told apart there
            self.failed(job, batch, error)
        except BaseException:
            self._through(job, batch)
            raise
        else:
            self.ended(job, batch, result)

    def ended(self, job: Assignment, batch: Batch, result: Result) -> None:
        """Have recorded what came of an attempt."""
        self.record(result)
        self._through(job, batch)

    def failed(self, job: Assignment, batch: Batch, error: Exception) -> None:
        """Have recorded why an attempt came to nothing, or perhaps did."""
        if isinstance(error, LeaseLost):
            log.warning("lease lost before sending", job=job.lease.job_id)
            self.sender.leases.drop([job.lease])
        elif isinstance(error, MailerError):
            self.record(self.unsent(job, error))
        else:
            log.error("attempt failed by a fault of ours", job=job.lease.job_id, exc_info=error)
            if isinstance(error, MemoryError):
                self.give_up()
            # which is not quoted: it may contain a part of the message
            reason = f"internal: {type(error).__name__}"
            made = self.sender.commits.made(job.lease)
            committed = made.recipients if made else ()
            self.record(crashed(job, reason, self.circumstances(), committed))
        self._through(job, batch)

    def _through(self, job: Assignment, batch: Batch) -> None:
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
        for group in self._groups(job):
            relay, hold = await self._relay_for(group)
            if hold:
                holds.append(hold)
                continue
            for part in sender.limits.divide(group, sender.limiter.paces):
                parcel = Parcel(job, part.recipients, relay, part.limit)
                outcome = await self.send(parcel, batch)
                if isinstance(outcome, Outcome):
                    return self.settled(parcel, group, outcome)
                holds.append(outcome)
        first = min(holds, key=lambda hold: hold.seconds)
        return put_back(job, sender.clock.now_ms + round(first.seconds * 1000), first.reason)

    def _groups(self, job: Assignment) -> list[Group]:
        """Divide those who may be sent to now."""
        due = open_recipients(job.recipients, max(job.begun_ms, self.sender.clock.now_ms))
        return self.groups(job, [recipient.address for recipient in due])

    async def _relay_for(self, group: Group) -> tuple[str, Hold | None]:
        """Choose the first relay that may be tried; a hold where none may."""
        breakers, holds = self.sender.breakers, list[Hold]()
        for relay in group.relays:
            if not (wait := await breakers.admit(relay)):
                return relay, None
            holds.append(Hold(wait, f"relay {relay} is paused: {breakers.reason(relay)}"))
        return group.relays[0], min(holds, key=lambda hold: hold.seconds)

    def settled(self, parcel: Parcel, group: Group, outcome: Outcome) -> Result:
        """Decide what a transaction leads to."""
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


class _Order:
    """A job in line with others; see `workers.smtp.orders.Order`."""

    __slots__ = ("_batch", "_deliverer", "_group", "_parcel")

    def __init__(self, deliverer: Deliverer, parcel: Parcel, group: Group, batch: Batch) -> None:
        self._deliverer = deliverer
        self._parcel = parcel
        self._group = group
        self._batch = batch

    def begin(self) -> bool:
        """Leave the queue; where the relay is paused by now, another one may take the job."""
        deliverer, parcel = self._deliverer, self._parcel
        if not deliverer.sender.is_free(parcel.relay, self._group):
            self.send_alone()
            return False
        self._batch.left(parcel.job)
        return True

    def build(self, extensions: Mapping[str, str]) -> Awaitable[tuple[Envelope, list[Segment]]]:
        """Build what a server with these extensions can take."""
        parcel = self._parcel
        return self._deliverer.sender.builder.build(
            parcel.job,
            parcel.job.message,
            extensions,
            recipients=parcel.recipients,
            contents=self._batch.contents,
        )

    def send_alone(self) -> None:
        """Have it sent in a task of its own."""
        self._deliverer.alone(self._parcel.job, self._batch)

    def hand_back(self) -> None:
        """Have it recorded that another worker may have the job."""
        job = self._parcel.job
        self._deliverer.ended(job, self._batch, hand_back(job))

    def look(self) -> None:
        """Raise where another worker may have the job."""
        self._deliverer.sender.look(self._parcel.job)

    async def end(self, said: Transcript | RelayFault) -> None:
        """Have recorded what came of it."""
        deliverer, parcel = self._deliverer, self._parcel
        try:
            outcome = await deliverer.sender.judge(parcel, said)
            result = deliverer.settled(parcel, self._group, outcome)
        except Exception as error:  # noqa: BLE001 - told apart there
            self.fail(error)
        else:
            deliverer.ended(parcel.job, self._batch, result)

    def fail(self, error: Exception) -> None:
        """Have recorded why it came to nothing, or perhaps did."""
        self._deliverer.failed(self._parcel.job, self._batch, error)
