"""The store's steps for workers, each over fakeredis and over a real server, by both runners."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mailer import Attachment
from mailer.errors import JobNotFound, StoreUnavailable
from mailer.job import Decision, JobState, Priority, RecipientState
from mailer.store.agenda import NOW, Lease

BRIEF = 0.03  # seconds of a lease or a dispatch timeout that is to run out
PAST_IT = 0.05


class TestClaim:
    async def test_an_empty_agenda_has_no_next_time(self, store):
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert claim.wait is None
        assert list(claim.ids.values()) == [[], [], []]
        assert abs(claim.now - store.now_ms()) < 5000

    async def test_the_longest_due_leave_first(self, store):
        now = datetime.now(UTC)
        ids = []
        for seconds in (30, 10, 20):
            ids += await store.enqueued(scheduled_at=now + timedelta(seconds=600 + seconds))
        for job_id, seconds in zip(ids, (30, 10, 20), strict=True):
            store.raw.zadd(store.keys.lanes[1], {job_id: store.now_ms() - seconds * 1000})
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert claim.ids[Priority.NORMAL] == [ids[0], ids[2], ids[1]]

    async def test_each_priority_is_claimed_apart(self, store):
        ids = {p: await store.enqueued(2, priority=p) for p in Priority}
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert {p: set(found) for p, found in claim.ids.items()} == {
            p: set(expected) for p, expected in ids.items()
        }

    async def test_what_is_not_due_is_not_claimed_and_tells_when(self, store):
        await store.enqueued(scheduled_at=datetime.now(UTC) + timedelta(seconds=100))
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert not any(claim.ids.values())
        assert 90 < claim.wait <= 100

    async def test_no_more_is_claimed_than_there_is_room_for(self, store):
        await store.enqueued(20)
        claim = await store.run(store.agenda.claim(7, 7, 60))
        assert len(claim.ids[Priority.NORMAL]) == 7
        assert claim.wait == 0

    async def test_urgent_jobs_have_room_of_their_own(self, store):
        await store.enqueued(20, priority="high")
        await store.enqueued(20)
        claim = await store.run(store.agenda.claim(0, 5, 60))
        assert [len(ids) for ids in claim.ids.values()] == [5, 0, 0]

    async def test_without_any_room_nothing_is_claimed(self, store):
        await store.enqueued(2, priority="high")
        await store.enqueued(2)
        before = [store.raw.zrange(lane, 0, -1, withscores=True) for lane in store.keys.lanes]
        claim = await store.run(store.agenda.claim(0, 0, 60))
        assert not any(claim.ids.values())
        assert claim.wait == 0
        assert before == [
            store.raw.zrange(lane, 0, -1, withscores=True) for lane in store.keys.lanes
        ]

    async def test_higher_priorities_leave_first_and_each_lower_one_gets_a_share(self, store):
        for priority in Priority:
            await store.enqueued(200, priority=priority)
        claim = await store.run(store.agenda.claim(100, 100, 60))
        high, normal, low = (len(ids) for ids in claim.ids.values())
        assert high == 100
        assert 9 <= normal <= 10
        assert normal + low == 10

    async def test_room_that_a_priority_does_not_use_goes_to_the_others(self, store):
        await store.enqueued(3, priority="high")
        await store.enqueued(200, priority="low")
        claim = await store.run(store.agenda.claim(100, 100, 60))
        assert [len(ids) for ids in claim.ids.values()] == [3, 0, 97]

    async def test_low_priority_does_not_starve_in_a_small_room(self, store):
        """A slow relay leaves room for a few at a time: some of them still are low ones."""
        await store.enqueued(600)
        await store.enqueued(100, priority="low")
        low = 0
        for _ in range(100):
            claim = await store.run(store.agenda.claim(5, 5, 60))
            low += len(claim.ids[Priority.LOW])
        assert 10 <= low <= 100, "about a tenth of 500"

    async def test_very_many_can_be_claimed_at_once(self, store):
        """Lua's unpack takes at most some 8,000 values."""
        for _ in range(5):
            await store.enqueued(900)
        claim = await store.run(store.agenda.claim(4500, 4500, 60))
        assert len(set(claim.ids[Priority.NORMAL])) == 4500

    async def test_eight_claimers_at_once_claim_each_job_once(self, store):
        ids = set()
        for _ in range(5):
            ids |= set(await store.enqueued(200))
        claimed = []
        for _ in range(5):
            claims = await store.run_all([store.agenda.claim(25, 25, 60) for _ in range(8)])
            for claim in claims:
                assert len(claim.ids[Priority.NORMAL]) == 25
                claimed += claim.ids[Priority.NORMAL]
        assert len(claimed) == 1000
        assert set(claimed) == ids
        assert not any((await store.run(store.agenda.claim(25, 25, 60))).ids.values())

    async def test_a_claimed_job_comes_up_again_after_the_dispatch_timeout(self, store):
        ids = await store.enqueued()
        await store.run(store.agenda.claim(10, 10, BRIEF))
        await asyncio.sleep(PAST_IT)
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert claim.ids[Priority.NORMAL] == ids
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert not any(claim.ids.values())
        assert 55 < claim.wait <= 60

    async def test_what_stays_due_wakes_a_dispatcher_with_room(self, store):
        await store.enqueued(2)
        await store.enqueued(2, priority="high")
        store.raw.delete(store.keys.wake, store.keys.urgent_wake)
        await store.run(store.agenda.claim(1, 1, 60))
        assert store.wakes() == (1, 1)


