"""What an attempt leads to: pure, from an assignment and an outcome to the result on record."""

from collections.abc import Container, Mapping, Sequence
from itertools import islice

import msgspec

from mailer.job import Attempt, Decision, JobState, Recipient, RecipientState, end_of
from mailer.retry import RetryPolicy
from mailer.store.agenda import ENDED, NOW, Assignment, Result
from mailer.store.records import at, milliseconds
from workers.outcomes.hints import wait_in
from workers.outcomes.outcome import Judgement, Outcome, Verdict
from workers.outcomes.retry import GiveUp, decide

_STATES = {
    Verdict.ACCEPTED: RecipientState.ACCEPTED,
    Verdict.REFUSED: RecipientState.REFUSED,
    Verdict.DEFERRED: RecipientState.DEFERRED,
    Verdict.THROTTLED: RecipientState.DEFERRED,
    Verdict.TOO_MANY: RecipientState.DEFERRED,
    Verdict.SUPPRESSED: RecipientState.SUPPRESSED,
}
# what is unknown is tried again, unless it must not be sent twice
_TWICE = {**_STATES, Verdict.UNKNOWN: RecipientState.DEFERRED}
_ONCE = {**_STATES, Verdict.UNKNOWN: RecipientState.UNCONFIRMED}
_ENDS = {
    JobState.FAILED: Decision.FAIL,
    JobState.PARTIALLY_SENT: Decision.FAIL,
    JobState.UNCONFIRMED: Decision.UNCONFIRMED,
}
_DEFERRALS = frozenset({Verdict.DEFERRED, Verdict.THROTTLED})
MOST_CRASHES = 3  # of processes that sent one job, before it counts as their cause
_MOST_REPLIES = 20  # kept with an attempt
_OPEN = frozenset({RecipientState.PENDING, RecipientState.DEFERRED})


class Circumstances(msgspec.Struct, frozen=True):
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


def open_recipients(recipients: Sequence[Recipient], now_ms: int) -> list[Recipient]:
    """Name those who may be sent to now; all where it is nobody's time, for a person asked."""
    left = [recipient for recipient in recipients if recipient.state in _OPEN]
    return [recipient for recipient in left if _due(recipient, now_ms) == NOW] or left


def settle(job: Assignment, outcome: Outcome, given: Circumstances, tried: Sequence[str]) -> Result:
    """Decide what becomes of ``job`` after an attempt at some of its open recipients.

    Args:
        tried: their addresses, in the order of the outcome's judgements.
    """
    # As mostly: nobody is left, nor was refused. As many as there are were tried, all of them open.
    if outcome.taken_by_all and len(tried) == len(job.recipients):
        taken = tuple(
            [Recipient(r.address, RecipientState.ACCEPTED, outcome.reason) for r in job.recipients]
        )
        attempt = _attempt(job, outcome, given, Decision.SENT)
        return Result(job.lease, JobState.SENT, ENDED, job.tries + 1, taken, attempt)
    once = job.head.delivery == "at-most-once"
    judged = dict(zip(tried, outcome.judgements, strict=True))
    recipients = _after(job.recipients, judged, once=once)
    still_open = [r for r in recipients if r.state in _OPEN]
    left = {r.address for r in still_open if r.address in tried}
    others = [r for r in still_open if r.address not in tried]
    step = _next_step(job, outcome, given) if left else _done(outcome)
    reason = outcome.reason
    if step.gives_up:
        recipients, reason = _given_up(recipients, left), f"{reason} ({step.gives_up})"
    elif others:
        recipients = _not_before(recipients, left, step.due_ms)
    due = _first([*([step.due_ms] if left else []), *(_due(r, given.now_ms) for r in others)])
    because = step.because if left and due == step.due_ms else "it is the turn of other recipients"
    # an attempt is used up once all have had it
    tries = job.tries if step.is_free or (others and due == NOW) else job.tries + 1
    if 0 < job.expires_ms < due:  # it will be found expired then, and not only after it
        due, because = job.expires_ms, "it expires then"
    state = JobState.DEFERRED if due else end_of(recipients)
    decision = step.decision if step is _KEPT_BACK else _ENDS.get(state, step.decision)
    attempt = msgspec.structs.replace(
        _attempt(job, outcome, given, decision),
        reply=reason,
        replies=_other_replies(outcome, tried),
        next_attempt_at=at(given.now_ms if due == NOW else due) if due else None,
        because=because if due else None,
    )
    bad = tuple(a for a, j in zip(tried, outcome.judgements, strict=True) if j.bad_address)
    return Result(job.lease, state, due, tries, recipients, attempt, bad_addresses=bad)


