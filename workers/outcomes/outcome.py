"""What an SMTP transaction means: pure, from a transcript to a verdict on every recipient.

Each reply is looked up in `rules`. Here stands what depends on more than one reply:

- A reply that is a fault of the relay, anywhere, ends it for all who were not turned away before.
- A session that broke off before the final dot is one too, unless the message had been refused or
  deferred already. After the final dot the outcome is unknown.
- Who was turned away at RCPT keeps that reply; the others share the reply to MAIL, DATA or the
  message; with LMTP each has one of their own to the message.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain, repeat

import msgspec

from workers.outcomes.rules import (
    ACCEPTED,
    BROKEN_OFF,
    KEPT_BACK,
    NO_SESSION,
    NOT_READY,
    RULES,
    UNKNOWN,
    Action,
    Rule,
    find,
)
from workers.smtp.replies import Reply, all_positive
from workers.smtp.transaction import Phase, Transcript


class Verdict(StrEnum):
    """What a transaction means for one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    THROTTLED = "throttled"  # deferred, and a reason to send less
    TOO_MANY = "too many"  # deferred, and may go at once if others went
    REFUSED = "refused"
    UNKNOWN = "unknown"  # perhaps it was delivered
    UNTRIED = "untried"  # the relay was at fault
    SUPPRESSED = "suppressed"  # no relay was asked


_VERDICTS = {
    Action.ACCEPT: Verdict.ACCEPTED,
    Action.RETRY: Verdict.DEFERRED,
    Action.THROTTLE: Verdict.THROTTLED,
    Action.TOO_MANY: Verdict.TOO_MANY,
    Action.REFUSE: Verdict.REFUSED,
    Action.RELAY_FAULT: Verdict.UNTRIED,
}
# what explains best what happens next: why a retry, else why a refusal
_WORST_LAST = (
    *(Verdict.ACCEPTED, Verdict.REFUSED, Verdict.TOO_MANY, Verdict.THROTTLED, Verdict.DEFERRED),
    Verdict.UNKNOWN,
)


class Judgement(msgspec.Struct, frozen=True):
    """A verdict on one recipient, the words that led to it, and the rule that they fit."""

    verdict: Verdict
    reply: str
    rule: Rule

    @property
    def bad_address(self) -> bool:
        """Whether the relay knows of no such recipient, and never will."""
        return self.rule.bad_address


class Outcome(msgspec.Struct, frozen=True):
    """What became of a transaction.

    Attributes:
        phase: at which the decisive reply came; without one, how far the transaction came.
        judgements: one for each recipient, in the order of the transcript.
        decisive: the reply that explains what happens next (a retry, else a refusal), where there
            was one.
        reason: likewise, in words.
        rule: likewise, the rule.
        relay_fault: why the relay must be paused, or None.
        at_once: another try need not wait: the server had hardly come to the message.
        taken_by_all: one positive reply stands for all, as mostly; False says nothing.
    """

    phase: Phase | None
    judgements: Sequence[Judgement]
    decisive: Reply | None
    reason: str
    rule: Rule
    relay_fault: str | None = None
    at_once: bool = False
    taken_by_all: bool = False


class _Word(msgspec.Struct, frozen=True):
    """A reply to a phase, or that there was none; and what is made of it."""

    phase: Phase
    reply: Reply | None
    judgement: Judgement


def classify(transcript: Transcript, recipients: int, rules: Sequence[Rule] = RULES) -> Outcome:
    """Judge a transaction with that many recipients."""
    if _taken_by_all(transcript, recipients):  # there is no more to weigh
        final = transcript.finals[0]
        reason = str(final)
        said = Judgement(Verdict.ACCEPTED, reason, ACCEPTED)
        judgements = [said] * recipients
        return Outcome(Phase.DOT, judgements, final, reason, ACCEPTED, taken_by_all=True)
    for phase, reply in transcript.heard:
        taken = reply.intermediate if phase is Phase.DATA else reply.positive
        if not taken and (rule := find(rules, phase, reply)).action is Action.RELAY_FAULT:
            return _broken_off(transcript, recipients, rules, rule, (phase, reply))
    broke_off = transcript.failure and transcript.phase is not Phase.DOT
    if broke_off and not _decided(transcript, recipients):
        return _broken_off(transcript, recipients, rules, BROKEN_OFF)
    words = list(_words(transcript, recipients, rules))
    worst = max(words, key=lambda word: _WORST_LAST.index(word.judgement.verdict))
    return Outcome(
        worst.phase,
        [word.judgement for word in words],
        worst.reply,
        worst.judgement.reply,
        worst.judgement.rule,
        at_once=transcript.phase is Phase.DOT and len(transcript.recipients) < recipients,
    )


def _taken_by_all(transcript: Transcript, recipients: int) -> bool:
    """Whether the server objected to nothing, as mostly, and has one word on all."""
    if transcript.lmtp or len(transcript.recipients) != recipients or not transcript.finals:
        return False
    mail = transcript.mail
    said = (*transcript.recipients, transcript.finals[0])
    return mail is not None and mail.positive and all_positive(said)


def broken_relay(phase: Phase, reply: Reply | None, reason: str, recipients: int) -> Outcome:
    """Judge a message for which no session could be had."""
    untried = [Judgement(Verdict.UNTRIED, reason, NO_SESSION)] * recipients
    return Outcome(phase, untried, reply, reason, NO_SESSION, relay_fault=reason)


def postponed(reason: str, recipients: int) -> Outcome:
    """Judge a message that can't be built now, and perhaps later."""
    deferred = [Judgement(Verdict.DEFERRED, reason, NOT_READY)] * recipients
    return Outcome(None, deferred, None, reason, NOT_READY)


def kept_back(reasons: Sequence[str]) -> Outcome:
    """Judge recipients to whom sandbox mode sends nothing, each for a reason."""
    suppressed = [Judgement(Verdict.SUPPRESSED, reason, KEPT_BACK) for reason in reasons]
    return Outcome(None, suppressed, None, reasons[0], KEPT_BACK)


def _words(transcript: Transcript, recipients: int, rules: Sequence[Rule]) -> Iterator[_Word]:
    """Find the last word on each recipient."""
    common = _refusal_of_all(transcript)
    finals = repeat(_judged(*common, transcript, rules)) if common else _finals(transcript, rules)
    at_rcpt = _about(transcript)
    for reply in at_rcpt:
        turned_away = not reply.positive
        yield _judged(Phase.RCPT, reply, transcript, rules) if turned_away else next(finals)
    for _ in range(recipients - len(at_rcpt)):
        yield next(finals)


def _refusal_of_all(transcript: Transcript) -> tuple[Phase, Reply] | None:
    """Find what was said to all who were not turned away at RCPT, before the message was sent."""
    if transcript.mail and not transcript.mail.positive:
        return Phase.MAIL, transcript.mail
    if transcript.data and not transcript.data.intermediate:
        return Phase.DATA, transcript.data
    return None


def _finals(transcript: Transcript, rules: Sequence[Rule]) -> Iterator[_Word]:
    """Judge the message for each who was accepted at RCPT; without end."""
    if not transcript.lmtp:
        return repeat(_judged(Phase.DOT, transcript.final, transcript, rules))
    replies = chain(transcript.finals, repeat(None))
    return (_judged(Phase.DOT, reply, transcript, rules) for reply in replies)


def _judged(
    phase: Phase, reply: Reply | None, transcript: Transcript, rules: Sequence[Rule]
) -> _Word:
    if reply is None:
        lost = f"{transcript.failure} after the final dot; perhaps it was delivered"
        return _Word(phase, None, Judgement(Verdict.UNKNOWN, lost, UNKNOWN))
    # by far the most replies
    accepted = phase is Phase.DOT and reply.positive
    rule = ACCEPTED if accepted else find(rules, phase, reply)
    return _Word(phase, reply, Judgement(_VERDICTS[rule.action], str(reply), rule))


def _decided(transcript: Transcript, recipients: int) -> bool:
    """Whether the server spoke its mind on the message, whatever became of the session then."""
    turned_away = [reply for reply in transcript.recipients if reply.code >= 400]
    if turned_away and len(turned_away) == recipients:
        return True
    return any(p is not Phase.RCPT and reply.code >= 400 for p, reply in transcript.heard)


def _broken_off(
    transcript: Transcript,
    recipients: int,
    rules: Sequence[Rule],
    rule: Rule,
    word: tuple[Phase, Reply] | None = None,
) -> Outcome:
    """Keep what was said for good about single recipients, and doubts; others were not tried."""
    phase, reply = word or (transcript.phase, None)
    reason = str(reply or transcript.failure)
    untried = Judgement(Verdict.UNTRIED, reason, rule)
    # whoever was accepted at RCPT may have the message, though another reply was the relay's fault
    kept = {Verdict.ACCEPTED, Verdict.REFUSED}
    kept |= {Verdict.UNKNOWN} if transcript.phase is Phase.DOT else set()
    finals, judgements = _finals(transcript, rules), []
    for said in _about(transcript):
        last = next(finals) if said.positive else _judged(Phase.RCPT, said, transcript, rules)
        judgements.append(last.judgement if last.judgement.verdict in kept else untried)
    judgements += [untried] * (recipients - len(judgements))
    return Outcome(phase, judgements, reply, reason, rule, relay_fault=reason)


def _about(transcript: Transcript) -> Sequence[Reply]:
    """Leave out what says nothing of them: the 503s to RCPTs pipelined behind a refused MAIL."""
    mail_taken = transcript.mail is not None and transcript.mail.positive
    return transcript.recipients if mail_taken else ()
