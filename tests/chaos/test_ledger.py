"""The ledger sees what is wrong: else a campaign could not fail."""

from collections import Counter
from datetime import UTC, datetime

import attrs
import msgspec
import pytest

from chaos.ledger import Entry, Verdict, judge
from mailer import Attempt, Decision, Job, JobState, Recipient, RecipientState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN, BEN = "ann@example.org", "ben@example.org"
ENTRY = Entry("job", "<id>", (ANN, BEN))
ONCE = attrs.evolve(ENTRY, at_most_once=True)
POISON = attrs.evolve(ENTRY, poison=True)
SENT = Attempt(n=1, started_at=NOW, decision=Decision.SENT)
LOST = Attempt(n=1, started_at=NOW, decision=Decision.INTERRUPTED)
PERHAPS = Attempt(n=1, started_at=NOW, decision=Decision.RETRY, reply="lost; perhaps delivered")
CRASH = Attempt(n=1, started_at=NOW, decision=Decision.FAIL, reply="crash 3; 3 are too many")
ACCEPTED, REFUSED = RecipientState.ACCEPTED, RecipientState.REFUSED
UNCONFIRMED = RecipientState.UNCONFIRMED


def job(state=JobState.SENT, people=(ACCEPTED, ACCEPTED), attempts=(SENT,)) -> Job:
    return Job(
        id="job",
        state=state,
        message_id="<id>",
        from_email="shop@example.com",
        subject="",
        recipients=tuple(map(Recipient, (ANN, BEN), people)),
        attempts=attempts,
        created_at=NOW,
        updated_at=NOW,
    )


def judged(entry: Entry, job: Job | None, *came: str, may_double: int = 9) -> Verdict:
    jobs = {"job": job} if job else {}
    return judge([entry], jobs, Counter(("<id>", to) for to in came), may_double)


def test_all_is_well_where_each_came_once_and_is_recorded():
    assert judged(ENTRY, job(), ANN, BEN) == Verdict(jobs=1)


@pytest.mark.parametrize(
    ("entry", "job", "came", "count"),
    [
        (ENTRY, None, [], "lost"),
        (ENTRY, job(), [ANN], "lost"),
        (ENTRY, job(JobState.FAILED, (REFUSED, REFUSED)), [], "lost"),
        (ENTRY, job(JobState.UNCONFIRMED, (ACCEPTED, UNCONFIRMED)), [ANN], "lost"),
        (ENTRY, job(JobState.SENDING), [], "stuck"),
        (ENTRY, job(JobState.DEFERRED), [ANN], "stuck"),
        (ENTRY, job(JobState.PARTIALLY_SENT, (ACCEPTED, REFUSED)), [ANN, BEN], "wrong"),
        (ENTRY, job(), [ANN, BEN, BEN], "unmarked"),
        (ONCE, job(attempts=[LOST, SENT]), [ANN, BEN, BEN], "doubled_at_most_once"),
        (ENTRY, job(), [ANN, BEN, "stranger@example.org"], "wrong"),
        (POISON, job(), [], "wrong"),
        (POISON, job(JobState.FAILED, (REFUSED, REFUSED), [CRASH]), [ANN], "wrong"),
        (POISON, job(JobState.FAILED, (REFUSED, REFUSED), [LOST]), [], "wrong"),
    ],
)
def test_what_is_wrong_is_counted_and_told(entry, job, came, count):
    verdict = judged(entry, job, *came)
    assert getattr(verdict, count) > 0
    assert verdict.problems


@pytest.mark.parametrize("cause", [LOST, PERHAPS])
def test_a_second_copy_is_no_problem_where_it_may_come_and_is_marked(cause):
    came = [ANN, BEN, ANN, BEN]
    marked = job(attempts=(cause, SENT))
    assert judged(ENTRY, marked, *came) == Verdict(jobs=1, duplicated=2)
    assert judged(ENTRY, marked, *came, may_double=0).problems


@pytest.mark.parametrize("came", [(), (ANN, BEN)])
def test_an_unconfirmed_one_may_have_come_or_not(came):
    doubtful = job(JobState.UNCONFIRMED, (UNCONFIRMED, UNCONFIRMED))
    assert judged(ONCE, doubtful, *came) == Verdict(jobs=1, unconfirmed=1)


def test_poison_should_fail_after_three_crashes():
    assert judged(POISON, job(JobState.FAILED, (REFUSED, REFUSED), [CRASH])) == Verdict(jobs=1)


def test_a_verdict_survives_being_written():
    verdict = judged(ENTRY, None)
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict
