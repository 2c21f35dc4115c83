"""A newer email takes the place of an older one of the same supersede key."""

from datetime import UTC, datetime, timedelta

import pytest

from mailer.job import JobState
from mailer.store.agenda import NOW, Recorded

KEY = "password-reset-ann"


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def enqueued(store, **fields) -> str:
    (job_id,) = await store.enqueued(**{"supersede_key": KEY, **fields})
    return job_id


@pytest.mark.parametrize("waits", ["queued", "scheduled", "deferred"])
async def test_what_waits_is_canceled(store, waits):
    if waits == "deferred":
        begun = await store.begun(supersede_key=KEY)
        await store.run(store.agenda.finish([store.result(begun, JobState.DEFERRED, NOW)]))
        older = begun.lease.job_id
    else:
        older = await enqueued(store, scheduled_at=soon() if waits == "scheduled" else None)
    assert await store.state(older) == waits
    newer = await enqueued(store)
    job = await store.job(older)
    assert (job.state, job.superseded_by) == (JobState.CANCELED, newer)
    assert await store.state(newer) is JobState.QUEUED
    assert [b.lease.job_id for b in await store.run(store.agenda.begin([older, newer], "w", 60))]


async def test_within_one_chunk_only_the_last_is_left(store):
    jobs = [store.new_job(supersede_key=KEY, subject=str(i)) for i in range(3)]
    await store.run(store.jobs.enqueue(jobs))
    assert [await store.state(job.id) for job in jobs] == ["canceled", "canceled", "queued"]


async def test_other_keys_and_emails_without_one_are_left_alone(store):
    others = [*await store.enqueued(), await enqueued(store, supersede_key="another")]
    await enqueued(store)
    assert [await store.state(job_id) for job_id in others] == ["queued", "queued"]


async def test_one_that_was_sent_stays_sent(store):
    sent = await store.ended(supersede_key=KEY)
    await enqueued(store)
    job = await store.job(sent)
    assert (job.state, job.superseded_by) == (JobState.SENT, None)


async def test_one_that_is_being_sent_may_still_get_through(store):
    begun = await store.begun(supersede_key=KEY)
    newer = await enqueued(store)
    assert await store.state(begun.lease.job_id) is JobState.SENDING
    assert await store.run(store.agenda.finish([store.result(begun)])) == [Recorded.DONE]
    job = await store.job(begun.lease.job_id)
    assert (job.state, job.superseded_by) == (JobState.SENT, newer)


@pytest.mark.parametrize("state", [JobState.DEFERRED, JobState.QUEUED])
async def test_one_that_is_being_sent_is_not_tried_again(store, state):
    begun = await store.begun(supersede_key=KEY)
    newer = await enqueued(store)
    result = store.result(begun, state, NOW)
    assert await store.run(store.agenda.finish([result])) == [Recorded.CANCELED]
    assert await store.run(store.agenda.finish([result])) == [Recorded.DONE], "said again"
    job = await store.job(begun.lease.job_id)
    assert (job.state, job.superseded_by) == (JobState.CANCELED, newer)
    assert job.attempts[-1].reply == "250 2.0.0 ok", "the attempt is on record"


async def test_one_whose_worker_was_lost_is_in_doubt_and_not_sent_again(store):
    begun = await store.begun(lease=0.001, supersede_key=KEY)
    await enqueued(store)
    while await store.state(begun.lease.job_id) is JobState.SENDING:
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []
    assert await store.state(begun.lease.job_id) is JobState.UNCONFIRMED


async def test_a_repeated_call_supersedes_once(store):
    older = store.new_job(supersede_key=KEY)
    newer = store.new_job(supersede_key=KEY)
    for job in [older, newer, older]:
        await store.run(store.jobs.enqueue([job]))
    assert await store.state(newer.id) is JobState.QUEUED


async def test_a_known_idempotency_key_supersedes_nothing(store):
    await enqueued(store, idempotency_key="k")
    newer = await enqueued(store)
    await enqueued(store, idempotency_key="k")
    assert await store.state(newer) is JobState.QUEUED


async def test_a_refused_chunk_supersedes_nothing(store):
    from mailer.errors import InvalidEmail

    older = await enqueued(store)
    with pytest.raises(InvalidEmail):
        await store.run(
            store.jobs.enqueue(
                [store.new_job(supersede_key=KEY), store.new_job(expires_at=soon(-9))]
            )
        )
    assert await store.state(older) is JobState.QUEUED


async def test_a_person_may_revive_a_superseded_email(store):
    older = await enqueued(store)
    await enqueued(store)
    stored = await store.run(store.jobs.get(older))
    assert await store.run(store.jobs.revive(stored, stored.job.recipients))
    (begun,) = await store.run(store.agenda.begin([older], "w", 60))
    result = store.result(begun, JobState.DEFERRED, NOW)
    assert await store.run(store.agenda.finish([result])) == [Recorded.DONE]
    assert (await store.job(older)).superseded_by is None


async def test_the_key_is_kept_as_long_as_its_last_email_is_recorded(store):
    async def retire(*ids: str) -> None:
        await store.run(store.agenda.retire(JobState.CANCELED, store.now_ms(), ids))

    older, newer = await enqueued(store), await enqueued(store)
    key = store.keys.latest(KEY)
    await retire(older)
    assert store.raw.get(key) == newer.encode()
    await store.run(store.jobs.cancel([newer]))
    await retire(newer)
    assert not store.raw.exists(key)
    assert await store.state(await enqueued(store)) is JobState.QUEUED
