"""What is kept of a job that was sent: little, and all that `Job` shows."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from reports import REPLY, accepted

from mailer import Attachment
from mailer.job import Decision, JobState, Recipient, RecipientState
from mailer.retry import RetryPolicy
from mailer.store.agenda import NOW, Recorded
from mailer.store.records import at

JOBS, AT_ONCE = 2000, 100
QUEUED_BYTES, SENT_BYTES = 1200, 600  # of one email, at most; queued without what it brings along
# the allocator of Redis 7.0 rounds up, and its keys and sorted sets take 60 bytes more
QUEUED_BYTES_REDIS, SENT_BYTES_REDIS = 1400, 700


async def begin(store, job_id, worker="w1"):
    (begun,) = await store.run(store.agenda.begin([job_id], worker, 60))
    return begun


async def test_a_job_takes_little_memory_queued_and_less_once_it_was_sent(own_store):
    """All that it adds to Redis counts: keys, the agenda and the indexes as well."""
    store = own_store

    def used() -> int:
        return store.raw.info("memory")["used_memory"]

    async def enqueued(count: int) -> list[str]:
        ids = []
        for _ in range(count // AT_ONCE):
            ids += await store.enqueued(AT_ONCE, subject="Your order", from_email="a@example.com")
        return ids

    async def sent(ids: list[str]) -> None:
        for i in range(0, len(ids), AT_ONCE):
            begun = await store.run(store.agenda.begin(ids[i : i + AT_ONCE], "mailer@worker-1", 60))
            await store.run(store.agenda.finish([accepted(job) for job in begun]))

    await sent(await enqueued(AT_ONCE))  # scripts and indexes are there from now on
    before = used()
    ids = await enqueued(JOBS)
    record = store.record(ids[0])
    brought = sum(len(record[name]) for name in (b"message", b"head", b"recipients"))
    queued = (used() - before) / JOBS - brought
    await sent(ids)
    kept = (used() - before) / JOBS
    is_valkey = "valkey_version" in store.raw.info("server")
    assert 0 < queued <= (QUEUED_BYTES if is_valkey else QUEUED_BYTES_REDIS)
    assert 0 < kept <= (SENT_BYTES if is_valkey else SENT_BYTES_REDIS)


EMAILS = {
    "plain": {},
    "with all that is shown of it": {
        "from_email": '"Jörg \\"Joe\\" Müller," <office@bücher.example>',
        "to": ["Ann <ann@example.org>", "jörg@bücher.example"],
        "cc": "c@example.org",
        "subject": "Grüße ✓\t" * 20,
        "tags": ["order", "größe"],
        "metadata": {"order": 42, "empty": [], "nested": {"price": 1.10, "big": 2**53}},
        "priority": "low",
        "expires_at": datetime(2999, 12, 31, tzinfo=UTC),
    },
    "with a way of its own": {
        "envelope_sender": "bounces@example.com",
        "relay": "main",
        "delivery": "at-most-once",
        "retry": RetryPolicy(delays=(60.0,)),
        "attachments": [Attachment.from_bytes(b"x", filename="x")],
    },
}


@pytest.mark.parametrize("fields", EMAILS.values(), ids=EMAILS)
async def test_a_job_reads_the_same_after_it_was_sent(store, fields):
    (job_id,) = await store.enqueued(**fields)
    queued = await store.job(job_id)
    begun = await begin(store, job_id)
    assert begun.recipients == queued.recipients
    result = accepted(begun)
    assert await store.run(store.agenda.finish([result])) == [Recorded.DONE]
    sent = await store.job(job_id)
    assert sent == replace(
        queued,
        state=JobState.SENT,
        recipients=result.recipients,
        attempts=(result.attempt,),
        updated_at=sent.updated_at,
        next_attempt_at=None,
    )
    assert sent.updated_at >= result.attempt.started_at
    assert await store.run(store.jobs.look([job_id])) == [sent]
    (listed,) = await store.run(store.jobs.newest(JobState.SENT, 9))
    assert listed == (sent.updated_at.timestamp() * 1000, job_id)
    assert await store.run(store.jobs.count(JobState.SENT)) == 1


@pytest.mark.parametrize("long", [False, True])
async def test_all_its_attempts_are_kept(store, long):
    """One that deferred it, one that was lost with its worker, one that sent it."""
    (job_id,) = await store.enqueued(to=["a@example.org", "b@example.org"])
    begun = await begin(store, job_id)
    deferred = accepted(
        begun,
        state=JobState.DEFERRED,
        due_ms=NOW,
        recipients=(
            Recipient("a@example.org", RecipientState.ACCEPTED, "250 2.1.5 said before"),
            Recipient("b@example.org", RecipientState.DEFERRED, "450 4.7.1 später", at(1)),
        ),
    )
    first = replace(
        deferred.attempt,
        decision=Decision.RETRY,
        reply="450 4.7.1 später" + " und später" * (300 if long else 0),
        replies={"a@example.org": "250 2.1.5 said before"},
        next_attempt_at=at(begun.begun_ms + 61_234),
        because="1 minute",
    )
    await store.run(store.agenda.finish([replace(deferred, attempt=first)]))
    lost = await begin(store, job_id, worker="gone")
    assert lost.recipients == deferred.recipients
    store.lease_is_over(job_id)
    last = accepted(await begin(store, job_id))
    await store.run(store.agenda.finish([last]))
    job = await store.job(job_id)
    assert job.attempts[0] == first
    assert (job.attempts[1].decision, job.attempts[1].worker) == (Decision.INTERRUPTED, "gone")
    assert job.attempts[1].started_at == at(lost.begun_ms)
    assert job.attempts[2:] == (last.attempt,)
    assert [r.reply for r in job.recipients] == ["250 2.1.5 said before", REPLY]
    assert job.retries == 2


async def test_what_a_person_resolved_reads_as_any_other(store):
    begun = await store.begun(tags=["order"], supersede_key="k")
    job_id = begun.lease.job_id
    await store.run(store.agenda.finish([store.result(begun, JobState.UNCONFIRMED, reply="lost")]))
    stored = await store.run(store.jobs.get(job_id))
    people = tuple(replace(r, state=RecipientState.ACCEPTED) for r in stored.job.recipients)
    assert await store.run(store.jobs.resolve(stored, people, JobState.SENT, 'it "was"\n'))
    job = await store.job(job_id)
    assert (job.state, job.recipients, job.tags) == (JobState.SENT, people, ("order",))
    assert job.recipients[0].reply == "lost"
    assert [(a.n, a.decision, a.reply) for a in job.attempts[1:]] == [
        (1, Decision.RESOLVED, 'it "was"\n')
    ]
    assert job.attempts[1].started_at == job.attempts[1].ended_at == job.updated_at


async def test_one_without_an_attempt_on_record_can_be_read(store):
    result = replace(accepted(await store.begun()), attempt=None)
    await store.run(store.agenda.finish([result]))
    job = await store.job(result.lease.job_id)
    assert (job.attempts, job.recipients) == ((), result.recipients)


async def test_a_result_that_comes_twice_is_known(store):
    result = accepted(await store.begun())
    assert await store.run(store.agenda.finish([result])) == [Recorded.DONE]
    before = store.everything()
    late = replace(result, lease=replace(result.lease, token=9))
    assert await store.run(store.agenda.finish([result, late])) == [Recorded.DONE, Recorded.STALE]
    assert await store.run(store.agenda.renew([result.lease], 60)) == {result.lease.job_id}
    assert store.everything() == before


async def test_its_message_is_gone_and_its_head_is_not(store):
    job_id = await store.ended(subject="S")
    assert await store.run(store.jobs.message(job_id)) is None
    assert (await store.job(job_id)).subject == "S"
    assert not (await store.run(store.jobs.get(job_id))).has_message


async def test_what_was_sent_to_some_only_can_be_sent_to_the_others(store):
    begun = await store.begun(to=["a@example.org", "b@example.org"])
    some = [RecipientState.ACCEPTED, RecipientState.SUPPRESSED]
    result = store.result(begun, JobState.PARTIALLY_SENT, recipients=some)
    await store.run(store.agenda.finish([result]))
    stored = await store.run(store.jobs.get(begun.lease.job_id))
    assert stored.has_message
    assert stored.job.recipients == result.recipients


async def test_with_a_supersede_key_it_goes_with_all_its_keys(store):
    older = await store.begun(supersede_key="k")
    newer = await store.begun(supersede_key="k")
    await store.run(store.agenda.finish([accepted(older), accepted(newer)]))
    ids = [older.lease.job_id, newer.lease.job_id]
    assert [(await store.job(job_id)).superseded_by for job_id in ids] == [ids[1], None]
    assert store.raw.get(store.keys.latest("k")) == ids[1].encode()
    await asyncio.sleep(0.002)
    moment = store.now_ms() - 1
    assert set(await store.run(store.agenda.ended_before(JobState.SENT, moment, 9))) == set(ids)
    assert await store.run(store.agenda.retire(JobState.SENT, moment, ids[:1])) == 1
    assert store.raw.exists(store.keys.latest("k")), "the newer one's"
    assert await store.run(store.agenda.retire(JobState.SENT, moment, ids[1:])) == 1
    assert set(store.everything()) <= {store.keys.wake.encode()}


async def test_it_is_not_retired_before_its_time(store):
    job_id = await store.ended()
    early = (await store.job(job_id)).updated_at - timedelta(milliseconds=1)
    moment = round(early.timestamp() * 1000)
    assert await store.run(store.agenda.retire(JobState.SENT, moment, [job_id])) == 0
    assert await store.state(job_id) is JobState.SENT
