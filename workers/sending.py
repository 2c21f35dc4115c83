"""One transaction: a seat, a turn within the limits, a session, and what came of it."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count

import attrs
import msgspec

from mailer.errors import AttachmentUnreachable, StoreUnavailable
from mailer.message import Message
from mailer.store.agenda import Assignment, Commitment
from mailer.store.keys import LANES
from mailer.store.limits import Limit, Turn
from workers.batch import Batch
from workers.building import Builder
from workers.clock import ServerClock
from workers.commits import Commits
from workers.fetches import Fetches
from workers.hooks import HookFailed, SendHooks
from workers.leases import LeaseLost, Leases
from workers.outcomes.outcome import Outcome, Verdict, broken_relay, classify, postponed
from workers.outcomes.rules import Rule
from workers.relays.breakers import Breakers
from workers.relays.limiter import Limiter, Pass
from workers.relays.limits import Limits
from workers.relays.routes import Group, domain_of
from workers.smtp.connector import RelayFault
from workers.smtp.pool import Lender
from workers.smtp.seat import Transactor
from workers.smtp.transaction import Check, Phase, Transcript

_AT_HAND = 0.02  # seconds for which a seat is kept while its message's time comes
# How often a message is built again because that took longer than its limit's grace. Then it goes
# all the same: what always takes too long would never be sent.
_PATIENCE = 3
_SMALL = 32 * 1024  # characters, of a message that takes nobody's turn for long
_LEAD = 0.3  # seconds before its turn at which a job is put back on the agenda


class Hold(msgspec.Struct, frozen=True):
    """Why some recipients can't be sent to now, and in how many seconds perhaps."""

    seconds: float
    reason: str


class Parcel(msgspec.Struct, frozen=True):
    """What goes out in one transaction.

    Attributes:
        relay: by name.
        limit: of the recipients' domains, or None.
    """

    job: Assignment
    recipients: tuple[str, ...]
    relay: str
    limit: Limit | None


class _TooLate(Exception):
    """A message's time is over: it has to ask for another."""


