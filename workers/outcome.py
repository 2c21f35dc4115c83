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
from workers.smtp.transaction import Phase, Transcript

_RELAY_FAULTS = frozenset({421, 530, 534, 535, 538})
_TOO_MANY = frozenset({452, 552})


class Verdict(StrEnum):
    """What a transaction means for one recipient."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    TOO_MANY = "too many"  # deferred, and may go at once if others went
    REFUSED = "refused"
    UNTRIED = "untried"  # the relay was at fault


# what explains best what happens next: why a retry, else why a refusal
_WORST_LAST = (Verdict.ACCEPTED, Verdict.REFUSED, Verdict.TOO_MANY, Verdict.DEFERRED)


@attrs.frozen
class Judgement:
    """A verdict, and the words that led to it.

    Attributes:
        bad_address: the relay knows of no such recipient, and never will.
    """

    verdict: Verdict
    reply: str
    bad_address: bool = False


@attrs.frozen
class Outcome:
    """What became of a transaction.

    Attributes:
        phase: at which the decisive reply came; without one, how far the transaction came.
        judgements: one for each recipient, in the order of the transcript.
        decisive: the reply that explains what happens next (a retry, else a refusal), where there
            was one.
        reason: likewise, in words.
        relay_fault: why the relay must be paused, or None.
    """

    phase: Phase | None
    judgements: Sequence[Judgement]
    decisive: Reply | None
    reason: str
    relay_fault: str | None = None


def classify(transcript: Transcript, recipients: int) -> Outcome:
    """Judge a transaction with that many recipients."""
    fault = next((word for word in transcript.heard if word[1].code in _RELAY_FAULTS), None)
    if fault:
        return _broken_off(transcript, recipients, *fault, str(fault[1]))
    broke_off = transcript.failure and transcript.phase is not Phase.DOT
    if broke_off and not _decided(transcript, recipients):
        return _broken_off(transcript, recipients, transcript.phase, None, transcript.failure or "")
    common = _word_on_all(transcript)
    words = [common if r.positive else (Phase.RCPT, r) for r in _about(transcript)]
    words += [common] * (recipients - len(words))
    judgements = [_judge(phase, reply, transcript) for phase, reply in words]
    (phase, decisive), judgement = max(
        zip(words, judgements, strict=True), key=lambda pair: _WORST_LAST.index(pair[1].verdict)
    )
    return Outcome(phase, judgements, decisive, judgement.reply)


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
    return any(p is not Phase.RCPT and reply.code >= 400 for p, reply in transcript.heard)


def _broken_off(
    transcript: Transcript, recipients: int, phase: Phase, fault: Reply | None, reason: str
) -> Outcome:
    """Keep what was said for good about single recipients; the others were not tried."""
    untried = Judgement(Verdict.UNTRIED, reason)
    judgements = [_of_broken_off(reply, transcript) or untried for reply in _about(transcript)]
    judgements += [untried] * (recipients - len(judgements))
    return Outcome(phase, judgements, fault, reason, relay_fault=reason)


def _of_broken_off(reply: Reply, transcript: Transcript) -> Judgement | None:
    final = transcript.final
    if reply.positive and final and final.positive:
        return Judgement(Verdict.ACCEPTED, str(final))  # the fault was at another's RCPT
    refusal = reply.code >= 500 and reply.code not in _TOO_MANY | _RELAY_FAULTS
    if not refusal:
        return None
    return Judgement(Verdict.REFUSED, str(reply), _is_bad_address(Phase.RCPT, reply))


def _about(transcript: Transcript) -> Sequence[Reply]:
    """Leave out what says nothing of them: the 503s to RCPTs pipelined behind a refused MAIL."""
    mail_taken = transcript.mail is not None and transcript.mail.positive
    return transcript.recipients if mail_taken else ()


def _word_on_all(transcript: Transcript) -> tuple[Phase, Reply | None]:
    """Find what was said of all who were not turned away at RCPT."""
    if transcript.mail and not transcript.mail.positive:
        return Phase.MAIL, transcript.mail
    if transcript.data and not transcript.data.intermediate:
        return Phase.DATA, transcript.data
    return Phase.DOT, transcript.final


def _judge(phase: Phase, reply: Reply | None, transcript: Transcript) -> Judgement:
    if reply is None:
        lost = f"{transcript.failure} after the final dot; perhaps it was delivered"
        return Judgement(Verdict.DEFERRED, lost)
    if phase is Phase.DOT and reply.positive:
        return Judgement(Verdict.ACCEPTED, str(reply))
    if phase is Phase.RCPT and reply.code in _TOO_MANY:
        return Judgement(Verdict.TOO_MANY, str(reply))
    verdict = Verdict.REFUSED if reply.code >= 500 else Verdict.DEFERRED
    return Judgement(verdict, str(reply), _is_bad_address(phase, reply))


def _is_bad_address(phase: Phase, reply: Reply) -> bool:
    """Whether there is no such mailbox (RFC 3463, X.1.1); later replies are on the content."""
    return phase is Phase.RCPT and reply.code >= 500 and reply.enhanced_code == "5.1.1"
