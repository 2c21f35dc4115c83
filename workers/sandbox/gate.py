"""What each transaction goes through in sandbox mode, for its recipients' fate."""

import attrs
import msgspec

from workers.batch import Batch
from workers.outcomes.outcome import Judgement, Outcome, kept_back
from workers.sandbox.fates import Fate, Sandbox
from workers.sandbox.redirect import Redirect
from workers.sandbox.simulator import Simulator
from workers.sending import Hold, Parcel, Sender


@attrs.frozen
class Gate:
    """Sends to recipients of one fate as that fate wants."""

    sandbox: Sandbox
    sender: Sender
    _redirecting: Sender = attrs.field(init=False)

    @_redirecting.default
    def _to_one_address(self) -> Sender:
        pools = self.sender.pools.items()
        to = self.sandbox.redirect_to
        return attrs.evolve(self.sender, pools={name: Redirect(pool, to) for name, pool in pools})

    async def send(self, parcel: Parcel, batch: Batch) -> Outcome | Hold:
        """Run a transaction; see `Sender.send`."""
        match self.sandbox.fate(parcel.recipients[0]):
            case Fate.KEPT_BACK:
                return kept_back([self.sandbox.reason(to) for to in parcel.recipients])
            case Fate.SIMULATED:
                simulator = Simulator(parcel.job.tries)
                sender = attrs.evolve(self.sender, pools={parcel.relay: simulator})
                return await sender.send(parcel, batch)
            case Fate.REDIRECTED:
                outcome = await self._redirecting.send(parcel, batch)
                return self._noted(outcome) if isinstance(outcome, Outcome) else outcome
            case Fate.AS_USUAL:
                return await self.sender.send(parcel, batch)

    def _noted(self, outcome: Outcome) -> Outcome:
        """Put on record where the message went instead; its address may be bad, no recipient's."""
        if outcome.relay_fault or outcome.phase is None:
            return outcome
        note = f", for {self.sandbox.redirect_to} instead (MAILER_REDIRECT_TO)"
        judgements = [
            Judgement(j.verdict, j.reply + note, attrs.evolve(j.rule, bad_address=False))
            for j in outcome.judgements
        ]
        return msgspec.structs.replace(outcome, judgements=judgements, reason=outcome.reason + note)
