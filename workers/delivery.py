"""Deliver jobs: each is one task on the loop, and goes begin → build → send → classify → settle."""

import random
from collections.abc import Callable, Sequence

import attrs
import structlog

from mailer.errors import MailerError, StoreUnavailable
from mailer.mime import NeedsSmtpUtf8, build
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Lease, Result
from mailer.store.keys import LANES
from workers.clock import ServerClock
from workers.contents import Contents
from workers.leases import Leases
from workers.outcome import Outcome, broken_relay, classify, postponed
from workers.relay import Breaker, Relay
from workers.settlement import Circumstances, fail, hand_back, open_recipients, settle
from workers.smtp.pool import Pool, RelayFault
from workers.smtp.session import Envelope, Session

log = structlog.get_logger()


class Batch:
    """Jobs that were dispatched together; tells when the last of them has left the queue."""

    def __init__(self, jobs: Sequence[Assignment], on_left: Callable[[], None]) -> None:
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


class LeaseLost(Exception):
    """Another worker may have the job by now."""


@attrs.frozen
class Deliverer:
    """Delivers jobs through one relay. What comes of each goes to ``record``."""

    worker: str
    relay: Relay
    breaker: Breaker
    pool: Pool
    contents: Contents
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

    async def _attempt(self, job: Assignment, batch: Batch) -> Outcome | None:
        """Send to the open recipients; None where it was not tried, as the relay is paused."""
        addresses = [recipient.address for recipient in open_recipients(job.recipients)]
        try:
            async with self.pool.seat(LANES.index(job.priority)) as seat:
                batch.left(job)
                if self.breaker.pause:
                    return None
                session = await seat.session()
                envelope, message = await self._built(job, addresses, session)
                self._check(job.lease)  # connecting and reading may have taken long
                transcript = await session.transact(envelope, message)
                if session.was_dead(transcript):
                    session = await seat.fresh_session()
                    self._check(job.lease)
                    transcript = await session.transact(envelope, message)
        except RelayFault as fault:
            return broken_relay(fault.phase, fault.reply, fault.reason, len(addresses))
        except StoreUnavailable:  # an OSError too, but none of the attachment's
            raise
        except OSError as error:
            return postponed(f"an attachment can't be read now: {error.strerror}", len(addresses))
        return classify(transcript, len(addresses))

    def _check(self, lease: Lease) -> None:
        if not self.leases.holds(lease):
            raise LeaseLost

    async def _built(
        self, job: Assignment, addresses: Sequence[str], session: Session
    ) -> tuple[Envelope, bytes]:
        """Build what this session's server can take."""
        message = job.message
        contents = await self.contents.of(message.attachments) if message.attachments else {}
        smtputf8 = _needs_smtputf8(job, addresses)
        if smtputf8 and "smtputf8" not in session.extensions:
            raise NeedsSmtpUtf8("an address needs SMTPUTF8, which the relay does not offer")
        eight_bit = "8bitmime" in session.extensions
        data = build(message, contents, eight_bit=eight_bit, utf8_headers=smtputf8)
        return Envelope(job.head.envelope_sender, addresses, smtputf8), data

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


def _needs_smtputf8(job: Assignment, addresses: Sequence[str]) -> bool:
    """Whether some address has a UTF-8 local part; a relay without RFC 6531 can't take it."""
    message = job.message
    written = (message.sender, *message.to, *message.cc, *message.reply_to)
    return not all(map(str.isascii, (job.head.envelope_sender, *addresses))) or any(
        address.needs_smtputf8 for address in written
    )


def _explained(error: Exception) -> str:
    """Say what went wrong without quoting a message: only our own errors may speak freely."""
    return str(error) if isinstance(error, MailerError) else f"internal: {type(error).__name__}"
