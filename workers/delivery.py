"""Deliver jobs: each is one task on the loop, and goes begin → build → send → classify → settle."""

import random
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import structlog

from mailer.errors import AttachmentUnreachable, MailerError, StoreUnavailable
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Lease, Result
from mailer.store.keys import LANES
from workers.building import Builder
from workers.clock import ServerClock
from workers.contents import Contents
from workers.fetches import Fetches
from workers.leases import LeaseLost, Leases
from workers.outcome import Outcome, broken_relay, classify, postponed
from workers.relay import Breaker, Relay
from workers.settlement import Circumstances, fail, hand_back, open_recipients, settle
from workers.smtp.pool import Pool, RelayFault

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
class Deliverer:
    """Delivers jobs through one relay. What comes of each goes to ``record``."""

    worker: str
    relay: Relay
    breaker: Breaker
    pool: Pool
    fetches: Fetches
    builder: Builder
    leases: Leases
    clock: ServerClock
    policy: RetryPolicy
    record: Callable[[Result], None]
    on_relay_news: Callable[[str | None], None]

    async def deliver(self, job: Assignment, batch: Batch) -> None:
        """Make one attempt at ``job``, and have recorded what came of it."""
        try:
            outcome = await self._attempt(job, batch)
            self.record(self._settled(job, outcome) if outcome else hand_back(job))
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

    async def _attempt(self, job: Assignment, batch: Batch) -> Outcome | None:
        """Send to the open recipients; None where it was not tried, as the relay is paused."""
        addresses = [recipient.address for recipient in open_recipients(job.recipients)]
        build = partial(self.builder.build, job, recipients=addresses, contents=batch.contents)
        try:
            message = await self.fetches.pinned(job)
            async with self.pool.seat(LANES.index(job.priority)) as seat:
                batch.left(job)
                if self.breaker.pause:
                    return None
                session = await seat.session()
                envelope, segments = await build(message=message, extensions=session.extensions)
                self._check(job.lease)  # connecting and reading may have taken long
                transcript = await session.transact(envelope, *segments)
                if session.was_dead(transcript):
                    session = await seat.fresh_session()
                    self._check(job.lease)
                    transcript = await session.transact(envelope, *segments)
        except RelayFault as fault:
            return broken_relay(fault.phase, fault.reply, fault.reason, len(addresses))
        except AttachmentUnreachable as error:
            return postponed(str(error), len(addresses))
        except StoreUnavailable:  # an OSError too, but none of the attachment's
            raise
        except OSError as error:
            return postponed(f"an attachment can't be read now: {error.strerror}", len(addresses))
        return classify(transcript, len(addresses))

    def _check(self, lease: Lease) -> None:
        if not self.leases.holds(lease):
            raise LeaseLost

    def _settled(self, job: Assignment, outcome: Outcome) -> Result:
        if outcome.relay_fault is None:
            if self.breaker.success():
                self.on_relay_news(None)
            return settle(job, outcome, self._circumstances())
        was_paused = self.breaker.pause
        pause = self.breaker.fault()
        if not was_paused:
            self.on_relay_news(outcome.relay_fault)
        return settle(job, outcome, self._circumstances(pause))

    def _circumstances(self, pause: float = 0.0) -> Circumstances:
        return Circumstances(
            worker=self.worker,
            relay=self.relay.name,
            policy=self.policy,
            now_ms=self.clock.now_ms,
            chance=random.random(),  # noqa: S311 - jitter, no secret
            pause_ms=round(pause * 1000),
        )


def _explained(error: Exception) -> str:
    """Say what went wrong without quoting a message: only our own errors may speak freely."""
    return str(error) if isinstance(error, MailerError) else f"internal: {type(error).__name__}"