@attrs.frozen
class Sender:
    """Runs transactions.

    Attributes:
        pools: of sessions, by the relay's name.
    """

    pools: Mapping[str, Lender]
    breakers: Breakers
    limits: Limits
    limiter: Limiter
    fetches: Fetches
    hooks: SendHooks | None
    builder: Builder
    leases: Leases
    commits: Commits
    clock: ServerClock
    rules: Sequence[Rule]

    async def send(self, parcel: Parcel, batch: Batch) -> Outcome | Hold:
        """Send to some recipients of a job, or tell why it is not their turn.

        Raises:
            LeaseLost: another worker may have the job; nothing was sent.
            StoreUnavailable: likewise.
            MailerError: it can never be sent.
        """
        number = len(parcel.recipients)
        if parcel.relay not in self.pools:
            reason = f"there is no relay {parcel.relay!r} in the worker's settings"
            return postponed(reason, number)
        try:
            message = parcel.job.message
            if message.attachments:
                message = await self.fetches.pinned(parcel.job)
            if self.hooks:
                job, message = await self.hooks.apply(parcel.job, message, parcel.recipients)
                parcel = msgspec.structs.replace(parcel, job=job)
            return await self._in_turn(parcel, message, batch)
        except (AttachmentUnreachable, HookFailed) as error:
            return postponed(str(error), number)
        except StoreUnavailable:  # an OSError too, but none of the attachment's
            raise
        except OSError as error:
            return postponed(f"an attachment can't be read now: {error.strerror}", number)

    async def _in_turn(self, parcel: Parcel, message: Message, batch: Batch) -> Outcome | Hold:
        limits = self.limits.of(parcel.relay, parcel.limit, self.limiter.paces)
        given: Pass | None = None
        tries = count()
        try:
            while True:
                async with self.pools[parcel.relay].seat(LANES.index(parcel.job.priority)) as seat:
                    batch.left(parcel.job)
                    if hold := self.breakers.hold(parcel.relay):
                        return Hold(*hold)
                    # only who has a seat asks: a turn that nobody could take would be lost
                    if limits and (given is None or given.is_late(self.clock.now_ms)):
                        self._give_back(given)
                        given = None
                        turn = await self.limiter.enter(limits)
                        if isinstance(turn, Turn):
                            return self._turned_away(turn)
                        given = turn
                    if (wait := self._wait(given)) <= _AT_HAND:
                        if wait:
                            await asyncio.sleep(wait)
                        try:
                            in_time = given if next(tries) < _PATIENCE else None
                            return await self._transact(parcel, message, batch, seat, in_time)
                        except _TooLate:
                            continue
                await asyncio.sleep(wait)
        finally:
            self._give_back(given)

    async def _transact(
        self, parcel: Parcel, message: Message, batch: Batch, seat: Transactor, given: Pass | None
    ) -> Outcome:
        job = parcel.job
        build = partial(
            self.builder.build,
            job,
            message,
            recipients=parcel.recipients,
            contents=batch.contents,
        )
        check, look = partial(self._check, job, given), partial(self.look, job)
        said: Transcript | RelayFault
        try:
            said = await seat.transact(build, check, look, self._before_final(parcel))
        except RelayFault as fault:
            said = fault
        return await self.judge(parcel, said)

    async def judge(self, parcel: Parcel, said: Transcript | RelayFault) -> Outcome:
        """Tell what became of a transaction, and put it to use for those to come."""
        number = len(parcel.recipients)
        if isinstance(said, RelayFault):
            outcome = broken_relay(said.phase, said.reply, said.reason, number)
        else:
            outcome = classify(said, number, self.rules)
        if outcome.relay_fault:  # known before the next one gets the seat
            await self.breakers.fault(parcel.relay, outcome.relay_fault)
        else:
            self.breakers.success(parcel.relay)
        self._learn(parcel, outcome)
        return outcome

    def is_plain(self, job: Assignment) -> bool:
        """Whether a message is small and at hand, and nothing is asked or noted for it alone."""
        message = job.message
        if message.attachments or message.prepared or self.hooks or self.commits.needed(job):
            return False
        return len(message.text or "") + len(message.html or "") <= _SMALL

    def is_free(self, relay: str, group: Group) -> bool:
        """Whether nothing keeps recipients from being sent to at any time: no limit, no pause."""
        limits, paces = self.limits, self.limiter.paces
        if not self.breakers.closed(relay):
            return False
        if not (limits.relays or limits.domains or paces):  # as mostly
            return True
        parts = limits.divide(group, paces)
        return not any(limits.of(relay, part.limit, paces) for part in parts)

    def _before_final(self, parcel: Parcel) -> Check | None:
        """Give what must be done before the message is complete; mostly there is nothing."""
        if not self.commits.needed(parcel.job):
            return None
        made = Commitment(parcel.job.lease, parcel.relay, parcel.recipients)
        return partial(self.commits.commit, parcel.job, made)

    def _check(self, job: Assignment, given: Pass | None) -> None:
        self.look(job)
        if given and given.is_late(self.clock.now_ms):
            raise _TooLate

    def look(self, job: Assignment) -> None:
        """Raise where another worker may have the job."""
        if not self.leases.holds(job.lease):
            raise LeaseLost

    def _wait(self, given: Pass | None) -> float:
        return max(0.0, (given.at_ms - self.clock.now_ms) / 1000) if given else 0.0

    def _give_back(self, given: Pass | None) -> None:
        if given:
            self.limiter.leave(given)

    def _turned_away(self, turn: Turn) -> Hold:
        seconds = (turn.at_ms - self.clock.now_ms) / 1000 - _LEAD
        return Hold(max(0.0, seconds), f"{turn.limit} is used up for now")

    def _learn(self, parcel: Parcel, outcome: Outcome) -> None:
        """Send less to those who said so, and a little more to those who took a message."""
        paced = bool(self.limiter.paces)
        if not paced and outcome.taken_by_all:
            return
        relay = f"relay {parcel.relay}"
        slower, faster = dict[str, str](), set[str]()
        for recipient, judgement in zip(parcel.recipients, outcome.judgements, strict=True):
            if judgement.verdict is Verdict.THROTTLED:
                of_relay = outcome.phase is Phase.MAIL
                slower[relay if of_relay else self._name_for(recipient)] = judgement.reply
            elif paced and judgement.verdict is Verdict.ACCEPTED:
                faster |= {relay, self._name_for(recipient)}
        for name, reply in slower.items():
            self.limiter.slow_down(name, reply)
        for name in faster - slower.keys():
            self.limiter.speed_up(name)

    def _name_for(self, recipient: str) -> str:
        return self.limits.name_for(domain_of(recipient))
