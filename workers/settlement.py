"""What an attempt leads to: pure, from an assignment and an outcome to the result on record."""

from collections.abc import Sequence

import attrs

from mailer.job import Attempt, Decision, JobState, Recipient, RecipientState
from mailer.retry import RetryPolicy
from mailer.store.agenda import ENDED, NOW, Assignment, Result
from mailer.store.records import at
from workers.hints import wait_in
from workers.outcome import Outcome, Verdict
from workers.retry import GiveUp, decide

_STATES = {
    Verdict.ACCEPTED: RecipientState.ACCEPTED,
    Verdict.REFUSED: RecipientState.REFUSED,
    Verdict.DEFERRED: RecipientState.DEFERRED,
    Verdict.TOO_MANY: RecipientState.DEFERRED,
}
_OPEN = frozenset({RecipientState.PENDING, RecipientState.DEFERRED})


@attrs.frozen
class Circumstances:
    """What a decision depends on besides the outcome.

    Attributes:
        policy: the settings', for emails that bring none.
        now_ms: the Redis server's time.
        chance: from 0 up to 1, for the jitter.
        pause_ms: until when the relay is paused, from now; used only where it is at fault.
    """

    worker: str
    relay: str
    policy: RetryPolicy
    now_ms: int
    chance: float
    pause_ms: int = 0


def open_recipients(recipients: Sequence[Recipient]) -> list[Recipient]:
    """Name those who are still to be sent to."""
    return [recipient for recipient in recipients if recipient.state in _OPEN]


def settle(job: Assignment, outcome: Outcome, given: Circumstances) -> Result:
    """Decide what becomes of ``job`` after an attempt at its open recipients."""
    recipients = _after(job.recipients, outcome)
    verdicts = {judgement.verdict for judgement in outcome.judgements}
    left = bool(open_recipients(recipients))
    # a relay's fault, or a transaction that took only so many recipients, uses no attempt up
    paused = outcome.relay_fault is not None
    more_at_once = Verdict.TOO_MANY in verdicts and Verdict.ACCEPTED in verdicts
    tries = job.tries if paused else job.tries + 1
    decision, due, reason = Decision.SENT, ENDED, outcome.reason
    if left:
        policy = job.head.retry or given.policy
        age = given.now_ms - job.since_ms
        step = decide(
            policy, tries=max(tries, 1), age_ms=age, chance=given.chance, wait=_wait(outcome)
        )
        if paused and age < policy.give_up_after * 1000:
            decision, due = Decision.PAUSE, given.now_ms + given.pause_ms
        elif more_at_once:
            decision, due, tries = Decision.RETRY, NOW, job.tries
        elif isinstance(step, GiveUp):
            recipients, reason = _given_up(recipients), f"{outcome.reason} ({step.reason})"
        else:
            decision, due = Decision.RETRY, given.now_ms + step.delay_ms
    if due and job.expires_ms:
        due = min(due, job.expires_ms)  # it will be found expired then, and not only after it
    state = JobState.DEFERRED if due else _ended(recipients)
    if state in {JobState.FAILED, JobState.PARTIALLY_SENT}:
        decision = Decision.FAIL
    attempt = Attempt(
        n=job.tries + 1,
        started_at=at(job.begun_ms),
        ended_at=at(given.now_ms),
        decision=decision,
        worker=given.worker,
        relay=given.relay,
        phase=outcome.phase,
        code=outcome.decisive.code if outcome.decisive else None,
        enhanced_code=outcome.decisive.enhanced_code if outcome.decisive else None,
        reply=reason,
        next_attempt_at=at(given.now_ms if due == NOW else due) if due else None,
    )
    return Result(job.lease, state, due, tries, recipients, attempt)


def fail(job: Assignment, reason: str, given: Circumstances) -> Result:
    """Settle a job that can't be sent, whatever the relay would say."""
    recipients = tuple(
        Recipient(r.address, RecipientState.REFUSED, reason) if r.state in _OPEN else r
        for r in job.recipients
    )
    attempt = Attempt(
        n=job.tries + 1,
        started_at=at(job.begun_ms),
        ended_at=at(given.now_ms),
        decision=Decision.FAIL,
        worker=given.worker,
        reply=reason,
    )
    return Result(job.lease, _ended(recipients), ENDED, job.tries + 1, recipients, attempt)


def hand_back(job: Assignment) -> Result:
    """Give a job back that was not tried: due now, for any worker."""
    waiting = JobState.DEFERRED if job.tries else JobState.QUEUED
    return Result(job.lease, waiting, NOW, job.tries, job.recipients, None)


def _after(recipients: Sequence[Recipient], outcome: Outcome) -> tuple[Recipient, ...]:
    """Apply the judgements to those they are about: the open ones, in order."""
    judgements = iter(outcome.judgements)
    after = []
    for recipient in recipients:
        judgement = next(judgements) if recipient.state in _OPEN else None
        if judgement and judgement.verdict in _STATES:
            state = _STATES[judgement.verdict]
            after.append(Recipient(recipient.address, state, judgement.reply))
        else:
            after.append(recipient)
    return tuple(after)


def _wait(outcome: Outcome) -> float | None:
    """Find the longest wait that was asked for with a deferral."""
    deferrals = (j.reply for j in outcome.judgements if j.verdict is Verdict.DEFERRED)
    return max((wait for reply in deferrals if (wait := wait_in(reply))), default=None)


def _given_up(recipients: Sequence[Recipient]) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(r.address, RecipientState.REFUSED, r.reply) if r.state in _OPEN else r
        for r in recipients
    )


def _ended(recipients: Sequence[Recipient]) -> JobState:
    accepted = [r.state is RecipientState.ACCEPTED for r in recipients]
    if all(accepted):
        return JobState.SENT
    return JobState.PARTIALLY_SENT if any(accepted) else JobState.FAILED