class TestBegin:
    async def test_a_due_job_is_leased_with_all_that_is_needed(self, store):
        (job_id,) = await store.enqueued(
            subject="S", text="T", cc="c@example.org", envelope_sender="bounces@example.com"
        )
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        assert begun.lease == Lease(job_id, 1)
        assert begun.message.subject == "S"
        assert begun.message.text == "T"
        assert begun.head.envelope_sender == "bounces@example.com"
        assert [r.address for r in begun.recipients] == ["jm@example.org", "c@example.org"]
        assert (begun.tries, begun.priority, begun.expires_ms) == (0, Priority.NORMAL, 0)
        assert begun.message.date == begun.since_ms // 1000
        job = await store.job(job_id)
        assert (job.state, job.next_attempt_at) == (JobState.SENDING, None)
        ((_, due),) = store.agenda_of(job_id)
        assert due == begun.begun_ms + 60_000

    async def test_a_job_that_is_not_due_is_passed_over(self, store):
        (job_id,) = await store.enqueued(scheduled_at=datetime.now(UTC) + timedelta(seconds=60))
        before = store.everything()
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []
        assert store.everything() == before

    @pytest.mark.parametrize("state", [JobState.SENT, JobState.FAILED, JobState.UNCONFIRMED])
    async def test_an_ended_job_is_passed_over(self, store, state):
        job_id = await store.ended(state)
        before = store.everything()
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []
        assert store.everything() == before

    async def test_a_leased_job_is_passed_over(self, store):
        begun = await store.begun()
        before = store.everything()
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []
        assert store.everything() == before

    async def test_an_expired_job_ends_as_such(self, store):
        expires = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        (job_id,) = await store.enqueued(expires_at=expires)
        assert (await store.job(job_id)).expires_at == expires
        store.raw.hset(store.keys.job(job_id), "expires", store.now_ms() - 1)
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []
        assert await store.state(job_id) is JobState.EXPIRED
        assert store.agenda_of(job_id) == []

    async def test_ids_that_are_unknown_or_named_twice_do_no_harm(self, store):
        one, two = await store.enqueued(2)
        ids = [one, "nosuch", one, "", two]
        begun = await store.run(store.agenda.begin(ids, "w1", 60))
        assert [b.lease for b in begun] == [Lease(one, 1), Lease(two, 1)]

    async def test_an_empty_batch_is_no_error(self, store):
        assert await store.run(store.agenda.begin([], "w1", 60)) == []

    async def test_of_eight_workers_that_get_the_same_batch_one_begins_each_job(self, store):
        ids = await store.enqueued(50)
        batches = await store.run_all([store.agenda.begin(ids, f"w{i}", 60) for i in range(8)])
        assert sorted(b.lease.job_id for batch in batches for b in batch) == sorted(ids)

    async def test_a_lost_lease_is_taken_over_and_the_lost_attempt_is_on_record(self, store):
        """Nobody knows what the worker sent that died."""
        lost = await store.begun(lease=BRIEF, worker="dead", priority="high")
        job_id = lost.lease.job_id
        await asyncio.sleep(PAST_IT)
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert claim.ids[Priority.HIGH] == [job_id]
        (begun,) = await store.run(store.agenda.begin([job_id], "w2", 60))
        assert begun.lease == Lease(job_id, lost.lease.token + 1)
        assert (begun.message, begun.recipients) == (lost.message, lost.recipients)
        (attempt,) = (await store.job(job_id)).attempts
        assert (attempt.decision, attempt.worker, attempt.n) == (Decision.INTERRUPTED, "dead", 1)
        assert round(attempt.started_at.timestamp() * 1000) == lost.begun_ms
        assert round(attempt.ended_at.timestamp() * 1000) == begun.begun_ms

    async def test_a_lost_lease_is_taken_over_once(self, store):
        lost = await store.begun(lease=BRIEF)
        await asyncio.sleep(PAST_IT)
        calls = [store.agenda.begin([lost.lease.job_id], f"w{i}", 60) for i in range(8)]
        assert sum(map(len, await store.run_all(calls))) == 1

    async def test_the_message_and_its_date_are_the_same_at_every_attempt(self, store):
        first = await store.begun()
        await store.run(store.agenda.finish([store.result(first, JobState.DEFERRED, NOW)]))
        (second,) = await store.run(store.agenda.begin([first.lease.job_id], "w2", 60))
        assert second.message == first.message
        assert second.since_ms == first.since_ms
        assert second.tries == 1


class TestRenew:
    async def test_a_renewed_lease_is_not_taken_over(self, store):
        begun = await store.begun(lease=BRIEF)
        assert await store.run(store.agenda.renew([begun.lease], 60)) == set()
        await asyncio.sleep(PAST_IT)
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []
        ((_, due),) = store.agenda_of(begun.lease.job_id)
        assert due > store.now_ms() + 50_000

    async def test_what_is_no_longer_ours_is_named(self, store):
        lost = await store.begun(lease=BRIEF)
        await asyncio.sleep(PAST_IT)
        (new,) = await store.run(store.agenda.begin([lost.lease.job_id], "w2", 60))
        ended = await store.begun()
        await store.run(store.agenda.finish([store.result(ended)]))
        held = await store.begun()
        before = store.record(lost.lease.job_id)
        leases = [lost.lease, ended.lease, held.lease, Lease("nosuch", 1)]
        gone = await store.run(store.agenda.renew(leases, 60))
        assert gone == {lost.lease.job_id, ended.lease.job_id, "nosuch"}
        assert store.record(lost.lease.job_id) == before
        assert await store.run(store.agenda.finish([store.result(new)])) == [True]

    async def test_a_lease_that_ran_out_but_was_not_taken_over_is_ours_again(self, store):
        begun = await store.begun(lease=BRIEF)
        await asyncio.sleep(PAST_IT)
        await store.run(store.agenda.claim(10, 10, 60))
        assert await store.run(store.agenda.renew([begun.lease], 60)) == set()
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []

    async def test_nothing_to_renew_is_no_error(self, store):
        assert await store.run(store.agenda.renew([], 60)) == set()


