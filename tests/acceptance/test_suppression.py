"""The suppression list, through a real worker and a real SMTP server."""

from datetime import UTC, datetime, timedelta

from mailer import JobState, RecipientState
from mailer.testing import eventually, refuse, say

ANN, BEN = "ann@example.org", "ben@example.org"
ACCEPTED, SUPPRESSED = RecipientState.ACCEPTED, RecipientState.SUPPRESSED


def test_three_of_ten_recipients_are_left_out(system, smtp):
    people = [f"r{i}@example.org" for i in range(10)]
    system.mailer.suppress_many(people[2:5], reason="asked to")
    with system.worker():
        job = system.ended(system.enqueue(people))
    assert job.state is JobState.PARTIALLY_SENT
    assert [r.state for r in job.recipients] == [ACCEPTED] * 2 + [SUPPRESSED] * 3 + [ACCEPTED] * 5
    assert {r.reply for r in job.recipients[2:5]} == {"on the suppression list: asked to"}
    assert [message.recipients for message in smtp.received] == [(*people[:2], *people[5:])]


def test_who_is_suppressed_after_the_email_was_enqueued_gets_nothing(system, smtp):
    alone = system.enqueue(ANN)
    both = system.enqueue([ANN, BEN])
    news = system.enqueue(BEN, tags=["news"])
    order = system.enqueue(BEN, tags=["order"])
    system.mailer.suppress(ANN)
    system.mailer.suppress(BEN, tag="news")
    with system.worker():
        states = [system.ended(job_id).state for job_id in (alone, both, news, order)]
    assert states == [
        JobState.SUPPRESSED,
        JobState.PARTIALLY_SENT,
        JobState.SUPPRESSED,
        JobState.SENT,
    ]
    assert [message.recipients for message in smtp.received] == [(BEN,), (BEN,)]


def test_a_retry_looks_at_the_list_again(system, smtp):
    system.mailer.suppress(ANN)
    job_id = system.enqueue(ANN)
    with system.worker():
        system.mailer.retry(job_id)
        eventually(lambda: system.mailer.get(job_id).state is JobState.SUPPRESSED)
        system.mailer.unsuppress(ANN)
        system.mailer.retry(job_id)
        assert system.ended(job_id).state is JobState.SENT
    assert [message.recipients for message in smtp.received] == [(ANN,)]


def test_unknown_users_come_on_the_list_where_that_is_wanted(system, smtp):
    smtp.faults.append(refuse("nobody@"))
    with system.worker(MAILER_SUPPRESS_UNKNOWN_USERS="true"):
        first = system.ended(system.enqueue([ANN, "nobody@example.org"], tags=["news"]))
        eventually(system.mailer.suppressions)
        second = system.ended(system.enqueue([BEN, "nobody@example.org"]))
    assert [r.state for r in first.recipients] == [ACCEPTED, RecipientState.REFUSED]
    assert [r.state for r in second.recipients] == [ACCEPTED, SUPPRESSED]
    (entry,) = system.mailer.suppressions()
    assert (entry.address, entry.tag) == ("nobody@example.org", None)
    assert entry.reason == first.recipients[1].reply
    assert "w1" in entry.by
    assert abs(entry.since - datetime.now(UTC)) < timedelta(seconds=60)


def test_a_worker_that_is_stopped_has_put_them_on_the_list(system, smtp):
    smtp.faults.append(refuse("nobody"))
    people = [f"nobody{i}@example.org" for i in range(50)]
    with system.worker(MAILER_SUPPRESS_UNKNOWN_USERS="true") as worker:
        system.ended(system.enqueue(people))
        worker.stop()
    assert sorted(e.address for e in system.mailer.suppressions()) == sorted(people)


def test_nobody_comes_on_the_list_unless_that_is_wanted(system, smtp):
    smtp.faults.append(refuse("nobody@"))
    with system.worker():
        system.ended(system.enqueue("nobody@example.org"))
    assert system.mailer.suppressions() == []


def test_a_refusal_of_the_message_is_none_of_the_recipient(system, smtp):
    """Some servers say 5.1.1 of the sender, or of the content."""
    smtp.state.options.extensions = ("PIPELINING",)  # with CHUNKING nothing is said to "data"
    smtp.faults += [say("550 5.1.1 No", at, match=f"{at}@") for at in ("mail", "data", "dot")]
    smtp.faults += [say("550 5.7.1 No", "rcpt", match="rcpt@")]
    with system.worker(MAILER_SUPPRESS_UNKNOWN_USERS="true"):
        ended = [
            system.ended(system.enqueue(f"{at}@example.org", from_email=f"{at}@example.com")).state
            for at in ("mail", "data", "dot", "rcpt")
        ]
    assert ended == [JobState.FAILED] * 4
    assert system.mailer.suppressions() == []
