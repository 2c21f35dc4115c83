"""What an SMTP transaction means: pure, from a transcript to a verdict on every recipient.

| what was heard | verdict |
|---|---|
| 421 at any point | the relay is at fault; the message is not |
| 530, 534, 535, 538 at any point | likewise: the relay wants (other) credentials |
| the session broke off before the final dot, the message neither refused nor deferred | likewise |
| it broke off after the final dot | unknown: deferred, and noted as perhaps delivered |
| 4yz | deferred |
| 452 or 552 to RCPT | too many recipients at once, not a refusal (RFC 5321, 4.5.3.1.10) |
| 5yz | refused |
| 2yz after the final dot | accepted |
"""

from collections.abc import Sequence
from enum import StrEnum

import attrs

from workers.smtp.replies import Reply
from workers.smtp.session import Phase, Transcript

_RELAY_FAULTS = frozenset({421, 530, 534, 535, 538})
_TOO_MANY = frozenset({452, 552})


class Verdict(StrEnum):
    """What a transaction means for one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    TOO_MANY = "too many"  # deferred, and may go at once if others went
    REFUSED = "refused"
    UNTRIED = "untried"  # the relay was at fault


@attrs.frozen
class Judgement:
    """A verdict, and the words that led to it."""

    verdict: Verdict
    reply: str


@attrs.frozen
class Outcome:
    """What became of a transaction.

    Attributes:
        judgements: one for each recipient, in the order of the transcript.
        decisive: the reply that matters most, where there was one.
        relay_fault: why the relay must be paused, or None.
    """

    phase: Phase | None
    judgements: Sequence[Judgement]
    decisive: Reply | None
    reason: str
    relay_fault: str | None = None


def classify(transcript: Transcript, recipients: int) -> Outcome:
    """Judge a transaction with that many recipients."""
    replies = [transcript.mail, *transcript.recipients, transcript.data, transcript.final]
    fault = next((r for r in replies if r and r.code in _RELAY_FAULTS), None)
    reason = str(fault) if fault else transcript.failure
    broke_off = transcript.failure and transcript.phase is not Phase.DOT
    if fault or (broke_off and not _decided(transcript, recipients)):
        return _broken_off(transcript, recipients, fault, reason or "")
    common = _common_verdict(transcript)
    judgements = [_judge(reply, common) for reply in _about(transcript)]
    judgements += [common] * (recipients - len(judgements))
    decisive = _decisive(transcript, judgements)
    return Outcome(transcript.phase, judgements, decisive, _reason(judgements))


def broken_relay(phase: Phase, reply: Reply | None, reason: str, recipients: int) -> Outcome:
    """Judge a message for which no session could be had."""
    untried = [Judgement(Verdict.UNTRIED, reason)] * recipients
    return Outcome(phase, untried, reply, reason, relay_fault=reason)


def postponed(reason: str, recipients: int) -> Outcome:
    """Judge a message that can't be built now, and perhaps later."""
    return Outcome(None, [Judgement(Verdict.DEFERRED, reason)] * recipients, None, reason)


def _decided(transcript: Transcript, recipients: int) -> bool:
    """Whether the server spoke its mind on the message, whatever became of the session then."""
    turned_away = [reply for reply in transcript.recipients if reply.code >= 400]
    if turned_away and len(turned_away) == recipients:
        return True
    said = (transcript.mail, transcript.data, transcript.final)
    return any(reply and reply.code >= 400 for reply in said)


def _broken_off(
    transcript: Transcript, recipients: int, fault: Reply | None, reason: str
) -> Outcome:
    """Keep what was said for good about single recipients; the others were not tried."""
    judgements = [_of_broken_off(reply, transcript, reason) for reply in _about(transcript)]
    judgements += [_untried(reason)] * (recipients - len(judgements))
    return Outcome(transcript.phase, judgements, fault, reason, relay_fault=reason)


def _of_broken_off(reply: Reply, transcript: Transcript, reason: str) -> Judgement:
    final = transcript.final
    if reply.positive and final and final.positive:
        return Judgement(Verdict.ACCEPTED, str(final))  # the fault was at another's RCPT
    return Judgement(Verdict.REFUSED, str(reply)) if _is_refusal(reply) else _untried(reason)


def _about(transcript: Transcript) -> Sequence[Reply]:
    """Leave out what says nothing of them: the 503s to RCPTs pipelined behind a refused MAIL."""
    mail_taken = transcript.mail is not None and transcript.mail.positive
    return transcript.recipients if mail_taken else ()


def _untried(reason: str) -> Judgement:
    return Judgement(Verdict.UNTRIED, reason)


def _common_verdict(transcript: Transcript) -> Judgement:
    """Judge what happened to all who were not turned away at RCPT."""
    if transcript.mail and not transcript.mail.positive:
        return _of_refusing(transcript.mail)
    if transcript.data and not transcript.data.intermediate:
        return _of_refusing(transcript.data)
    if transcript.final is None:
        lost = f"{transcript.failure} after the final dot; perhaps it was delivered"
        return Judgement(Verdict.DEFERRED, lost)
    if transcript.final.positive:
        return Judgement(Verdict.ACCEPTED, str(transcript.final))
    return _of_refusing(transcript.final)


def _judge(reply: Reply, common: Judgement) -> Judgement:
    if reply.positive:
        return common
    if reply.code in _TOO_MANY:
        return Judgement(Verdict.TOO_MANY, str(reply))
    return _of_refusing(reply)


def _of_refusing(reply: Reply) -> Judgement:
    return Judgement(Verdict.REFUSED if reply.code >= 500 else Verdict.DEFERRED, str(reply))


def _is_refusal(reply: Reply) -> bool:
    return reply.code >= 500 and reply.code not in _TOO_MANY | _RELAY_FAULTS


_WORST_LAST = (
    Verdict.ACCEPTED,
    Verdict.REFUSED,
    Verdict.TOO_MANY,
    Verdict.DEFERRED,
    Verdict.UNTRIED,
)


def _reason(judgements: Sequence[Judgement]) -> str:
    """Pick the words that explain what happens next: why a retry, else why a refusal."""
    return max(judgements, key=lambda j: _WORST_LAST.index(j.verdict)).reply


def _decisive(transcript: Transcript, judgements: Sequence[Judgement]) -> Reply | None:
    reason = _reason(judgements)
    said = [transcript.mail, *transcript.recipients, transcript.data, transcript.final]
    return next((reply for reply in said if reply and str(reply) == reason), None)