class TestFinish:
    async def test_what_was_sent_keeps_its_history_and_drops_its_content(self, store):
        attached = [Attachment.from_bytes(b"secret", filename="a.txt")]
        begun = await store.begun(attachments=attached, text="secret")
        assert (
            await store.run(store.blobs.part(begun.message.attachments[0].source.sha256, 0))
            == b"secret"
        )
        assert await store.run(store.agenda.finish([store.result(begun)])) == [True]
        job = await store.job(begun.lease.job_id)
        assert (job.state, job.retries) == (JobState.SENT, 1)
        assert job.recipients[0].state is RecipientState.ACCEPTED
        assert [a.reply for a in job.attempts] == ["250 2.0.0 ok"]
        assert b"secret" not in repr(store.everything()).encode()

    async def test_an_attachment_that_another_job_needs_stays(self, store):
        attached = [Attachment.from_bytes(b"shared", filename="a.txt")]
        (other,) = await store.enqueued(attachments=attached)
        begun = await store.begun(attachments=attached)
        await store.run(store.agenda.finish([store.result(begun)]))
        sha256 = begun.message.attachments[0].source.sha256
        assert await store.run(store.blobs.part(sha256, 0)) == b"shared"
        (begun,) = await store.run(store.agenda.begin([other], "w1", 60))
        await store.run(store.agenda.finish([store.result(begun)]))
        assert await store.run(store.blobs.part(sha256, 0)) == b""

    async def test_what_is_deferred_waits_on_the_agenda_with_its_content(self, store):
        begun = await store.begun(
            priority="low", attachments=[Attachment.from_bytes(b"x", filename="x")]
        )
        job_id = begun.lease.job_id
        due = store.now_ms() + 90_000  # its lease would end after 60 s
        await store.run(store.agenda.finish([store.result(begun, JobState.DEFERRED, due)]))
        job = await store.job(job_id)
        assert (job.state, job.retries) == (JobState.DEFERRED, 1)
        assert job.next_attempt_at == datetime.fromtimestamp(due / 1000, UTC)
        assert store.agenda_of(job_id) == [(3, due)]
        assert await store.run(store.agenda.begin([job_id], "w1", 60)) == []

    async def test_a_job_handed_back_is_due_at_once_and_wakes(self, store):
        begun = await store.begun()
        store.raw.delete(store.keys.wake)
        handed = handed_back(store, begun)
        assert await store.run(store.agenda.finish([handed])) == [True]
        assert store.wakes()[0] == 1
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert claim.ids[Priority.NORMAL] == [begun.lease.job_id]
        (again,) = await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60))
        assert again.tries == 0
        assert (await store.job(begun.lease.job_id)).attempts == ()

    @pytest.mark.parametrize("state", [JobState.SENT, JobState.DEFERRED, JobState.FAILED])
    async def test_a_stale_token_changes_nothing(self, store, state):
        """The worker that lost its lease comes back, and is told so."""
        lost = await store.begun(
            lease=BRIEF, attachments=[Attachment.from_bytes(b"x", filename="x")]
        )
        await asyncio.sleep(PAST_IT)
        (new,) = await store.run(store.agenda.begin([lost.lease.job_id], "w2", 60))
        before = store.everything()
        due = 0 if state.ended else NOW
        assert await store.run(store.agenda.finish([store.result(lost, state, due)])) == [False]
        assert store.everything() == before
        assert await store.run(store.agenda.finish([store.result(new)])) == [True]

    async def test_a_lease_that_ran_out_unnoticed_still_counts(self, store):
        """Nobody took it over: the result is the best that is known."""
        begun = await store.begun(lease=BRIEF)
        await asyncio.sleep(PAST_IT)
        await store.run(store.agenda.claim(10, 10, 60))
        assert await store.run(store.agenda.finish([store.result(begun)])) == [True]
        assert await store.state(begun.lease.job_id) is JobState.SENT

    async def test_the_same_result_twice_is_recorded_once(self, store):
        begun = await store.begun(attachments=[Attachment.from_bytes(b"x", filename="x")])
        await store.enqueued(attachments=[Attachment.from_bytes(b"x", filename="x")])
        result = store.result(begun, JobState.DEFERRED, store.now_ms() + 60_000)
        assert await store.run(store.agenda.finish([result])) == [True]
        before = store.everything()
        assert await store.run(store.agenda.finish([result])) == [True], "no loss: it is on record"
        assert store.everything() == before

    async def test_each_result_of_a_group_counts_for_itself(self, store):
        lost = await store.begun(lease=BRIEF)
        await asyncio.sleep(PAST_IT)
        await store.run(store.agenda.begin([lost.lease.job_id], "w2", 60))
        good = [await store.begun() for _ in range(3)]
        gone = of_lease(store.result(good[0]), Lease("nosuch", 1))
        results = [
            store.result(good[0]),
            store.result(lost),
            store.result(good[1], JobState.DEFERRED, NOW),
            gone,
            store.result(good[2], JobState.FAILED),
        ]
        assert await store.run(store.agenda.finish(results)) == [True, False, True, False, True]
        assert [await store.state(g.lease.job_id) for g in good] == [
            JobState.SENT,
            JobState.DEFERRED,
            JobState.FAILED,
        ]

    @pytest.mark.parametrize("state", [s for s in JobState if s.ended and s is not JobState.SENT])
    async def test_what_ended_otherwise_keeps_its_content_for_another_try(self, store, state):
        begun = await store.begun(attachments=[Attachment.from_bytes(b"x", filename="x")])
        await store.run(store.agenda.finish([store.result(begun, state)]))
        assert await store.state(begun.lease.job_id) is state
        assert store.agenda_of(begun.lease.job_id) == []
        assert (await store.run(store.jobs.get(begun.lease.job_id))).has_message

    async def test_the_oldest_attempts_go_when_the_history_grows_too_long(self, store):
        (job_id,) = await store.enqueued()
        for i in range(10):
            (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
            reply = f"450 {i} " + "x" * 10_000
            result = store.result(begun, JobState.DEFERRED, NOW, reply=reply)
            await store.run(store.agenda.finish([result]))
        attempts = (await store.job(job_id)).attempts
        assert [a.n for a in attempts] == [5, 6, 7, 8, 9, 10]

    async def test_line_ends_within_a_reply_do_not_break_the_history(self, store):
        begun = await store.begun()
        reply = "450-a\r\n450 b\u2028\x85\x0c"
        await store.run(
            store.agenda.finish([store.result(begun, JobState.DEFERRED, NOW, reply=reply)])
        )
        assert [a.reply for a in (await store.job(begun.lease.job_id)).attempts] == [reply]


class TestUndispatch:
    async def test_what_was_claimed_and_not_begun_is_due_again_at_once(self, store):
        ids = await store.enqueued(3, priority="high")
        await store.run(store.agenda.claim(10, 10, 60))
        store.raw.delete(store.keys.wake, store.keys.urgent_wake)
        assert await store.run(store.agenda.undispatch([*ids, "nosuch"])) == 3
        assert sum(store.wakes()) == 1
        claim = await store.run(store.agenda.claim(10, 10, 60))
        assert sorted(claim.ids[Priority.HIGH]) == sorted(ids)

    async def test_what_has_moved_on_stays_where_it_is(self, store):
        begun = await store.begun()
        ended = await store.ended()
        (later,) = await store.enqueued()
        await store.run(store.jobs.reschedule(later, store.now_ms() + 60_000))
        before = store.everything()
        ids = [begun.lease.job_id, ended, later]
        assert await store.run(store.agenda.undispatch(ids)) == 0
        assert store.everything() == before


class TestRetire:
    async def test_what_ended_long_ago_is_forgotten_with_its_blobs(self, store):
        attached = [Attachment.from_bytes(b"x", filename="x")]
        old = await store.ended(JobState.FAILED, attachments=attached)
        await asyncio.sleep(0.01)
        moment = store.now_ms()
        await asyncio.sleep(0.01)
        young = await store.ended(JobState.FAILED, attachments=attached)
        listed = await store.run(store.agenda.ended_before(JobState.FAILED, moment, 10))
        assert listed == [old]
        assert await store.run(store.agenda.retire(JobState.FAILED, moment, [old, young])) == 1
        with pytest.raises(JobNotFound):
            await store.job(old)
        assert await store.state(young) is JobState.FAILED
        assert await store.run(store.agenda.retire(JobState.FAILED, store.now_ms(), [young])) == 1
        assert not [key for key in store.everything() if b":blob" in key]

    async def test_what_was_revived_meanwhile_is_kept(self, store):
        job_id = await store.ended(JobState.FAILED)
        stored = await store.run(store.jobs.get(job_id))
        await store.run(store.jobs.revive(stored, stored.job.recipients))
        assert await store.run(store.agenda.retire(JobState.FAILED, store.now_ms(), [job_id])) == 0
        assert await store.state(job_id) is JobState.QUEUED

    async def test_an_attachment_of_a_sent_job_is_not_given_up_twice(self, store):
        attached = [Attachment.from_bytes(b"x", filename="x")]
        sent = await store.ended(attachments=attached)
        (other,) = await store.enqueued(attachments=attached)
        await store.run(store.agenda.retire(JobState.SENT, store.now_ms(), [sent]))
        (begun,) = await store.run(store.agenda.begin([other], "w1", 60))
        assert (
            await store.run(store.blobs.part(begun.message.attachments[0].source.sha256, 0)) == b"x"
        )


class TestNews:
    async def test_a_ticket_reaches_its_dispatcher(self, store):
        for operation in store.agenda.give_ticket("w1", "7"):
            await store.run(operation)
        wait = store.agenda.await_news("w1", room=True, urgent_room=True, timeout=1)
        assert await store.run(wait) == "7"
        store.raw.delete(store.keys.begun("w1"))

    @pytest.mark.parametrize("priority", ["high", "normal"])
    async def test_an_enqueue_wakes_a_dispatcher_that_waits(self, store, priority):
        await store.enqueued(priority=priority)
        wait = store.agenda.await_news("w1", room=True, urgent_room=True, timeout=1)
        assert await store.run(wait) is None
        assert store.wakes() == (0, 0)

    async def test_a_dispatcher_without_room_leaves_the_wake_up_to_others(self, store):
        await store.enqueued()
        wait = store.agenda.await_news("w1", room=False, urgent_room=True, timeout=0.01)
        assert await store.run(wait) is None
        assert store.wakes() == (1, 0)


def handed_back(store, begun):
    """What a worker reports that stops before it tried: no attempt, no try used up."""
    tried = store.result(begun, JobState.QUEUED, NOW)
    return replace(tried, tries=begun.tries, recipients=begun.recipients, attempt=None)


def of_lease(result, lease):
    return replace(result, lease=lease)


class TestLostAttempts:
    async def lose(self, store, job_id, times=1):
        """Have a worker begin the job and die, that often."""
        for _ in range(times):
            (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
            store.lease_is_over(job_id)
        return begun

    async def test_a_possible_second_copy_keeps_its_date_though_it_is_rescheduled(self, store):
        (job_id,) = await store.enqueued()
        store.raw.hset(store.keys.job(job_id), "date", 1)
        await self.lose(store, job_id)
        (begun,) = await store.run(store.agenda.begin([job_id], "w2", 60))
        await store.run(store.agenda.finish([handed_back(store, begun)]))
        await store.run(store.jobs.reschedule(job_id, 0))
        (begun,) = await store.run(store.agenda.begin([job_id], "w3", 60))
        assert begun.message.date == 1

    async def test_they_are_no_retries_of_the_policy(self, store):
        (job_id,) = await store.enqueued()
        await self.lose(store, job_id, times=3)
        job = await store.job(job_id)
        assert [a.decision for a in job.attempts] == [Decision.INTERRUPTED] * 2
        assert job.retries == 0

    async def test_each_is_counted_until_an_attempt_ends_in_order(self, store):
        (job_id,) = await store.enqueued()
        assert (await self.lose(store, job_id, times=3)).crashes == 2
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        assert begun.crashes == 3
        handed = replace(handed_back(store, begun), crashes=begun.crashes)
        await store.run(store.agenda.finish([handed]))
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        assert begun.crashes == 3, "it was not tried"
        await store.run(store.agenda.finish([store.result(begun, JobState.DEFERRED, NOW)]))
        (begun,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        assert begun.crashes == 0

    async def test_a_person_who_retries_sets_their_count_back(self, store):
        (job_id,) = await store.enqueued()
        begun = await self.lose(store, job_id, times=2)
        store.raw.hset(store.keys.job(job_id), "lease", store.now_ms() + 60_000)
        failed = replace(store.result(begun, JobState.FAILED), crashes=3)
        assert await store.run(store.agenda.finish([failed])) == [True]
        stored = await store.run(store.jobs.get(job_id))
        assert await store.run(store.jobs.revive(stored, begun.recipients))
        (again,) = await store.run(store.agenda.begin([job_id], "w1", 60))
        assert again.crashes == 0

    async def test_one_that_has_expired_ends_in_doubt_and_its_worker_is_told(self, store):
        begun = await store.begun(expires_at=datetime.now(UTC) + timedelta(hours=1))
        store.lease_is_over(begun.lease.job_id)
        store.raw.hset(store.keys.job(begun.lease.job_id), "expires", 1)
        assert await store.run(store.agenda.begin([begun.lease.job_id], "w2", 60)) == []
        assert await store.state(begun.lease.job_id) is JobState.UNCONFIRMED
        assert store.agenda_of(begun.lease.job_id) == []
        assert await store.run(store.agenda.finish([store.result(begun)])) == [False], "too late"

    async def test_their_history_is_bounded(self, store):
        (job_id,) = await store.enqueued()
        long = b'[1,1,"retry",1,"' + b"x" * 65_000 + b'"]\n'
        store.raw.hset(store.keys.job(job_id), "attempts", long)
        await self.lose(store, job_id, times=5)
        job = await store.job(job_id)
        assert [a.decision for a in job.attempts][-1] is Decision.INTERRUPTED
        assert len(store.record(job_id)[b"attempts"]) <= 65_536


async def test_workers_go_on_where_memory_is_full(own_store):
    """Their results are what makes room again; only enqueue is refused."""
    store, agenda, jobs = own_store, own_store.agenda, own_store.jobs
    ids = await store.enqueued(4)
    (waiting,) = await store.enqueued(scheduled_at=datetime.now(UTC) + timedelta(hours=1))
    ended = await store.ended(JobState.FAILED)
    store.raw.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        await store.enqueued()
    claim = await store.run(agenda.claim(10, 10, 60))
    assert sorted(claim.ids[Priority.NORMAL]) == sorted(ids)
    assert await store.run(agenda.undispatch(ids[2:])) == 2
    begun = await store.run(agenda.begin(ids[:2], "w1", 60))
    assert await store.run(agenda.renew([job.lease for job in begun], 60)) == set()
    assert await store.run(agenda.finish([store.result(job) for job in begun])) == [True, True]
    assert await store.run(jobs.reschedule(waiting, 0)) == (JobState.QUEUED, True)
    assert await store.run(jobs.cancel([waiting])) == [JobState.CANCELED]
    stored = await store.run(jobs.get(ended))
    assert await store.run(jobs.revive(stored, stored.job.recipients))
    assert await store.run(agenda.retire(JobState.SENT, 2**53, ids[:2])) == 2
