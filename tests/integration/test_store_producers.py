"""The store's steps for producers, each over fakeredis and over a real server, by both runners."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from mailer.errors import IdempotencyConflict, InvalidEmail, JobNotFound
from mailer.job import JobState, Priority, RecipientState
from mailer.store.agenda import NOW
from mailer.store.jobs import Jobs

LATER = timedelta(hours=1)


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


class TestEnqueue:
    async def test_a_job_is_recorded_and_due_now(self, store):
        job = store.new_job(subject="Hällo", tags=["order"], metadata={"order": 42})
        (receipt,) = await store.run(store.jobs.enqueue([job]))
        assert (receipt.id, receipt.message_id, receipt.created) == (
            job.id,
            job.head.message_id,
            True,
        )
        recorded = await store.job(job.id)
        assert recorded.state is JobState.QUEUED
        assert (recorded.subject, recorded.tags, recorded.metadata) == (
            "Hällo",
            ("order",),
            {"order": 42},
        )
        assert [r.address for r in recorded.recipients] == ["jm@example.org"]
        assert recorded.next_attempt_at == recorded.created_at
        assert abs(recorded.created_at - datetime.now(UTC)) < timedelta(seconds=5)

    async def test_a_scheduled_job_waits_for_its_time(self, store):
        when = soon().replace(microsecond=0)
        (job_id,) = await store.enqueued(scheduled_at=when)
        job = await store.job(job_id)
        assert (job.state, job.next_attempt_at) == (JobState.SCHEDULED, when)
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert not any(claim.ids.values())
        assert 3590 < claim.wait <= 3600

    async def test_a_time_in_the_past_means_now(self, store):
        (job_id,) = await store.enqueued(scheduled_at=soon(-10))
        assert await store.state(job_id) is JobState.QUEUED

    async def test_receipts_come_in_the_order_of_the_emails(self, store):
        jobs = [store.new_job(subject=str(i)) for i in range(100)]
        receipts = await store.run(store.jobs.enqueue(jobs))
        assert [r.id for r in receipts] == [job.id for job in jobs]

    @pytest.mark.parametrize("at", [0, 1, 2])
    async def test_one_expired_email_keeps_its_whole_chunk_out(self, store, at):
        jobs = [store.new_job(idempotency_key=f"k{i}") for i in range(3)]
        jobs[at] = store.new_job(expires_at=soon(-1), idempotency_key="late")
        with pytest.raises(InvalidEmail, match="expires_at"):
            await store.run(store.jobs.enqueue(jobs))
        assert store.everything() == {}

    async def test_a_conflict_keeps_its_whole_chunk_out(self, store):
        await store.enqueued(idempotency_key="order-42", subject="A")
        before = store.everything()
        jobs = [store.new_job(), store.new_job(idempotency_key="order-42", subject="B")]
        with pytest.raises(IdempotencyConflict, match="order-42"):
            await store.run(store.jobs.enqueue(jobs))
        assert store.everything() == before

    async def test_a_conflict_within_one_chunk_is_seen(self, store):
        jobs = [store.new_job(idempotency_key="k", subject=s) for s in "AB"]
        with pytest.raises(IdempotencyConflict):
            await store.run(store.jobs.enqueue(jobs))
        assert store.everything() == {}

    async def test_the_same_key_and_content_is_one_job(self, store):
        first, second = (store.new_job(idempotency_key="k") for _ in range(2))
        (one,) = await store.run(store.jobs.enqueue([first]))
        (two,) = await store.run(store.jobs.enqueue([second]))
        assert (two.id, two.message_id, two.created) == (one.id, one.message_id, False)
        with pytest.raises(JobNotFound):
            await store.job(second.id)

    async def test_the_same_key_and_content_within_one_chunk_is_one_job(self, store):
        jobs = [store.new_job(idempotency_key="k") for _ in range(3)]
        receipts = await store.run(store.jobs.enqueue(jobs))
        assert [r.created for r in receipts] == [True, False, False]
        assert {r.id for r in receipts} == {jobs[0].id}

    async def test_the_same_key_with_another_attachment_conflicts(self, store):
        from mailer import Attachment

        first, second = (
            [Attachment.from_bytes(content, filename="a.bin")] for content in (b"1", b"2")
        )
        await store.enqueued(idempotency_key="k", attachments=first)
        with pytest.raises(IdempotencyConflict):
            await store.enqueued(idempotency_key="k", attachments=second)

    async def test_200_concurrent_enqueues_of_one_key_are_one_job(self, store):
        calls = [store.jobs.enqueue([store.new_job(idempotency_key="k")]) for _ in range(200)]
        receipts = [receipt for (receipt,) in await store.run_all(calls)]
        assert [r.created for r in receipts].count(True) == 1
        assert len({(r.id, r.message_id) for r in receipts}) == 1
        assert store.raw.zcard(store.keys.state(JobState.QUEUED)) == 1

    async def test_a_key_is_remembered_after_its_email_was_sent(self, store):
        sent = await store.ended(idempotency_key="k")
        (again,) = await store.enqueued(idempotency_key="k")
        assert again == sent
        assert await store.state(sent) is JobState.SENT

    async def test_a_key_is_forgotten_after_the_time_that_is_set(self, store):
        jobs = Jobs(store.keys, idempotency_seconds=1)
        (first,) = await store.run(jobs.enqueue([store.new_job(idempotency_key="k")]))
        assert 0 < store.raw.pttl(store.keys.once("k")) <= 1000
        await asyncio.sleep(1.05)
        (second,) = await store.run(jobs.enqueue([store.new_job(idempotency_key="k")]))
        assert second.created
        assert second.id != first.id

    @pytest.mark.parametrize("key", [None, "k"])
    async def test_repeating_the_very_same_call_changes_nothing(self, store, key):
        """A producer whose connection broke repeats without knowing whether the first arrived."""
        from mailer import Attachment

        job = store.new_job(
            idempotency_key=key, attachments=[Attachment.from_bytes(b"x", filename="x")]
        )
        call = store.jobs.enqueue([job, store.new_job()])
        first = await store.run(call)
        before = store.everything()
        assert await store.run(call) == first
        assert store.everything() == before

    async def test_repeating_a_call_leaves_a_job_that_has_begun_alone(self, store):
        call = store.jobs.enqueue([job := store.new_job(idempotency_key="k")])
        await store.run(call)
        await store.run(store.agenda.begin([job.id], "w1", 60))
        before = store.record(job.id)
        assert (await store.run(call))[0].created
        assert store.record(job.id) == before

    async def test_equal_attachments_are_stored_once(self, store):
        from mailer import Attachment

        attached = [Attachment.from_bytes(b"x" * 1000, filename=f"{i}.bin") for i in range(2)]
        await store.enqueued(2, attachments=attached)
        sha256 = hashlib.sha256(b"x" * 1000).hexdigest()
        assert await store.run(store.blobs.part(sha256, 0)) == b"x" * 1000
        assert store.raw.hvals(store.keys.blob_uses) == [b"2"]

    async def test_an_enqueue_wakes_one_dispatcher_and_no_more(self, store):
        for _ in range(3):
            await store.enqueued(2)
        assert store.wakes() == (1, 0)

    async def test_an_urgent_email_wakes_by_the_urgent_bell(self, store):
        await store.enqueued(priority="high")
        assert store.wakes() == (0, 1)

    async def test_a_job_of_later_wakes_nobody(self, store):
        await store.enqueued(scheduled_at=soon())
        assert store.wakes() == (0, 0)


class TestReading:
    async def test_an_unknown_id_is_job_not_found(self, store):
        with pytest.raises(JobNotFound, match="'nosuch'"):
            await store.run(store.jobs.get("nosuch"))
        assert await store.run(store.jobs.look(["nosuch"])) == [None]

    async def test_a_look_at_jobs_shows_what_reading_each_does(self, store):
        (queued,) = await store.enqueued(tags=["order"], metadata={"order": 42})
        ids = [queued, (await store.begun()).lease.job_id, await store.ended()]
        ids.append(await store.ended(JobState.FAILED))
        assert await store.run(store.jobs.look(ids)) == [await store.job(each) for each in ids]

    async def test_newest_lists_the_last_to_come_into_the_state_first(self, store):
        ids = []
        for _ in range(3):
            ids += await store.enqueued()
            await asyncio.sleep(0.002)
        listed = await store.run(store.jobs.newest(JobState.QUEUED, 2))
        assert [job_id for _, job_id in listed] == [ids[2], ids[1]]
        until, _ = listed[1]
        listed = await store.run(store.jobs.newest(JobState.QUEUED, 2, until))
        assert [job_id for _, job_id in listed] == [ids[1], ids[0]]

    async def test_counting(self, store):
        await store.enqueued(3)
        await store.ended()
        assert await store.run(store.jobs.count(JobState.QUEUED)) == 3
        assert await store.run(store.jobs.count(JobState.SENT)) == 1
        assert await store.run(store.jobs.count(JobState.FAILED)) == 0


class TestCancel:
    async def test_what_waits_can_be_canceled(self, store):
        (queued,) = await store.enqueued()
        (scheduled,) = await store.enqueued(scheduled_at=soon())
        begun = await store.begun()
        await store.run(
            store.agenda.finish([store.result(begun, JobState.DEFERRED, store.now_ms() + 60_000)])
        )
        for job_id in (queued, scheduled, begun.lease.job_id):
            assert await store.run(store.jobs.cancel([job_id])) == [JobState.CANCELED]
            assert (await store.job(job_id)).next_attempt_at is None
            assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []

    async def test_a_claimed_job_can_still_be_canceled(self, store):
        (job_id,) = await store.enqueued()
        await store.run(store.agenda.claim(10, 10, 60))
        assert await store.run(store.jobs.cancel([job_id])) == [JobState.CANCELED]
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []

    async def test_a_begun_job_can_not(self, store):
        begun = await store.begun()
        assert await store.run(store.jobs.cancel([begun.lease.job_id])) == [JobState.SENDING]
        assert await store.run(store.agenda.finish([store.result(begun)])) == [True]

    async def test_an_ended_job_stays_as_it_is(self, store):
        job_id = await store.ended()
        before = store.record(job_id)
        assert await store.run(store.jobs.cancel([job_id])) == [JobState.SENT]
        assert store.record(job_id) == before

    async def test_canceling_twice_is_canceling(self, store):
        (job_id,) = await store.enqueued()
        for _ in range(2):
            assert await store.run(store.jobs.cancel([job_id])) == [JobState.CANCELED]

    async def test_of_several_those_that_wait_are_canceled(self, store):
        (waiting,), ended = await store.enqueued(), await store.ended()
        states = await store.run(store.jobs.cancel([ended, "nosuch", waiting]))
        assert states == [JobState.SENT, None, JobState.CANCELED]

    async def test_a_race_between_cancel_and_begin_has_one_winner(self, store):
        ids = await store.enqueued(60)
        operations = [
            operation
            for i, job_id in enumerate(ids)
            for operation in (
                [store.agenda.begin([job_id], "w1", 60), store.jobs.cancel([job_id])][
                    :: 1 if i % 2 else -1
                ]
            )
        ]
        answers = await store.run_all(operations)
        for i, job_id in enumerate(ids):
            pair = answers[2 * i : 2 * i + 2]
            begun, state = pair if i % 2 else pair[::-1]
            assert (state == [JobState.CANCELED]) is (begun == []), job_id
            assert await store.state(job_id) is (JobState.SENDING if begun else JobState.CANCELED)


class TestReschedule:
    async def test_to_a_later_time(self, store):
        (job_id,) = await store.enqueued()
        due = store.now_ms() + 60_000
        assert await store.run(store.jobs.reschedule(job_id, due)) == (JobState.SCHEDULED, True)
        assert store.agenda_of(job_id) == [(2, due)]
        assert not any((await store.run(store.agenda.claim(9, 9, 60))).ids.values())

    async def test_to_now(self, store):
        (job_id,) = await store.enqueued(scheduled_at=soon())
        assert store.wakes() == (0, 0)
        assert await store.run(store.jobs.reschedule(job_id, 0)) == (JobState.QUEUED, True)
        assert store.wakes()[0] == 1
        claim = await store.run(store.agenda.claim(9, 9, 60))
        assert claim.ids[Priority.NORMAL] == [job_id]
        assert len(await store.run(store.agenda.begin([job_id], "w1", 60))) == 1

    async def test_a_deferred_job_stays_deferred(self, store):
        begun = await store.begun()
        job_id = begun.lease.job_id
        later = store.now_ms() + 60_000
        await store.run(store.agenda.finish([store.result(begun, JobState.DEFERRED, later)]))
        assert await store.run(store.jobs.reschedule(job_id, later * 2)) == (
            JobState.DEFERRED,
            True,
        )
        assert await store.run(store.jobs.reschedule(job_id, 0)) == (JobState.DEFERRED, True)
        assert len(await store.run(store.agenda.begin([job_id], "w1", 60))) == 1

    async def test_a_claimed_job_that_is_put_off_is_not_begun(self, store):
        (job_id,) = await store.enqueued()
        await store.run(store.agenda.claim(9, 9, 60))
        await store.run(store.jobs.reschedule(job_id, store.now_ms() + 60_000))
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []

    async def test_what_does_not_wait_has_no_next_time(self, store):
        begun = await store.begun()
        ended = await store.ended()
        for job_id, state in ((begun.lease.job_id, JobState.SENDING), (ended, JobState.SENT)):
            before = store.record(job_id)
            assert await store.run(store.jobs.reschedule(job_id, 0)) == (state, False)
            assert store.record(job_id) == before

    async def test_an_unknown_id_is_job_not_found(self, store):
        with pytest.raises(JobNotFound):
            await store.run(store.jobs.reschedule("nosuch", 0))

    @pytest.mark.parametrize("lane", ["high", "normal", "low"])
    async def test_each_lane_keeps_its_jobs(self, store, lane):
        (job_id,) = await store.enqueued(priority=lane, scheduled_at=soon())
        await store.run(store.jobs.reschedule(job_id, 0))
        claim = await store.run(store.agenda.claim(9, 9, 60))
        assert claim.ids[Priority(lane)] == [job_id]


class TestRevive:
    @pytest.mark.parametrize("state", [JobState.FAILED, JobState.UNCONFIRMED])
    async def test_an_ended_job_is_queued_again_with_a_fresh_count(self, store, state):
        job_id = await store.ended(state)
        stored = await store.run(store.jobs.get(job_id))
        people = tuple(
            r.__class__(r.address, RecipientState.PENDING) for r in stored.job.recipients
        )
        assert await store.run(store.jobs.revive(stored, people)) is True
        job = await store.job(job_id)
        assert (job.state, job.recipients) == (JobState.QUEUED, people)
        assert len(job.attempts) == 1
        (again,) = await store.run(store.agenda.begin([job_id], "w2", 60))
        assert (again.tries, again.recipients) == (0, people)

    async def test_a_canceled_job_too(self, store):
        (job_id,) = await store.enqueued(priority="low")
        await store.run(store.jobs.cancel([job_id]))
        stored = await store.run(store.jobs.get(job_id))
        assert await store.run(store.jobs.revive(stored, stored.job.recipients)) is True
        assert store.agenda_of(job_id)[0][0] == 3

    async def test_an_expired_job_that_is_revived_can_be_begun(self, store):
        (job_id,) = await store.enqueued(expires_at=soon())
        store.raw.hset(store.keys.job(job_id), "expires", store.now_ms() - 1)
        await store.run(store.agenda.begin([job_id], "w1", 60))
        stored = await store.run(store.jobs.get(job_id))
        assert stored.job.state is JobState.EXPIRED
        assert await store.run(store.jobs.revive(stored, stored.job.recipients)) is True
        assert len(await store.run(store.agenda.begin([job_id], "w1", 60))) == 1

    async def test_not_if_it_changed_since_it_was_read(self, store):
        """Two people who press "retry" at once queue it once."""
        job_id = await store.ended(JobState.FAILED)
        stored = await store.run(store.jobs.get(job_id))
        both = [store.jobs.revive(stored, stored.job.recipients) for _ in range(2)]
        assert sorted(await store.run_all(both)) == [False, True]

    async def test_not_if_its_recipients_fared_otherwise_since(self, store):
        job_id = await store.ended(JobState.FAILED)
        stored = await store.run(store.jobs.get(job_id))
        await store.run(store.jobs.revive(stored, stored.job.recipients))
        (again,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        result = store.result(again, JobState.FAILED, reply="551 elsewhere")
        await store.run(store.agenda.finish([result]))
        assert await store.run(store.jobs.revive(stored, stored.job.recipients)) is False
        assert await store.state(job_id) is JobState.FAILED

    async def test_not_if_it_was_retired(self, store):
        job_id = await store.ended(JobState.FAILED)
        stored = await store.run(store.jobs.get(job_id))
        await store.run(store.agenda.retire(JobState.FAILED, store.now_ms(), [job_id]))
        assert await store.run(store.jobs.revive(stored, stored.job.recipients)) is False
        assert store.record(job_id) == {}

    async def test_a_result_of_the_life_before_changes_nothing(self, store):
        begun = await store.begun()
        await store.run(store.agenda.finish([store.result(begun, JobState.FAILED)]))
        stored = await store.run(store.jobs.get(begun.lease.job_id))
        await store.run(store.jobs.revive(stored, stored.job.recipients))
        stale = store.result(begun, JobState.DEFERRED, NOW)
        before = store.record(begun.lease.job_id)
        await store.run(store.agenda.finish([stale]))
        assert store.record(begun.lease.job_id) == before


async def test_scripts_that_the_server_has_forgotten_are_sent_again(store):
    """As after a fail-over, or SCRIPT FLUSH."""
    jobs, agenda = store.jobs, store.agenda
    first, second = store.new_job(), store.new_job()

    async def run(operation):
        store.raw.script_flush()
        return await store.run(operation)

    await run(jobs.enqueue([first, second]))
    claim = await run(agenda.claim(10, 10, 60))
    assert len(claim.ids[Priority.NORMAL]) == 2
    assert await run(agenda.undispatch([first.id])) == 1
    assert (await run(jobs.reschedule(first.id, 0)))[1]
    (assignment,) = await run(agenda.begin([first.id], "w1", 60))
    assert await run(agenda.renew([assignment.lease], 60)) == set()
    assert await run(agenda.finish([store.result(assignment, JobState.FAILED)])) == [True]
    assert await run(jobs.revive(await store.run(jobs.get(first.id)), assignment.recipients))
    assert await run(jobs.cancel([second.id])) == [JobState.CANCELED]
    assert await run(agenda.retire(JobState.CANCELED, store.now_ms(), [second.id])) == 1