def _attempt(
    job: Assignment, outcome: Outcome, given: Circumstances, decision: Decision
) -> Attempt:
    """Give the attempt as far as its outcome tells."""
    decisive = outcome.decisive
    return Attempt(
        n=job.tries + 1,
        started_at=at(job.begun_ms),
        ended_at=at(given.now_ms),
        decision=decision,
        worker=given.worker,
        relay=given.relay,
        phase=outcome.phase,
        code=decisive.code if decisive else None,
        enhanced_code=decisive.enhanced_code if decisive else None,
        reply=outcome.reason,
        rule=outcome.rule.name,
    )


class _Step(msgspec.Struct, frozen=True):
    """What comes next for those who were tried and are left.

    Attributes:
        because: why it is due then.
        is_free: it uses no attempt up.
        gives_up: why there is no next attempt, or empty.
    """

    decision: Decision
    due_ms: int
    because: str = ""
    is_free: bool = False
    gives_up: str = ""


_KEPT_BACK = _Step(Decision.SUPPRESSED, ENDED, is_free=True)


def _done(outcome: Outcome) -> _Step:
    """Say what an attempt led to of whose recipients none is left."""
    verdicts = {judgement.verdict for judgement in outcome.judgements}
    if verdicts == {Verdict.SUPPRESSED}:
        return _KEPT_BACK
    if Verdict.ACCEPTED in verdicts:
        return _Step(Decision.SENT, ENDED)
    return _Step(Decision.UNCONFIRMED if Verdict.UNKNOWN in verdicts else Decision.FAIL, ENDED)


def _next_step(job: Assignment, outcome: Outcome, given: Circumstances) -> _Step:
    verdicts = {judgement.verdict for judgement in outcome.judgements}
    # a relay's fault, or a transaction that took only so many recipients, uses no attempt up
    paused = outcome.relay_fault is not None
    policy = job.head.retry or given.policy
    age = given.now_ms - job.since_ms
    if paused and age < policy.give_up_after * 1000:
        because = "the relay is paused until then" if given.pause_ms else "another relay takes over"
        return _Step(Decision.PAUSE, given.now_ms + given.pause_ms, because, is_free=True)
    if Verdict.TOO_MANY in verdicts and Verdict.ACCEPTED in verdicts:
        because = "the server takes only so many recipients at once"
        return _Step(Decision.RETRY, NOW, because, is_free=True)
    tries = max(job.tries if paused else job.tries + 1, 1)
    if outcome.at_once and not job.tries:
        because = "the connection was lost before the server had come to the message"
        return _Step(Decision.RETRY, NOW, because)
    decided = decide(
        policy,
        tries=tries,
        age_ms=age,
        chance=given.chance,
        wait=_wait(outcome),
        least=_least(outcome),
    )
    if isinstance(decided, GiveUp):
        return _Step(Decision.FAIL, ENDED, is_free=paused, gives_up=decided.reason)
    due_ms = given.now_ms + decided.delay_ms
    return _Step(Decision.RETRY, due_ms, decided.because, is_free=paused)


def _due(recipient: Recipient, now_ms: int) -> int:
    """Tell when a recipient is due who was not tried this time."""
    due_ms = milliseconds(recipient.not_before) if recipient.not_before else NOW
    return due_ms if due_ms > now_ms else NOW


def _first(due: Sequence[int]) -> int:
    """Choose the first of the times; `NOW` is before all others."""
    return min((moment for moment in due if moment != ENDED), default=ENDED)


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
    return Result(job.lease, end_of(recipients), ENDED, job.tries + 1, recipients, attempt)


