from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.address import Address
from mailer.job import Decision, JobState, Priority, Recipient, RecipientState
from mailer.message import Message
from mailer.retry import RetryPolicy
from mailer.store.agenda import ENDED, NOW, Assignment, Lease
from mailer.store.records import Head
from workers.outcomes.outcome import Judgement, Outcome, Verdict
from workers.outcomes.rules import Action, Rule
from workers.outcomes.settlement import (
    MOST_CRASHES,
    Circumstances,
    crashed,
    fail,
    hand_back,
    open_recipients,
)
from workers.outcomes.settlement import settle as settle_some
from workers.smtp.replies import Reply
from workers.smtp.transaction import Phase

ACCEPTED, DEFERRED, TOO_MANY = Verdict.ACCEPTED, Verdict.DEFERRED, Verdict.TOO_MANY
REFUSED, UNTRIED = Verdict.REFUSED, Verdict.UNTRIED
SINCE = 1_800_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WORDS = {
    ACCEPTED: "250 2.0.0 queued",
    DEFERRED: "450 4.7.1 greylisted",
    Verdict.THROTTLED: "450 4.7.28 too many",
    TOO_MANY: "452 4.5.3 enough",
    Verdict.UNKNOWN: "450 lost after the final dot; perhaps it was delivered",
    REFUSED: "550 5.1.1 unknown",
    UNTRIED: "421 4.3.2 shutting down",
    Verdict.SUPPRESSED: "550 kept back",
}


def recipients(states):
    """Make recipients of a string: p(ending), d(eferred), a(ccepted), r(efused), u(nconfirmed)."""
    state = {s[0]: s for s in RecipientState}
    return tuple(Recipient(f"{n}@example.org", state[s]) for n, s in enumerate(states))


def letters(result):
    return "".join(recipient.state[0] for recipient in result.recipients)


def settle(job, heard, given):
    """Settle an attempt at all open recipients."""
    return settle_some(job, heard, given, open_addresses(job))


def open_addresses(job):
    return [r.address for r in open_recipients(job.recipients, SINCE)]


def assignment(states="p", tries=0, retry=None, expires_ms=0, **head):
    return Assignment(
        lease=Lease("j", 7),
        head=Head("<m@example.com>", "a@example.com", "s", "a@example.com", retry=retry, **head),
        message=Message("<m@example.com>", Address("a@example.com")),
        recipients=recipients(states),
        priority=Priority.NORMAL,
        tries=tries,
        since_ms=SINCE,
        expires_ms=expires_ms,
        begun_ms=SINCE,
    )


PLAIN = Rule("plain", Action.RETRY, "")


def judged(verdict, said):
    return Judgement(verdict, said, PLAIN)


def outcome(*verdicts, phase=Phase.DOT):
    judgements = [judged(verdict, WORDS[verdict]) for verdict in verdicts]
    worst = next((v for v in reversed(Verdict) if v in verdicts), ACCEPTED)
    said = WORDS[worst]
    fault = said if UNTRIED in verdicts else None
    reply = Reply.of(int(said[:3]), said[4:])
    return Outcome(phase, judgements, reply, said, PLAIN, fault)


def circumstances(age=0, chance=0.0, pause=0):
    return Circumstances("w1", "mx:25", RetryPolicy(), SINCE + age, chance, pause)


ONCE, QUICK = RetryPolicy(max_attempts=1), RetryPolicy(delays=(1,), give_up_after=10)


