"""`delivery="at-most-once"`: no second copy, whatever breaks; through real workers and servers."""

import redis

from mailer import Decision, JobState, RecipientState
from mailer.testing import Action, Fault, eventually, hang, hang_up_once, lose_reply, refuse, slow

ONCE = {"delivery": "at-most-once"}


def test_an_email_that_goes_well_is_sent(system, smtp):
    with system.worker():
        job = system.ended(system.enqueue(**ONCE))
    assert (job.state, smtp.state.count) == (JobState.SENT, 1)


def test_a_lost_reply_leaves_it_unconfirmed_and_with_one_copy(system, smtp):
    smtp.faults += [refuse("nobody@"), lose_reply()]
    with system.worker():
        job = system.ended(system.enqueue(["ann@example.org", "nobody@example.org"], **ONCE))
        after = system.ended(system.enqueue(**ONCE))
    assert (job.state, after.state) == (JobState.UNCONFIRMED, JobState.SENT)
    assert [r.state for r in job.recipients] == [
        RecipientState.UNCONFIRMED,
        RecipientState.REFUSED,
    ]
    (attempt,) = job.attempts
    assert (attempt.decision, attempt.phase) == (Decision.UNCONFIRMED, "dot")
    assert "perhaps it was delivered" in attempt.reply
    assert [m.message_id for m in smtp.received].count(job.message_id) == 1


def test_what_surely_did_not_arrive_is_sent_again(system, smtp):
    smtp.faults += [hang_up_once(at="data"), Fault("dot", reply="451 4.3.0 later", times=1)]
    with system.worker():
        job = system.ended(system.enqueue(**ONCE))
    assert [a.decision for a in job.attempts] == ["pause", "retry", "sent"]
    assert smtp.state.count == 1


def test_a_worker_killed_after_the_dot_leaves_one_copy(system, smtp):
    smtp.faults += [Fault("dot", Action.LOSE_REPLY, times=1, delay=60)]
    with system.worker("w1") as worker:
        job_id = system.enqueue(**ONCE)
        eventually(lambda: smtp.faults[0].happened)
        worker.kill()
    with system.worker("w2"):
        job = system.ended(job_id)
        assert system.ended(system.enqueue(**ONCE)).state is JobState.SENT
    assert job.state is JobState.UNCONFIRMED
    (attempt,) = job.attempts
    assert (attempt.decision, attempt.phase) == (Decision.INTERRUPTED, "dot")
    assert job.recipients[0].state is RecipientState.UNCONFIRMED
    assert smtp.state.count == 1, "the other one"


def test_a_worker_killed_before_the_dot_has_it_sent_by_another(system, smtp):
    smtp.faults += [hang("data", times=1)]
    with system.worker("w1") as worker:
        job_id = system.enqueue(**ONCE)
        eventually(lambda: smtp.faults[0].happened)
        worker.kill()
    with system.worker("w2"):
        job = system.ended(job_id)
    assert [a.decision for a in job.attempts] == ["interrupted", "sent"]
    assert smtp.state.count == 1


def test_it_is_on_record_before_the_server_hears_the_end(system, smtp):
    """The server looks into Redis when the final dot comes: the note must be there already."""
    seen = []

    class Looking(Fault):
        def applies(self, at, subjects):
            if at == "dot":
                with redis.Redis.from_url(system.redis.url) as client:
                    keys = client.scan_iter(f"*{system.settings['MAILER_KEY_PREFIX']}*:job:*")
                    seen.extend(client.hget(key, "committed") for key in keys)
            return False

    smtp.faults += [Looking("dot")]
    with system.worker():
        once = system.ended(system.enqueue(**ONCE))
        assert once.state is JobState.SENT
        assert len(seen) == 1
        assert seen[0], "on record"
        seen.clear()
        system.ended(system.enqueue())
        assert seen == [None, None], "at least once needs none"


def test_while_redis_is_away_no_message_is_completed(system, smtp, redis_server):
    """A frozen store at the moment before the dot: nothing leaves, and it is sent later, once."""
    smtp.faults += [slow(0.5, "data")]
    with system.worker(MAILER_STORE_TIMEOUT_SECONDS="0.3"):
        job_id = system.enqueue(**ONCE)
        eventually(lambda: smtp.faults[0].happened)
        redis_server.pause()
        try:
            eventually(lambda: not smtp.state.clients)  # the transaction was cut off
            assert smtp.state.count == 0
        finally:
            redis_server.resume()
        job = system.ended(job_id)
    assert job.state is JobState.SENT
    assert smtp.state.count == 1
