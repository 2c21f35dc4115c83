import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.outcomes.outcome import Verdict, broken_relay, classify, postponed
from workers.smtp.replies import Reply
from workers.smtp.transaction import Phase, Transcript

ACCEPTED, DEFERRED, TOO_MANY = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.TOO_MANY
REFUSED, UNTRIED, LOST = Verdict.REFUSED, Verdict.UNTRIED, Verdict.UNKNOWN
CLOSED = "the server closed the connection"


def reply(line):
    return Reply.of(int(line[:3]), line[4:]) if line else None


def heard(mail=None, rcpt=(), data=None, dot=None, phase=Phase.DOT, failure=None):
    """Make a transcript of plain reply lines."""
    recipients = tuple(map(reply, rcpt))
    finals = (reply(dot),) if dot else ()
    return Transcript(phase, reply(mail), recipients, reply(data), finals, failure)


OK, GO, NO_MAIL = "250 2.1.0 ok", "354 go", "503 5.5.1 MAIL first"
GREYLISTED, UNKNOWN = "450 4.7.1 greylisted", "550 5.1.1 unknown"
BUSY = "421 4.3.2 shutting down"

# transcript, verdicts on two recipients, code of the decisive reply
TABLE = {
    "both accepted": (heard(OK, [OK, OK], GO, OK), [ACCEPTED, ACCEPTED], 250),
    "both refused after the dot": (
        heard(OK, [OK, OK], GO, "554 5.7.1 spam"),
        [REFUSED, REFUSED],
        554,
    ),
    "both deferred after the dot": (
        heard(OK, [OK, OK], GO, "451 4.3.0 later"),
        [DEFERRED, DEFERRED],
        451,
    ),
    "452 after the dot is no matter of recipients": (
        heard(OK, [OK, OK], GO, "452 4.3.1 disk full"),
        [DEFERRED, DEFERRED],
        452,
    ),
    "552 after the dot: too large": (
        heard(OK, [OK, OK], GO, "552 5.3.4 too large"),
        [REFUSED, REFUSED],
        552,
    ),
    "552 before the dot, and the end of the session": (
        heard(OK, [OK, OK], GO, "552 5.3.4 too large", Phase.DATA, CLOSED),
        [REFUSED, REFUSED],
        552,
    ),
    "one accepted, one greylisted": (
        heard(OK, [OK, GREYLISTED], GO, OK),
        [ACCEPTED, DEFERRED],
        450,
    ),
    "one refused, one accepted": (heard(OK, [UNKNOWN, OK], GO, OK), [REFUSED, ACCEPTED], 550),
    "one refused, the other deferred after the dot": (
        heard(OK, [UNKNOWN, OK], GO, "451 4.3.0 later"),
        [REFUSED, DEFERRED],
        451,
    ),
    "one greylisted, the other refused after the dot": (
        heard(OK, [GREYLISTED, OK], GO, "554 5.7.1 spam"),
        [DEFERRED, REFUSED],
        450,
    ),
    "452 at RCPT": (heard(OK, [OK, "452 4.5.3 enough"], GO, OK), [ACCEPTED, TOO_MANY], 452),
    "552 at RCPT": (heard(OK, [OK, "552 5.5.3 enough"], GO, OK), [ACCEPTED, TOO_MANY], 552),
    "452 at every RCPT": (
        heard(OK, ["452 4.5.3 no", "452 4.5.3 no"], "554 5.5.1 none", phase=Phase.DATA),
        [TOO_MANY, TOO_MANY],
        452,
    ),
    "all refused": (
        heard(OK, [UNKNOWN, UNKNOWN], "554 5.5.1 none", phase=Phase.DATA),
        [REFUSED, REFUSED],
        550,
    ),
    "all refused, without pipelining": (
        heard(OK, [UNKNOWN, UNKNOWN], phase=Phase.RCPT),
        [REFUSED, REFUSED],
        550,
    ),
    "all refused, and DATA was taken all the same": (
        heard(OK, [UNKNOWN, UNKNOWN], GO, phase=Phase.RCPT),
        [REFUSED, REFUSED],
        550,
    ),
    "all turned away, and the end of the session": (
        heard(OK, [UNKNOWN, GREYLISTED], phase=Phase.RCPT, failure=CLOSED),
        [REFUSED, DEFERRED],
        450,
    ),
    "MAIL refused": (heard("550 5.7.1 not you", phase=Phase.MAIL), [REFUSED, REFUSED], 550),
    "MAIL refused, the rest pipelined behind it": (
        heard("550 5.7.1 not you", [NO_MAIL, NO_MAIL], NO_MAIL, phase=Phase.DATA),
        [REFUSED, REFUSED],
        550,
    ),
    "MAIL deferred": (heard("451 4.7.1 later", phase=Phase.MAIL), [DEFERRED, DEFERRED], 451),
    "MAIL deferred, the rest pipelined behind it": (
        heard("451 4.7.1 later", [NO_MAIL, NO_MAIL], NO_MAIL, phase=Phase.DATA),
        [DEFERRED, DEFERRED],
        451,
    ),
    "MAIL refused, and the end of the session": (
        heard("550 5.7.1 not you", phase=Phase.MAIL, failure=CLOSED),
        [REFUSED, REFUSED],
        550,
    ),
    "452 to MAIL": (heard("452 4.3.1 disk full", phase=Phase.MAIL), [DEFERRED, DEFERRED], 452),
    "DATA refused": (
        heard(OK, [OK, OK], "554 5.7.1 no", phase=Phase.DATA),
        [REFUSED, REFUSED],
        554,
    ),
    "DATA deferred": (
        heard(OK, [OK, OK], "451 4.3.0 no", phase=Phase.DATA),
        [DEFERRED, DEFERRED],
        451,
    ),
    "DATA refused, and the end of the session": (
        heard(OK, [OK, UNKNOWN], "451 4.3.0 no", phase=Phase.DATA, failure=CLOSED),
        [DEFERRED, REFUSED],
        451,
    ),
    "accepted, and the end of the session": (
        heard(OK, [OK, OK], GO, OK, failure=CLOSED),
        [ACCEPTED, ACCEPTED],
        250,
    ),
    "broke off after the dot": (
        heard(OK, [OK, OK], GO, failure=CLOSED),
        [LOST, LOST],
        None,
    ),
    "broke off after the dot, one had been refused": (
        heard(OK, [OK, UNKNOWN], GO, failure=CLOSED),
        [LOST, REFUSED],
        None,
    ),
}


