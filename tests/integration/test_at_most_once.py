"""At most once: what is on record before a message is completed, and what follows from it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mailer import Email, WrongState
from mailer.async_client import AsyncMailer
from mailer.client import Mailer
from mailer.errors import InvalidEmail, StoreUnavailable
from mailer.job import Decision, JobState, Recipient, RecipientState
from mailer.loading import load_settings
from mailer.store.agenda import NOW, Agenda, Assignment, Commitment, Lease, Result
from mailer.store.keys import Keys
from workers.commits import Commits
from workers.leases import LeaseLost

BRIEF, PAST_IT = 0.2, 0.25  # seconds of a lease that is to run out, but not before a commit
ANN, BOB = "ann@example.org", "bob@example.org"


def commitment(begun: Assignment, *recipients: str) -> Commitment:
    """Say that the message is about to be completed, by default for all recipients."""
    everybody = tuple(r.address for r in begun.recipients)
    return Commitment(begun.lease, "main", recipients or everybody)


class TestCommit:
    async def test_the_holder_of_the_lease_may_go_on(self, store):
        begun = await store.begun()
        assert await store.run(store.agenda.commit([commitment(begun)])) == [True]
        assert b"committed" in store.record(begun.lease.job_id)

    async def test_a_stale_token_may_not(self, store):
        begun = await store.begun()
        stale = Lease(begun.lease.job_id, begun.lease.token - 1)
        unknown = Lease("nosuch", 1)
        made = [Commitment(lease, "main", ()) for lease in (stale, begun.lease, unknown)]
        answers = await store.run(store.agenda.commit(made))
        assert answers == [False, True, False]

    async def test_nor_may_one_whose_lease_is_over(self, store):
        (job_id,) = await store.enqueued()
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        store.lease_is_over(job_id)
        assert await store.run(store.agenda.commit([commitment(begun)])) == [False]
        assert b"committed" not in store.record(job_id)

    async def test_nor_may_one_that_has_reported_already(self, store):
        ended, begun = await store.begun(), await store.begun()
        deferred = store.result(ended, JobState.DEFERRED, store.now_ms() + 60_000)
        await store.run(store.agenda.finish([deferred]))
        answers = await store.run(store.agenda.commit([commitment(ended), commitment(begun)]))
        assert answers == [False, True]
        assert b"committed" not in store.record(ended.lease.job_id)

    async def test_a_result_ends_it(self, store):
        begun = await store.begun()
        await store.run(store.agenda.commit([commitment(begun)]))
        deferred = store.result(begun, JobState.DEFERRED, store.now_ms())
        assert await store.run(store.agenda.finish([deferred])) == [True]
        assert b"committed" not in store.record(begun.lease.job_id)
        (again,) = await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60))
        store.lease_is_over(again.lease.job_id)
        (taken_over,) = await store.run(store.agenda.begin([again.lease.job_id], "w3", 60))
        assert taken_over.lease.token == 3, "the attempt that was not committed is repeated"


class TestTakeover:
    async def lost(self, store, *, committed):
        (job_id,) = await store.enqueued(to=["ann@example.org", "bob@example.org"])
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        if committed:
            assert await store.run(store.agenda.commit([commitment(begun)])) == [True]
        store.lease_is_over(job_id)
        return job_id, await store.run(store.agenda.begin([job_id], "w2", 60))

    async def test_what_may_have_been_completed_is_not_begun_again(self, store):
        job_id, begun = await self.lost(store, committed=True)
        assert begun == []
        job = await store.job(job_id)
        assert job.state is JobState.UNCONFIRMED
        assert {r.state for r in job.recipients} == {RecipientState.UNCONFIRMED}
        assert "perhaps it was delivered" in job.recipients[0].reply
        (attempt,) = job.attempts
        assert (attempt.decision, attempt.phase, attempt.worker) == ("interrupted", "dot", "w1")
        assert (attempt.relay, attempt.reply) == ("main", job.recipients[0].reply)

    async def test_what_was_not_is(self, store):
        _, (begun,) = await self.lost(store, committed=False)
        assert begun.lease.token == 2

    async def test_those_who_were_not_in_the_message_are_sent_to(self, store):
        """Ann is in doubt, Bob is not: he gets it, and the job ends as unconfirmed for her."""
        (job_id,) = await store.enqueued(to=[ANN, BOB])
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        await store.run(store.agenda.commit([commitment(begun, ANN)]))
        store.lease_is_over(job_id)
        (again,) = await store.run(store.agenda.begin([job_id], "w2", 60))
        states = {r.address: r.state for r in again.recipients}
        assert states == {ANN: RecipientState.UNCONFIRMED, BOB: RecipientState.PENDING}
        store.lease_is_over(job_id)
        (third,) = await store.run(store.agenda.begin([job_id], "w3", 60))
        assert third.recipients == again.recipients, "the second attempt had said nothing of Bob"
        assert [a.phase for a in (await store.job(job_id)).attempts] == ["dot", None]
        assert await store.run(store.agenda.finish([store.result(begun)])) == [False]

    async def test_a_worker_that_comes_back_after_its_job_ended_in_doubt_is_told(self, store):
        (job_id,) = await store.enqueued()
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        await store.run(store.agenda.commit([commitment(begun)]))
        store.lease_is_over(job_id)
        assert await store.run(store.agenda.begin([job_id], "w2", 60)) == []
        assert await store.run(store.agenda.finish([store.result(begun)])) == [False]
        assert await store.state(job_id) is JobState.UNCONFIRMED

    async def test_those_who_were_not_in_it_are_not_in_doubt_when_it_has_expired(self, store):
        later = datetime.now(UTC) + timedelta(hours=1)
        begun = await store.begun(to=[ANN, BOB], expires_at=later)
        job_id = begun.lease.job_id
        await store.run(store.agenda.commit([commitment(begun, ANN)]))
        store.lease_is_over(job_id)
        store.raw.hset(store.keys.job(job_id), "expires", 1)
        assert await store.run(store.agenda.begin([job_id], "w2", 60)) == []
        job = await store.job(job_id)
        assert job.state is JobState.UNCONFIRMED
        assert [r.state for r in job.recipients] == ["unconfirmed", "pending"]

    async def test_when_the_others_are_suppressed_the_doubt_remains(self, store):
        begun = await store.begun(to=[ANN, BOB])
        doubt = Recipient(ANN, RecipientState.UNCONFIRMED, "lost")
        later = Recipient(BOB, RecipientState.DEFERRED, "450 no")
        result = Result(begun.lease, JobState.DEFERRED, NOW, 1, (doubt, later), None)
        await store.run(store.agenda.finish([result]))
        await store.run(store.suppressions.add([BOB], None, "bounced", "api"))
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []
        assert await store.state(begun.lease.job_id) is JobState.UNCONFIRMED


class TestCommits:
    pytestmark = pytest.mark.parametrize("runner_kind", ["async"])  # as workers run

    async def test_many_at_once_are_answered_each_for_its_own(self, store):
        ids = await store.enqueued(30, delivery="at-most-once")
        begun = await store.run(store.agenda.begin(ids, "w1", 60))
        commits = Commits(store.agenda, store.runner)
        ours = list(map(commitment, begun))
        stale = [replace(made, lease=Lease(made.lease.job_id, 99)) for made in ours[::3]]
        pairs = zip([*begun, *begun[::3]], [*ours, *stale], strict=True)
        answers = await asyncio.gather(
            *(commits.commit(job, made) for job, made in pairs), return_exceptions=True
        )
        assert answers[:30] == [None] * 30
        assert {type(answer) for answer in answers[30:]} == {LeaseLost}

    @pytest.mark.parametrize("error", [StoreUnavailable("away"), ValueError("a fault of ours")])
    async def test_without_an_answer_nobody_may_go_on(self, store, monkeypatch, error):
        begun = await store.begun(delivery="at-most-once")
        commits = Commits(store.agenda, store.runner)

        async def away(_):
            raise error

        monkeypatch.setattr(type(store.runner), "run", lambda _, operation: away(operation))
        with pytest.raises(type(error)):
            await asyncio.wait_for(commits.commit(begun, commitment(begun)), 5)
        monkeypatch.undo()
        await commits.commit(begun, commitment(begun))


# a person's word


@pytest.fixture(params=["sync", "async"])
async def resolving(request, redis_server, key_prefix):
    """Resolves by both kinds of `Mailer`."""
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    if request.param == "sync":
        with Mailer(settings=settings) as mailer:
            yield lambda *args, **kwargs: asyncio.to_thread(mailer.resolve, *args, **kwargs)
    else:
        async with AsyncMailer(settings=settings) as mailer:
            yield mailer.resolve


@pytest.mark.parametrize(("sent", "state"), [(True, "sent"), (False, "failed")])
async def test_a_person_ends_the_doubt(redis_server, key_prefix, resolving, sent, state):
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    with Mailer(settings=settings) as mailer:
        job_id = mailer.enqueue(Email(from_email="a@b.example", to="c@d.example", text="x")).id
        with pytest.raises(WrongState):
            await resolving(job_id, sent=sent)
        agenda, run = Agenda(Keys(key_prefix)), mailer._runner.run
        (begun,) = run(agenda.begin([job_id], "w1", BRIEF))
        run(agenda.commit([commitment(begun)]))
        await asyncio.sleep(PAST_IT)
        assert run(agenda.begin([job_id], "w2", 60)) == []
        assert await resolving(job_id, sent=sent) is JobState(state)
        job = mailer.get(job_id)
        assert job.state == state
        assert job.recipients[0].state == ("accepted" if sent else "refused")
        assert job.attempts[-1].decision is Decision.RESOLVED
        assert "a person says" in job.attempts[-1].reply
        assert mailer.list("unconfirmed") == []
        if sent:
            with pytest.raises(WrongState):
                mailer.retry(job_id)
        else:
            mailer.retry(job_id)
            assert mailer.get(job_id).state is JobState.QUEUED


async def test_to_retry_a_canceled_job_sends_no_second_copy_to_those_in_doubt(
    redis_server, key_prefix
):
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    with Mailer(settings=settings) as mailer:
        job_id = mailer.enqueue(Email(from_email="a@b.example", to=[ANN, BOB], text="x")).id
        agenda, run = Agenda(Keys(key_prefix)), mailer._runner.run
        (begun,) = run(agenda.begin([job_id], "w1", 60))
        doubt = Recipient(ANN, RecipientState.UNCONFIRMED, "lost")
        people = (doubt, Recipient(BOB, RecipientState.DEFERRED, "450 no"))
        later = mailer.get(job_id).updated_at + timedelta(hours=1)
        due = round(later.timestamp() * 1000)
        run(agenda.finish([Result(begun.lease, JobState.DEFERRED, due, 1, people, None)]))
        assert mailer.cancel(job_id)
        mailer.retry(job_id)
        assert [r.state for r in mailer.get(job_id).recipients] == ["unconfirmed", "pending"]


def test_the_word_at_most_once_is_checked():
    with pytest.raises(InvalidEmail, match="at-least-once, at-most-once"):
        Email(from_email="a@b.example", to="c@d.example", delivery="once")
