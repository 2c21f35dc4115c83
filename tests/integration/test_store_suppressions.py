"""The suppression list over fakeredis and a real server, by both runners."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from mailer.job import Decision, JobState, Recipient, RecipientState
from mailer.store.agenda import ENDED, NOW, Result
from mailer.store.records import at

ACCEPTED, PENDING = RecipientState.ACCEPTED, RecipientState.PENDING
REFUSED, SUPPRESSED = RecipientState.REFUSED, RecipientState.SUPPRESSED
BRIEF, PAST_IT = 0.03, 0.05  # seconds: a lease that is to run out, and after it


async def suppress(store, *addresses: str, tag: str | None = None, reason: str = "") -> int:
    return await store.run(store.suppressions.add(addresses, tag, reason, "api"))


async def begin(store, *ids: str, lease: float = 60):
    return await store.run(store.agenda.begin(ids, "w1", lease))


async def states(store, job_id: str) -> list[RecipientState]:
    return [recipient.state for recipient in (await store.job(job_id)).recipients]


class TestEntries:
    async def test_an_entry_tells_why_since_when_and_by_whom(self, store):
        assert await suppress(store, "Ann@Example.org", reason="asked to ✓") == 1
        (entry,) = await store.run(store.suppressions.find("ann@example.org", None))
        assert (entry.address, entry.tag) == ("ann@example.org", None)
        assert (entry.reason, entry.by) == ("asked to ✓", "api")
        assert abs(entry.since - datetime.now(UTC)) < timedelta(seconds=5)

    async def test_the_first_reason_stays(self, store):
        await suppress(store, "ann@example.org", reason="complained")
        assert await suppress(store, "ann@example.org", "ben@example.org", reason="5.1.1") == 1
        (entry,) = await store.run(store.suppressions.find("ann@example.org", None))
        assert entry.reason == "complained"

    async def test_an_entry_of_a_tag_is_another_one(self, store):
        await suppress(store, "ann@example.org", tag="news")
        assert await store.run(store.suppressions.find("ann@example.org", None)) == []
        assert not await store.run(store.suppressions.remove("ann@example.org", None))
        assert await store.run(store.suppressions.remove("ANN@example.org", "news"))
        assert store.everything() == {}

    async def test_a_tag_is_taken_literally_where_entries_are_looked_for(self, store):
        for tag in ("n*ws", "news", "[n]", "n\\s"):
            await suppress(store, "ann@example.org", tag=tag)
        for tag in ("n*ws", "[n]", "n\\s"):
            _, found = await store.run(store.suppressions.scan_tags(0, tag=tag))
            assert [entry.tag for entry in found] == [tag]


class TestEnqueue:
    async def test_a_job_without_anybody_else_ends_as_suppressed(self, store):
        await suppress(store, "jm@example.org", reason="550 5.1.1 No such user")
        job = store.new_job(idempotency_key="k")
        (receipt,) = await store.run(store.jobs.enqueue([job]))
        assert (receipt.id, receipt.created) == (job.id, True)
        recorded = await store.job(job.id)
        assert recorded.state is JobState.SUPPRESSED
        assert recorded.next_attempt_at is None
        assert recorded.recipients == (
            Recipient(
                "jm@example.org",
                SUPPRESSED,
                "on the suppression list: 550 5.1.1 No such user",
            ),
        )
        assert store.agenda_of(job.id) == []
        assert store.wakes() == (0, 0)
        assert await begin(store, job.id) == []
        (again,) = await store.run(store.jobs.enqueue([msgspec.structs.replace(job, id="another")]))
        assert (again.id, again.created) == (job.id, False)

    @pytest.mark.parametrize("ahead", [None, timedelta(hours=1)])
    async def test_the_others_of_a_job_are_sent_to(self, store, ahead):
        await suppress(store, "b@example.org")
        when = ahead and datetime.now(UTC) + ahead
        people = ["a@example.org", "b@example.org", "jörg@example.org"]
        (job_id,) = await store.enqueued(to=people, scheduled_at=when)
        job = await store.job(job_id)
        assert job.state is (JobState.SCHEDULED if ahead else JobState.QUEUED)
        assert [(r.address, r.state, r.reply) for r in job.recipients] == [
            ("a@example.org", PENDING, None),
            ("b@example.org", SUPPRESSED, "on the suppression list"),
            ("jörg@example.org", PENDING, None),
        ]

    async def test_case_and_the_form_of_a_domain_make_no_difference(self, store):
        await suppress(store, "Jm@Example.ORG", "ÄNN@xn--bcher-kva.example")
        for address in ("jM@eXample.org", "ÄNN@BÜCHER.example"):
            (job_id,) = await store.enqueued(to=address)
            assert await store.state(job_id) is JobState.SUPPRESSED
        (job_id,) = await store.enqueued(to="änn@bücher.example")
        assert await store.state(job_id) is JobState.QUEUED, "only ASCII letters are alike"

    async def test_a_tag_keeps_its_emails_only(self, store):
        await suppress(store, "jm@example.org", tag="news", reason="unsubscribed")
        assert [
            await store.state((await store.enqueued(tags=tags))[0])
            for tags in ([], ["orders"], ["News"], ["orders", "news"])
        ] == [JobState.QUEUED] * 3 + [JobState.SUPPRESSED]
        (job_id,) = await store.enqueued(tags=["news"], to=["jm@example.org", "b@example.org"])
        first, second = (await store.job(job_id)).recipients
        assert first.reply == "on the suppression list of news: unsubscribed"
        assert second == Recipient("b@example.org")

    async def test_each_job_of_a_chunk_is_looked_at(self, store):
        await suppress(store, "b@example.org")
        jobs = [store.new_job(to=f"{name}@example.org") for name in "abc"]
        await store.run(store.jobs.enqueue(jobs))
        assert [await store.state(job.id) for job in jobs] == [
            JobState.QUEUED,
            JobState.SUPPRESSED,
            JobState.QUEUED,
        ]

    async def test_more_recipients_than_one_look_takes(self, store):
        people = [f"r{i}@example.org" for i in range(1000)] + ["late@example.org"]
        job = store.new_job(to=people[:1000])
        job = msgspec.structs.replace(
            job, recipients=tuple(Recipient(address) for address in people)
        )
        await suppress(store, "r0@example.org", "r999@example.org", "late@example.org")
        await store.run(store.jobs.enqueue([job]))
        found = (await store.job(job.id)).recipients
        assert [r.address for r in found] == people
        assert [r.address for r in found if r.state is SUPPRESSED] == [
            "r0@example.org",
            "r999@example.org",
            "late@example.org",
        ]

    async def test_attachments_of_a_suppressed_job_go_with_its_record(self, store):
        from mailer import Attachment

        await suppress(store, "jm@example.org")
        file = Attachment.from_bytes(b"x", filename="x")
        (job_id,) = await store.enqueued(attachments=[file])
        store.assert_consistent()
        moment = store.now_ms() + 1000
        ids = await store.run(store.agenda.ended_before(JobState.SUPPRESSED, moment, 9))
        assert ids == [job_id]
        assert await store.run(store.agenda.retire(JobState.SUPPRESSED, moment, ids)) == 1
        assert store.raw.hgetall(store.keys.blob_uses) == {}


class TestBegin:
    @pytest.mark.parametrize("tag", [None, "news"])
    async def test_a_job_is_checked_again_right_before_it_is_sent(self, store, tag):
        (job_id,) = await store.enqueued(tags=["news"])
        await suppress(store, "jm@example.org", tag=tag)
        assert await begin(store, job_id) == []
        assert await store.state(job_id) is JobState.SUPPRESSED
        assert await states(store, job_id) == [SUPPRESSED]
        assert store.agenda_of(job_id) == []

    async def test_one_who_came_off_the_list_is_sent_to(self, store):
        await suppress(store, "jm@example.org")
        (job_id,) = await store.enqueued(to=["jm@example.org", "b@example.org"])
        await store.run(store.suppressions.remove("jm@example.org", None))
        (begun,) = await begin(store, job_id)
        assert [r.state for r in begun.recipients] == [SUPPRESSED, PENDING], "by retry only"

    async def test_a_job_that_is_not_due_is_left_alone(self, store):
        (job_id,) = await store.enqueued(scheduled_at=datetime.now(UTC) + timedelta(hours=1))
        await suppress(store, "jm@example.org")
        assert await begin(store, job_id) == []
        assert await store.state(job_id) is JobState.SCHEDULED
        assert await states(store, job_id) == [PENDING]

    async def test_the_others_of_a_job_are_begun_and_it_is_on_record(self, store):
        (job_id,) = await store.enqueued(to=["a@example.org", "b@example.org"])
        await suppress(store, "a@example.org", reason="complained")
        (begun,) = await begin(store, job_id)
        expected = (
            Recipient("a@example.org", SUPPRESSED, "on the suppression list: complained"),
            Recipient("b@example.org"),
        )
        assert begun.recipients == (await store.job(job_id)).recipients == expected

    @pytest.mark.parametrize(
        ("before", "end"),
        [
            ([ACCEPTED, RecipientState.DEFERRED], JobState.PARTIALLY_SENT),
            ([REFUSED, RecipientState.DEFERRED], JobState.FAILED),
            ([ACCEPTED, REFUSED, RecipientState.DEFERRED], JobState.PARTIALLY_SENT),
            ([RecipientState.DEFERRED, RecipientState.DEFERRED], JobState.SUPPRESSED),
        ],
    )
    async def test_the_end_says_what_became_of_all(self, store, before, end):
        people = [f"r{i}@example.org" for i in range(len(before))]
        begun = await store.begun(to=people)
        result = store.result(begun, JobState.DEFERRED, NOW, recipients=before)
        await store.run(store.agenda.finish([result]))
        await suppress(store, *people)
        assert await begin(store, begun.lease.job_id) == []
        assert await store.state(begun.lease.job_id) is end
        after = [SUPPRESSED if state is RecipientState.DEFERRED else state for state in before]
        assert await states(store, begun.lease.job_id) == after

    async def test_what_a_lost_worker_may_have_sent_is_unconfirmed(self, store):
        begun = await store.begun(lease=BRIEF)
        job_id = begun.lease.job_id
        await suppress(store, "jm@example.org")
        await asyncio.sleep(PAST_IT)
        assert await begin(store, job_id) == []
        job = await store.job(job_id)
        assert job.state is JobState.UNCONFIRMED
        assert await states(store, job_id) == [RecipientState.UNCONFIRMED], "it can be resolved"
        assert [a.decision for a in job.attempts] == [Decision.INTERRUPTED]
        late = Result(begun.lease, JobState.SENT, ENDED, 1, begun.recipients, None)
        assert await store.run(store.agenda.finish([late])) == [False], "its token is over"

    async def test_a_time_of_its_own_goes_with_the_recipient_who_is_left_out(self, store):
        begun = await store.begun(to=["a@example.org", "b@example.org"])
        moment = at(store.now_ms() + 3_600_000)
        people = tuple(
            Recipient(r.address, RecipientState.DEFERRED, "450 no", moment)
            for r in begun.recipients
        )
        result = Result(begun.lease, JobState.DEFERRED, NOW, 1, people, None)
        await store.run(store.agenda.finish([result]))
        await suppress(store, "a@example.org")
        (again,) = await begin(store, begun.lease.job_id)
        assert again.recipients == (
            Recipient("a@example.org", SUPPRESSED, "on the suppression list"),
            people[1],
        )

    async def test_a_record_that_cannot_be_read_stops_no_other(self, store):
        broken, whole = await store.enqueued(2, to=["a@example.org", "b@example.org"])
        kept = store.record(broken)[b"recipients"]
        await suppress(store, "a@example.org")
        store.raw.hset(store.keys.job(broken), "recipients", b"[")
        (begun,) = await begin(store, broken, whole)
        assert begun.lease.job_id == whole
        store.raw.hset(store.keys.job(broken), "recipients", kept)


async def test_a_full_server_still_takes_who_must_not_be_sent_to(own_store):
    (job_id,) = await own_store.enqueued()
    own_store.raw.config_set("maxmemory", "1mb")
    assert await suppress(own_store, "jm@example.org") == 1
    assert await begin(own_store, job_id) == []
    assert await own_store.state(job_id) is JobState.SUPPRESSED