@pytest.mark.parametrize(
    ("job", "heard", "given", "state", "due", "tries", "after", "decision"),
    [
        # what is recorded of it: state, due (ms since SINCE), tries, recipients, decision
        pytest.param(
            assignment("pp"), [ACCEPTED, ACCEPTED], {}, "sent", ENDED, 1, "aa", "sent", id="sent"
        ),
        pytest.param(
            assignment("pp"),
            [ACCEPTED, REFUSED],
            {},
            *("partially_sent", ENDED, 1, "ar", "fail"),
            id="partially sent",
        ),
        pytest.param(
            assignment("pp"),
            [REFUSED, REFUSED],
            {},
            *("failed", ENDED, 1, "rr", "fail"),
            id="failed",
        ),
        pytest.param(
            assignment("ppp"),
            [ACCEPTED, DEFERRED, REFUSED],
            {},
            *("deferred", MINUTE, 1, "adr", "retry"),
            id="one is deferred alone",
        ),
        pytest.param(
            assignment("adr", tries=1),
            [ACCEPTED],
            {"age": HOUR},
            *("partially_sent", ENDED, 2, "aar", "fail"),
            id="the last one open is accepted",
        ),
        pytest.param(
            assignment("ad", tries=1),
            [ACCEPTED],
            {"age": HOUR},
            *("sent", ENDED, 2, "aa", "sent"),
            id="all are accepted in the end",
        ),
        pytest.param(
            assignment("ad", tries=1),
            [DEFERRED],
            {"age": HOUR},
            *("deferred", HOUR + 5 * MINUTE, 2, "ad", "retry"),
            id="deferred again",
        ),
        pytest.param(
            assignment("d", tries=1),
            [DEFERRED],
            {"chance": 0.5},
            *("deferred", 5 * MINUTE + MINUTE // 2, 2, "d", "retry"),
            id="with jitter",
        ),
        pytest.param(
            assignment("ad", tries=40),
            [DEFERRED],
            {"age": 5 * DAY},
            *("partially_sent", ENDED, 41, "ar", "fail"),
            id="given up by age, partially sent",
        ),
        pytest.param(
            assignment("dd", tries=40),
            [DEFERRED, DEFERRED],
            {"age": 5 * DAY},
            *("failed", ENDED, 41, "rr", "fail"),
            id="given up by age",
        ),
        pytest.param(
            assignment("pp"),
            [Verdict.SUPPRESSED, Verdict.SUPPRESSED],
            {},
            *("suppressed", ENDED, 0, "ss", "suppressed"),
            id="kept back",
        ),
        pytest.param(
            assignment("ap", tries=1),
            [Verdict.SUPPRESSED],
            {},
            *("partially_sent", ENDED, 1, "as", "suppressed"),
            id="the last one open is kept back",
        ),
        pytest.param(
            assignment("rp", tries=1),
            [Verdict.SUPPRESSED],
            {},
            *("failed", ENDED, 1, "rs", "suppressed"),
            id="some were refused, the others are kept back",
        ),
        pytest.param(
            assignment("p", retry=ONCE),
            [DEFERRED],
            {},
            *("failed", ENDED, 1, "r", "fail"),
            id="given up by attempts",
        ),
        pytest.param(
            assignment("p", retry=QUICK),
            [DEFERRED],
            {"age": 5000},
            *("deferred", 6000, 1, "d", "retry"),
            id="the email's own policy",
        ),
        pytest.param(
            assignment("p"),
            [UNTRIED],
            {"pause": 8000},
            *("deferred", 8000, 0, "p", "pause"),
            id="relay fault",
        ),
        pytest.param(
            assignment("p", retry=ONCE),
            [UNTRIED],
            {"pause": 8000},
            *("deferred", 8000, 0, "p", "pause"),
            id="relay fault uses no attempt up",
        ),
        pytest.param(
            assignment("d", tries=3),
            [UNTRIED],
            {"pause": 8000, "age": HOUR},
            *("deferred", HOUR + 8000, 3, "d", "pause"),
            id="relay fault after other attempts",
        ),
        pytest.param(
            assignment("pp"),
            [REFUSED, UNTRIED],
            {"pause": 8000},
            *("deferred", 8000, 0, "rp", "pause"),
            id="relay fault, one refused before",
        ),
        pytest.param(
            assignment("pp"),
            [ACCEPTED, UNTRIED],
            {"pause": 8000},
            *("deferred", 8000, 0, "ap", "pause"),
            id="relay fault, one accepted all the same",
        ),
        pytest.param(
            assignment("d", tries=3),
            [UNTRIED],
            {"pause": 8000, "age": 5 * DAY},
            *("failed", ENDED, 3, "r", "fail"),
            id="relay fault, given up by age",
        ),
        pytest.param(
            assignment("ppp"),
            [ACCEPTED, TOO_MANY, TOO_MANY],
            {},
            *("deferred", NOW - SINCE, 0, "add", "retry"),
            id="too many: the others go at once",
        ),
        pytest.param(
            assignment("pp", retry=ONCE),
            [ACCEPTED, TOO_MANY],
            {},
            *("deferred", NOW - SINCE, 0, "ad", "retry"),
            id="too many uses no attempt up",
        ),
        pytest.param(
            assignment("pp"),
            [TOO_MANY, TOO_MANY],
            {},
            *("deferred", MINUTE, 1, "dd", "retry"),
            id="too many although none: as any deferral",
        ),
        pytest.param(
            assignment("p", expires_ms=SINCE + 20_000),
            [DEFERRED],
            {},
            *("deferred", 20_000, 1, "d", "retry"),
            id="due at its expiry",
        ),
        pytest.param(
            assignment("p", expires_ms=SINCE + 20_000),
            [UNTRIED],
            {"pause": 60_000},
            *("deferred", 20_000, 0, "p", "pause"),
            id="paused until its expiry",
        ),
        pytest.param(
            assignment("p", expires_ms=SINCE + HOUR),
            [DEFERRED],
            {},
            *("deferred", MINUTE, 1, "d", "retry"),
            id="due before its expiry",
        ),
        pytest.param(
            assignment("p", expires_ms=SINCE + HOUR),
            [ACCEPTED],
            {"age": 2 * HOUR},
            *("sent", ENDED, 1, "a", "sent"),
            id="sent, though late",
        ),
    ],
)
def test_an_attempt_leads_to_a_state(job, heard, given, state, due, tries, after, decision):
    result = settle(job, outcome(*heard), circumstances(**given))
    assert (result.state, letters(result), result.tries) == (state, after, tries)
    assert result.due_ms == (due + SINCE if due else ENDED)
    assert result.attempt.decision == decision
    assert result.attempt.n == job.tries + 1
    assert result.lease == job.lease
    assert [r.address for r in result.recipients] == [r.address for r in job.recipients]


UNKNOWN = Verdict.UNKNOWN
DOUBT = ("unconfirmed", "unconfirmed")


@pytest.mark.parametrize(
    ("states", "heard", "at_least", "at_most"),
    [
        ("p", [UNKNOWN], ("deferred", "retry", "d"), ("unconfirmed", "unconfirmed", "u")),
        ("ap", [UNKNOWN], ("deferred", "retry", "ad"), ("unconfirmed", "unconfirmed", "au")),
        (
            "pp",
            [UNKNOWN, REFUSED],
            ("deferred", "retry", "dr"),
            ("unconfirmed", "unconfirmed", "ur"),
        ),
        ("pp", [UNKNOWN, DEFERRED], ("deferred", "retry", "dd"), ("deferred", "retry", "ud")),
        (
            "up",
            [ACCEPTED],
            ("unconfirmed", "unconfirmed", "ua"),
            ("unconfirmed", "unconfirmed", "ua"),
        ),
        ("p", [DEFERRED], ("deferred", "retry", "d"), ("deferred", "retry", "d")),
        ("p", [UNTRIED], ("deferred", "pause", "p"), ("deferred", "pause", "p")),
    ],
)
def test_what_is_unknown_is_sent_again_or_not_as_was_asked(states, heard, at_least, at_most):
    for delivery, expected in (("at-least-once", at_least), ("at-most-once", at_most)):
        result = settle(assignment(states, delivery=delivery), outcome(*heard), circumstances())
        assert (result.state, result.attempt.decision, letters(result)) == expected


@pytest.mark.parametrize(
    ("heard", "delivery", "decision"),
    [
        (ACCEPTED, "at-least-once", Decision.SENT),
        (REFUSED, "at-least-once", Decision.FAIL),
        (Verdict.UNKNOWN, "at-most-once", Decision.UNCONFIRMED),
        (Verdict.SUPPRESSED, "at-least-once", Decision.SUPPRESSED),
    ],
)
def test_an_attempt_tells_what_became_of_its_own_recipients_though_others_wait(
    heard, delivery, decision
):
    job = assignment("pp", delivery=delivery)
    result = settle_some(job, outcome(heard), circumstances(), ["0@example.org"])
    assert result.state is JobState.DEFERRED
    assert result.attempt.decision is decision


def test_a_message_that_no_word_was_heard_of_goes_again_at_once_but_only_once():
    """The server had closed a warm connection; should it do so again, it is given time."""
    lost = msgspec.structs.replace(outcome(UNKNOWN), at_once=True)
    result = settle(assignment(), lost, circumstances())
    assert (result.due_ms, result.tries, result.attempt.decision) == (NOW, 1, "retry")
    assert "before the server had come to the message" in result.attempt.because
    assert settle(assignment("d", tries=1), lost, circumstances()).due_ms > SINCE


def test_an_attempt_is_recorded_with_all_that_explains_it():
    result = settle(assignment("pp"), outcome(ACCEPTED, DEFERRED), circumstances(age=1500))
    attempt = result.attempt
    assert (attempt.worker, attempt.relay, attempt.phase) == ("w1", "mx:25", "dot")
    assert (attempt.code, attempt.enhanced_code) == (450, "4.7.1")
    assert attempt.reply == "450 4.7.1 greylisted"
    assert attempt.started_at == datetime.fromtimestamp(SINCE / 1000, UTC)
    assert (attempt.ended_at - attempt.started_at).total_seconds() == 1.5
    assert (attempt.next_attempt_at - attempt.ended_at).total_seconds() == 60


def test_each_recipient_keeps_the_relays_last_word():
    result = settle(assignment("ppp"), outcome(ACCEPTED, DEFERRED, REFUSED), circumstances())
    assert [r.reply for r in result.recipients] == [
        WORDS[ACCEPTED],
        WORDS[DEFERRED],
        WORDS[REFUSED],
    ]


def test_what_goes_at_once_is_said_to_go_now():
    result = settle(assignment("pp"), outcome(ACCEPTED, TOO_MANY), circumstances(age=1500))
    assert result.attempt.next_attempt_at == result.attempt.ended_at


def test_giving_up_says_why_and_keeps_the_recipients_reply():
    result = settle(assignment("p", retry=ONCE), outcome(DEFERRED), circumstances())
    assert result.attempt.reply == "450 4.7.1 greylisted (given up after 1 attempts)"
    assert result.attempt.next_attempt_at is None
    assert result.recipients[0].reply == "450 4.7.1 greylisted"


@pytest.mark.parametrize(
    ("states", "after", "state"),
    [("pd", "rr", "failed"), ("ap", "ar", "partially_sent"), ("ra", "ra", "partially_sent")],
)
def test_what_cannot_be_sent_at_all_fails_for_those_who_are_open(states, after, state):
    job = assignment(states, tries=2)
    result = fail(job, "too large", circumstances())
    assert (letters(result), result.state, result.due_ms) == (after, state, ENDED)
    assert (result.tries, result.attempt.decision, result.attempt.reply) == (3, "fail", "too large")
    for before, now in zip(job.recipients, result.recipients, strict=True):
        assert (now == before) is (before.state[0] in "ra")


@pytest.mark.parametrize(("tries", "state"), [(0, "queued"), (3, "deferred")])
def test_what_was_not_tried_is_handed_back_as_it_was(tries, state):
    job = assignment("apd", tries=tries)
    result = hand_back(job)
    assert (result.state, result.due_ms, result.tries) == (state, NOW, tries)
    assert (result.recipients, result.attempt) == (job.recipients, None)


@pytest.mark.parametrize(
    ("words", "due"),
    [
        (["450 Greylisted, try again in 600 seconds"], 10 * MINUTE),
        (["450 try again in 600 seconds", "451 retry after 2 hours"], 2 * HOUR),
        (["450 try again in 600 seconds", "451 later"], 10 * MINUTE),
        (["451 later"], MINUTE),
    ],
    ids=["a wait", "the longest", "of one", "none"],
)
def test_the_next_attempt_is_when_the_server_asked_for_it(words, due):
    judgements = [judged(DEFERRED, said) for said in words]
    heard = Outcome(Phase.RCPT, judgements, Reply.of(450, "x"), words[0], PLAIN)
    result = settle(assignment("p" * len(words)), heard, circumstances())
    assert result.due_ms == SINCE + due


def test_a_refusal_s_wait_holds_nobody_up():
    judgements = [judged(REFUSED, "550 try again in 7 hours"), judged(DEFERRED, "450 later")]
    heard = Outcome(Phase.RCPT, judgements, Reply.of(450, "later"), "450 later", PLAIN)
    assert settle(assignment("pp"), heard, circumstances()).due_ms == SINCE + MINUTE


@pytest.mark.parametrize("committed", [False, True], ids=["", "committed"])
@pytest.mark.parametrize(
    ("crashes", "delivery", "states"),
    [
        (0, "at-least-once", {False: "ap", True: "ap"}),
        (0, "at-most-once", {False: "ap", True: "au"}),
        (MOST_CRASHES - 1, "at-least-once", {False: "ar", True: "au"}),
        (MOST_CRASHES - 1, "at-most-once", {False: "ar", True: "au"}),
    ],
    ids=["first", "first, once", "last", "last, once"],
)
def test_a_crash_is_counted_and_one_too_many_ends_the_job(crashes, delivery, states, committed):
    job = msgspec.structs.replace(assignment("ap", tries=1, delivery=delivery), crashes=crashes)
    result = crashed(job, "boom", circumstances(), ["1@example.org"] if committed else [])
    assert letters(result) == states[committed]
    waits = "p" in states[committed]
    assert (result.state is JobState.DEFERRED) is waits
    assert result.due_ms == (SINCE + MINUTE if waits else ENDED)
    assert (result.crashes, result.tries) == (crashes + 1, 1), "no attempt of the policy is used up"


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
@pytest.mark.parametrize("expires_ms", [0, SINCE + 1])
@pytest.mark.parametrize("states", ["p", "pd", "ddd", "pa", "rp", "pu"])
def test_what_all_took_is_settled_as_any_outcome_is(states, expires_ms, delivery):
    job = assignment(states, 2, expires_ms=expires_ms, delivery=delivery)
    heard = outcome(*[ACCEPTED] * len(open_addresses(job)))
    seen_at_once = msgspec.structs.replace(heard, taken_by_all=True)
    assert settle(job, seen_at_once, circumstances()) == settle(job, heard, circumstances())


def test_those_open_are_the_pending_and_the_deferred():
    states = [recipient.state for recipient in open_recipients(recipients("padrus"), SINCE)]
    assert states == [RecipientState.PENDING, RecipientState.DEFERRED]


@st.composite
def rounds(draw):
    """Some rounds: for each, verdicts enough for any number open, the time passed, a pause."""
    verdict = st.sampled_from(list(Verdict))
    one = st.tuples(
        st.lists(verdict, min_size=4, max_size=4),
        st.integers(0, 2 * DAY),
        st.integers(0, 60_000),
        st.floats(0, 1),
    )
    return draw(st.lists(one, min_size=1, max_size=8))


policies = st.builds(
    RetryPolicy,
    delays=st.lists(st.floats(0, 1e5), min_size=1, max_size=3).map(tuple),
    give_up_after=st.floats(0.001, 1e6),
    max_attempts=st.none() | st.integers(1, 4),
)


@given(
    count=st.integers(1, 4),
    policy=st.none() | policies,
    expires=st.just(0) | st.integers(SINCE + 1, SINCE + DAY),
    rounds=rounds(),
)
def test_whatever_happens_an_accepted_recipient_stays_so_and_a_job_ends_or_waits(
    count, policy, expires, rounds
):
    job, age = assignment("p" * count, retry=policy, expires_ms=expires), 0
    for verdicts, passed, pause, chance in rounds:
        age += passed
        heard = outcome(*verdicts[: len(open_addresses(job))])
        result = settle(job, heard, circumstances(age, chance, pause))
        for before, after in zip(job.recipients, result.recipients, strict=True):
            assert before.address == after.address
            if before.state not in {RecipientState.PENDING, RecipientState.DEFERRED}:
                assert after == before
        left = open_recipients(result.recipients, SINCE)
        assert result.tries in {job.tries, job.tries + 1}
        if result.state.ended:
            assert (result.due_ms, left) == (ENDED, [])
            ends = {Decision.SENT, Decision.FAIL, Decision.SUPPRESSED}
            assert result.attempt.decision in ends
            return
        assert result.state is JobState.DEFERRED
        assert result.due_ms > ENDED
        assert left
        assert result.attempt.decision in {Decision.RETRY, Decision.PAUSE}
        job = msgspec.structs.replace(job, recipients=result.recipients, tries=result.tries)