def crashed(
    job: Assignment, reason: str, given: Circumstances, committed: Sequence[str] = ()
) -> Result:
    """Settle an attempt in which this process, or one for that job alone, failed by itself.

    It uses no attempt of the retry policy up, but there are `MOST_CRASHES`.

    Args:
        committed: addresses to which it may have got through, for all we know.
    """
    crashes = job.crashes + 1
    last, once = crashes >= MOST_CRASHES, job.head.delivery == "at-most-once"
    if last:
        reason = f"{reason} (crash {crashes}; {MOST_CRASHES} are too many)"
    recipients = []
    for r in job.recipients:
        if r.state in _OPEN and r.address in committed and (last or once):
            recipients.append(Recipient(r.address, RecipientState.UNCONFIRMED, reason))
        elif r.state in _OPEN and last:
            recipients.append(Recipient(r.address, RecipientState.REFUSED, reason))
        else:
            recipients.append(r)
    ended = all(r.state not in _OPEN for r in recipients)
    due_ms = ENDED if ended else given.now_ms + round(given.policy.delays[0] * 1000)
    state = end_of(recipients) if ended else JobState.DEFERRED
    attempt = Attempt(
        n=job.tries + 1,
        started_at=at(job.begun_ms),
        ended_at=at(given.now_ms),
        decision=_ENDS.get(state, Decision.INTERRUPTED),
        worker=given.worker,
        reply=reason,
        next_attempt_at=None if ended else at(due_ms),
        because=None if ended else f"crash {crashes}; {MOST_CRASHES} are too many",
    )
    return Result(job.lease, state, due_ms, job.tries, tuple(recipients), attempt, crashes=crashes)


def hand_back(job: Assignment) -> Result:
    """Give a job back that was not tried: due now, for any worker."""
    return put_back(job, NOW, "")


def put_back(job: Assignment, due_ms: int, reason: str) -> Result:
    """Give a job back that can't be tried before a time."""
    waiting = JobState.DEFERRED if job.tries else JobState.QUEUED
    if job.expires_ms:
        due_ms = min(due_ms, job.expires_ms)
    return Result(
        job.lease, waiting, due_ms, job.tries, job.recipients, None, reason, crashes=job.crashes
    )


def _after(
    recipients: Sequence[Recipient], judged: Mapping[str, Judgement], *, once: bool
) -> tuple[Recipient, ...]:
    """Apply the judgements to those they are about."""
    states = _ONCE if once else _TWICE
    after = []
    for recipient in recipients:
        judgement = judged.get(recipient.address) if recipient.state in _OPEN else None
        if judgement and judgement.verdict in states:
            state = states[judgement.verdict]
            after.append(Recipient(recipient.address, state, judgement.reply))
        else:
            after.append(recipient)
    return tuple(after)


def _wait(outcome: Outcome) -> float | None:
    """Find the longest wait that was asked for with a deferral."""
    deferrals = (j.reply for j in outcome.judgements if j.verdict in _DEFERRALS)
    return max((wait for reply in deferrals if (wait := wait_in(reply))), default=None)


def _least(outcome: Outcome) -> float:
    """Find the longest wait that the rules have for a deferral."""
    waits = (j.rule.wait or 0.0 for j in outcome.judgements if j.verdict in _DEFERRALS)
    return max(waits, default=0.0)


def _other_replies(outcome: Outcome, tried: Sequence[str]) -> dict[str, str]:
    """Keep what was said of recipients, where it was not the same of all."""
    pairs = zip(tried, outcome.judgements, strict=True)
    others = {to: said.reply for to, said in pairs if said.reply != outcome.reason}
    return dict(islice(others.items(), _MOST_REPLIES))


def _given_up(recipients: Sequence[Recipient], whom: Container[str]) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(r.address, RecipientState.REFUSED, r.reply) if r.address in whom else r
        for r in recipients
    )


def _not_before(
    recipients: Sequence[Recipient], whom: Container[str], due_ms: int
) -> tuple[Recipient, ...]:
    """Note a time for some of the recipients: others are tried earlier."""
    moment = None if due_ms == NOW else at(due_ms)
    return tuple(
        msgspec.structs.replace(r, not_before=moment) if r.address in whom else r
        for r in recipients
    )