@pytest.mark.parametrize(("transcript", "verdicts", "code"), TABLE.values(), ids=TABLE.keys())
def test_replies_are_judged_for_each_recipient(transcript, verdicts, code):
    outcome = classify(transcript, 2)
    assert [judgement.verdict for judgement in outcome.judgements] == verdicts
    assert outcome.relay_fault is None
    assert (outcome.decisive.code if outcome.decisive else None) == code


@pytest.mark.parametrize(
    ("transcript", "phase"),
    [
        (heard("451 no", [NO_MAIL], NO_MAIL, phase=Phase.DATA), Phase.MAIL),
        (heard(OK, [GREYLISTED], "503 5.5.1 no", phase=Phase.DATA), Phase.RCPT),
        (heard(OK, [OK, GREYLISTED], GO, OK), Phase.RCPT),
        (heard(OK, [OK], "451 no", phase=Phase.DATA), Phase.DATA),
        (heard(OK, [OK], GO, OK), Phase.DOT),
        (heard(OK, [OK], GO, failure=CLOSED), Phase.DOT),
        (heard(OK, [BUSY], BUSY, phase=Phase.DATA, failure=CLOSED), Phase.RCPT),
        (heard(OK, phase=Phase.RCPT, failure=CLOSED), Phase.RCPT),
    ],
)
def test_the_phase_is_where_the_reply_came_though_more_was_pipelined_behind(transcript, phase):
    assert classify(transcript, len(transcript.recipients) or 1).phase is phase


FAULTS = {
    "421 to MAIL": (heard(BUSY, phase=Phase.MAIL, failure=CLOSED), [UNTRIED, UNTRIED], 421),
    "421 to a RCPT": (
        heard(OK, [OK, BUSY], phase=Phase.RCPT, failure=CLOSED),
        [UNTRIED, UNTRIED],
        421,
    ),
    "421 to a RCPT, after a refusal": (
        heard(OK, [UNKNOWN, BUSY], phase=Phase.RCPT, failure=CLOSED),
        [REFUSED, UNTRIED],
        421,
    ),
    "421 to a RCPT, and all goes on": (
        heard(OK, [OK, BUSY], GO, OK, phase=Phase.DOT),
        [ACCEPTED, UNTRIED],
        421,
    ),
    "421 to a RCPT, and the reply to the message lost": (
        heard(OK, [OK, BUSY], GO, failure=CLOSED),
        [LOST, UNTRIED],
        421,
    ),
    "421 to a RCPT, and broke off in the message": (
        heard(OK, [OK, BUSY], GO, phase=Phase.DATA, failure=CLOSED),
        [UNTRIED, UNTRIED],
        421,
    ),
    "421 for one recipient of LMTP, and the reply for the other lost": (
        msgspec.structs.replace(heard(OK, [OK, OK], GO, BUSY, failure=CLOSED), lmtp=True),
        [UNTRIED, LOST],
        421,
    ),
    "421 to DATA": (
        heard(OK, [OK, OK], BUSY, phase=Phase.DATA, failure=CLOSED),
        [UNTRIED, UNTRIED],
        421,
    ),
    "421 after the dot": (
        heard(OK, [OK, OK], GO, BUSY, failure=CLOSED),
        [UNTRIED, UNTRIED],
        421,
    ),
    "421 after the dot, one had been refused": (
        heard(OK, [OK, UNKNOWN], GO, BUSY, failure=CLOSED),
        [UNTRIED, REFUSED],
        421,
    ),
    **{
        f"{code} to MAIL": (
            heard(f"{code} 5.7.0 log in", [NO_MAIL, NO_MAIL], NO_MAIL, phase=Phase.DATA),
            [UNTRIED, UNTRIED],
            code,
        )
        for code in (530, 534, 535, 538)
    },
    "530 to a RCPT": (
        heard(OK, ["530 5.7.0 log in"] * 2, NO_MAIL, phase=Phase.DATA),
        [UNTRIED, UNTRIED],
        530,
    ),
    "nothing heard": (heard(phase=Phase.MAIL, failure=CLOSED), [UNTRIED, UNTRIED], None),
    "broke off at RCPT": (
        heard(OK, [UNKNOWN], phase=Phase.RCPT, failure=CLOSED),
        [REFUSED, UNTRIED],
        None,
    ),
    "broke off at RCPT, after a greylisting": (
        heard(OK, [GREYLISTED], phase=Phase.RCPT, failure=CLOSED),
        [UNTRIED, UNTRIED],
        None,
    ),
    "broke off at RCPT, after too many": (
        heard(OK, ["552 5.5.3 enough"], phase=Phase.RCPT, failure=CLOSED),
        [UNTRIED, UNTRIED],
        None,
    ),
    "broke off before the reply to DATA": (
        heard(OK, [OK, UNKNOWN], phase=Phase.RCPT, failure=CLOSED),
        [UNTRIED, REFUSED],
        None,
    ),
    "broke off in the message": (
        heard(OK, [OK, OK], GO, phase=Phase.DATA, failure=CLOSED),
        [UNTRIED, UNTRIED],
        None,
    ),
    "garbage": (
        heard(OK, phase=Phase.RCPT, failure="no SMTP reply: b'hm'"),
        [UNTRIED, UNTRIED],
        None,
    ),
}


@pytest.mark.parametrize(("transcript", "verdicts", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_the_relay_is_told_from_one_of_the_message(transcript, verdicts, code):
    outcome = classify(transcript, 2)
    assert [judgement.verdict for judgement in outcome.judgements] == verdicts
    assert outcome.relay_fault == (str(outcome.decisive) if code else transcript.failure)
    assert (outcome.decisive.code if outcome.decisive else None) == code


def test_an_unknown_end_says_that_it_may_be_a_delivery():
    outcome = classify(heard(OK, [OK], GO, failure=CLOSED), 1)
    assert outcome.reason == f"{CLOSED} after the final dot; perhaps it was delivered"


@pytest.mark.parametrize(
    ("rcpt", "dot", "reason"),
    [
        ([OK, GREYLISTED, UNKNOWN], OK, GREYLISTED),
        ([OK, UNKNOWN], OK, UNKNOWN),
        (["452 4.5.3 enough", UNKNOWN, OK], OK, "452 4.5.3 enough"),
        ([OK], "250 2.0.0 queued", "250 2.0.0 queued"),
    ],
    ids=["deferral first", "then refusal", "too many before refusal", "all well"],
)
def test_the_reason_explains_what_happens_next(rcpt, dot, reason):
    outcome = classify(heard(OK, rcpt, GO, dot), len(rcpt))
    assert outcome.reason == str(outcome.decisive) == reason


def test_each_recipient_keeps_its_own_reply():
    outcome = classify(heard(OK, [OK, GREYLISTED, UNKNOWN], GO, "250 2.0.0 queued"), 3)
    assert [j.reply for j in outcome.judgements] == ["250 2.0.0 queued", GREYLISTED, UNKNOWN]


def test_without_a_session_nobody_was_tried():
    said = reply("535 5.7.8 wrong")
    outcome = broken_relay(Phase.AUTH, said, str(said), 3)
    assert [j.verdict for j in outcome.judgements] == [UNTRIED] * 3
    assert (outcome.phase, outcome.decisive) == (Phase.AUTH, said)
    assert outcome.relay_fault == "535 5.7.8 wrong"


def test_a_message_that_cannot_be_built_now_is_deferred_by_no_fault_of_the_relay():
    outcome = postponed("disk asleep", 2)
    assert [j.verdict for j in outcome.judgements] == [DEFERRED] * 2
    assert (outcome.relay_fault, outcome.phase) == (None, None)


replies = st.sampled_from([200, 250, 251, 421, 450, 451, 452, 503, 530, 535, 550, 552, 554]).map(
    lambda code: Reply(code, None, "said")
)


@given(
    mail=st.none() | replies,
    rcpt=st.lists(replies, max_size=3),
    data=st.none() | replies | st.just(Reply(354, None, "go")),
    finals=st.lists(replies, max_size=1),
    phase=st.sampled_from([Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT]),
    failure=st.none() | st.just(CLOSED),
)
def test_whatever_was_heard_each_recipient_is_judged_and_accepted_only_by_a_250_to_the_dot(
    mail, rcpt, data, finals, phase, failure
):
    outcome = classify(Transcript(phase, mail, rcpt, data, finals, failure), 3)
    verdicts = [judgement.verdict for judgement in outcome.judgements]
    assert len(verdicts) == 3
    assert (UNTRIED in verdicts) <= (outcome.relay_fault is not None)
    if ACCEPTED in verdicts:
        assert finals
        assert finals[0].positive
