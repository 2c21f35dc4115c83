"""Batches: one letter and a list of people, stored as little, sent once each, resumed at will."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from either import Either
from msgspec.structs import replace

from mailer import (
    AsyncMailer,
    Attachment,
    BatchConflict,
    BatchNotFound,
    InvalidArgument,
    InvalidEmail,
    JobState,
    Mailer,
    WrongState,
    load_settings,
)
from mailer.store.batches import Batches
from mailer.templates import Letter
from workers.letters import Letters

MOST_BYTES, MOST_BYTES_REDIS = 700, 800  # of Redis's memory for a queued recipient


def letter(**fields) -> Letter:
    usual = {
        "from_email": "News <news@example.com>",
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }},\n",
    }
    return Letter(**usual | fields)


def people(number: int, start: int = 0):
    for i in range(start, start + number):
        yield {"to": f"ann{i}@example.org", "name": f"Ann {i}"}


@pytest.fixture
def settings(redis_server, key_prefix):
    return load_settings(redis_url=redis_server.url, key_prefix=key_prefix)


@pytest.fixture(params=[Mailer, AsyncMailer])
async def mailer(request, settings):
    mailer = request.param(settings=settings)
    yield Either(mailer)
    await Either(mailer).close()


@pytest.fixture
async def store(real_store):
    yield real_store
    real_store.assert_consistent()


@pytest.fixture
def sync_mailer(settings):
    with Mailer(settings=settings) as mailer:
        yield mailer


async def begun(store, ids):
    """Begin jobs and write their messages, as a worker does; also gives those that have none."""
    jobs = await store.run(store.agenda.begin(ids, "w1", 60))
    return await Letters(Batches(store.keys), store.runner).written(jobs)


class TestEnqueue:
    async def test_each_row_makes_an_email_of_its_own(self, mailer):
        receipt = await mailer.enqueue_batch("news", letter(tags=["news"]), people(250))
        assert (receipt.rows, receipt.created, receipt.known, receipt.refused) == (250, 250, 0, 0)
        job = await mailer.get(receipt.job_id(249))
        assert job.subject == "Hello Ann 249"
        assert [r.address for r in job.recipients] == ["ann249@example.org"]
        assert job.tags == ("news",)
        assert b"Dear Ann 249," in await mailer.message(job.id)

    async def test_what_was_enqueued_before_is_known(self, mailer):
        await mailer.enqueue_batch("news", letter(), people(200))
        again = await mailer.enqueue_batch("news", letter(), people(300))
        assert (again.created, again.known) == (100, 200)
        assert (await mailer.batch("news")).jobs == 300

    async def test_rows_are_taken_as_they_are_needed(self, sync_mailer):
        taken = 0

        def rows():
            nonlocal taken
            for row in people(10**9):
                taken += 1
                yield row if taken <= 1000 else {}

        with pytest.raises(InvalidEmail, match=r"rows\[1000\]"):
            sync_mailer.enqueue_batch("news", letter(), rows())
        assert taken == 1100, "a chunk at a time"
        assert sync_mailer.batch("news").jobs == 1000, "the chunks before it are recorded"

    async def test_an_interrupted_call_is_repeated(self, sync_mailer):
        def interrupted():
            yield from people(230)
            raise OSError("the file is gone")

        with pytest.raises(OSError, match="is gone"):
            sync_mailer.enqueue_batch("news", letter(), interrupted())
        assert sync_mailer.batch("news").jobs == 200
        receipt = sync_mailer.enqueue_batch("news", letter(), people(400))
        assert (receipt.created, receipt.known) == (200, 200)
        assert sync_mailer.counts()[JobState.QUEUED] == 400

    async def test_two_at_once_send_to_each_person_once(self, settings):
        async with AsyncMailer(settings=settings) as mailer:
            receipts = await asyncio.gather(
                *(mailer.enqueue_batch("news", letter(), people(500)) for _ in range(4))
            )
            assert sum(receipt.created for receipt in receipts) == 500
            assert (await mailer.counts())[JobState.QUEUED] == 500

    async def test_no_rows_are_an_empty_batch(self, sync_mailer):
        assert sync_mailer.enqueue_batch("news", letter(), []).rows == 0
        assert sync_mailer.batch("news").jobs == 0

    async def test_a_try_stores_nothing(self, store, mailer):
        mistakes = []
        rows = [*people(150), {"to": "nobody"}]
        receipt = await mailer.enqueue_batch(
            "news",
            letter(),
            rows,
            on_mistake=lambda row, error: mistakes.append((row, str(error))),
            dry_run=True,
        )
        assert (receipt.rows, receipt.created, receipt.refused) == (151, 0, 1)
        assert mistakes == [
            (150, "rows[150].to: 'nobody' has no @; an address looks like local@domain")
        ]
        assert store.everything() == {}


class TestMistakes:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"name": "Ann"}, r"rows\[1\]\.to: is missing"),
            ({"to": "ann@example.org"}, r"rows\[1\]\.letter/subject\.txt:1: 'name' is undefined"),
            ({"to": "a@example.org", "name": "x\r\nBcc: b@example.org"}, r"rows\[1\].*control"),
            ({"to": "a@example.org", "name": object()}, r"rows\[1\]\.row: .*JSON"),
            ({"to": "a@example.org", "name": "\ud800"}, r"rows\[1\]\.row: .*JSON"),
            ("ann@example.org", r"rows\[1\]\.row: maps names to values"),
        ],
    )
    async def test_a_bad_row_is_named_and_its_chunk_not_stored(self, sync_mailer, row, message):
        with pytest.raises(InvalidEmail, match=message):
            sync_mailer.enqueue_batch("news", letter(), [*people(1), row, *people(1, 2)])
        assert sync_mailer.counts()[JobState.QUEUED] == 0

    async def test_the_others_go_where_that_is_asked_for(self, sync_mailer):
        told = []
        rows = [*people(1), {"to": ""}, *people(1, 2)]
        receipt = sync_mailer.enqueue_batch(
            "news", letter(), rows, on_mistake=lambda row, _: told.append(row)
        )
        assert (receipt.created, receipt.refused, told) == (2, 1, [1])
        assert sync_mailer.get(receipt.job_id(2)).subject == "Hello Ann 2"

    @pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", 7])
    async def test_a_name_that_is_none_is_refused(self, sync_mailer, name):
        with pytest.raises(InvalidArgument, match="batch: is a name of 1 to 200 printable"):
            sync_mailer.enqueue_batch(name, letter(), people(1))

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"to": "a@example.org"}, "to: is for one email alone"),
            ({"idempotency_key": "k"}, "idempotency_key: is for one email alone"),
            ({"amp": "<html amp4email>"}, "amp: has no place in a letter"),
            ({"colour": "red"}, "colour: is no field of Email"),
            ({"headers": {"X\n": "y"}}, "no header name"),
            ({"priority": "urgent"}, "priority"),
            ({"subject": "{{ name"}, r"letter/subject\.txt:1"),
        ],
    )
    def test_a_letter_is_checked_when_it_is_made(self, fields, message):
        with pytest.raises(InvalidEmail, match=message):
            letter(**fields)

    async def test_a_letter_whose_time_is_over_is_refused_for_that_reason(self, sync_mailer):
        past = datetime.now(UTC) - timedelta(hours=1)
        with pytest.raises(InvalidEmail, match="expires_at: is in the past"):
            sync_mailer.enqueue_batch("news", letter(expires_at=past), people(1))
        assert sync_mailer.counts()[JobState.QUEUED] == 0

    async def test_a_batch_keeps_its_letter(self, sync_mailer):
        sync_mailer.enqueue_batch("news", letter(), people(1))
        with pytest.raises(BatchConflict, match="'news' has another letter"):
            sync_mailer.enqueue_batch("news", letter(text="Other"), people(1))

    async def test_a_batch_keeps_its_rows(self, sync_mailer):
        sync_mailer.enqueue_batch("news", letter(), people(200))
        others = [*people(100), *people(100, 101)]
        with pytest.raises(BatchConflict, match="rows 100 to 199 are others"):
            sync_mailer.enqueue_batch("news", letter(), others)
        assert sync_mailer.counts()[JobState.QUEUED] == 200


class TestBatch:
    async def test_it_counts_its_own_jobs_by_state(self, mailer, store):
        receipt = await mailer.enqueue_batch("news", letter(), people(5))
        await mailer.enqueue_batch("other", letter(), people(3))
        ids = [receipt.job_id(i) for i in range(5)]
        begun = await store.run(store.agenda.begin(ids[:2], "w1", 60))
        await store.run(store.agenda.finish([store.result(begun[0])]))
        batch = await mailer.batch("news")
        assert batch.counts[JobState.SENT] == 1
        assert batch.counts[JobState.SENDING] == 1
        assert batch.counts[JobState.QUEUED] == 3
        assert (batch.rows, batch.jobs, batch.ended, batch.canceled_at) == (5, 5, 1, None)

    async def test_it_is_canceled_as_a_whole(self, mailer, store):
        receipt = await mailer.enqueue_batch("news", letter(), people(1200))
        await store.run(store.agenda.begin([receipt.job_id(0)], "w1", 60))
        assert await mailer.cancel_batch("news") == 1199
        batch = await mailer.batch("news")
        assert batch.counts[JobState.CANCELED] == 1199
        assert batch.canceled_at
        with pytest.raises(WrongState, match="'news' was canceled"):
            await mailer.enqueue_batch("news", letter(), people(1300))

    async def test_nothing_comes_into_it_once_it_is_canceled(self, sync_mailer):
        def rows():
            yield from people(150)
            sync_mailer.cancel_batch("news")
            yield from people(150, 150)

        with pytest.raises(WrongState, match="canceled"):
            sync_mailer.enqueue_batch("news", letter(), rows())
        assert sync_mailer.counts()[JobState.QUEUED] <= 100

    async def test_one_that_there_is_not_is_not_found(self, mailer):
        for call in (mailer.batch, mailer.cancel_batch):
            with pytest.raises(BatchNotFound, match="'nosuch'"):
                await call("nosuch")

    async def test_it_goes_with_its_last_job_and_its_name_is_free_again(self, sync_mailer, store):
        pdf = Attachment.from_bytes(b"%PDF" * 10_000, filename="news.pdf")
        receipt = sync_mailer.enqueue_batch("news", letter(attachments=[pdf]), people(2))
        sha = hashlib.sha256(b"%PDF" * 10_000).hexdigest()
        assert store.raw.hget(store.keys.blob_uses, sha) == b"1", "once for all"
        store.assert_consistent()
        sync_mailer.cancel_batch("news")
        ids = [receipt.job_id(i) for i in range(2)]
        await store.run(store.agenda.retire(JobState.CANCELED, store.now_ms(), ids[:1]))
        assert sync_mailer.batch("news").jobs == 1
        await store.run(store.agenda.retire(JobState.CANCELED, store.now_ms(), ids[1:]))
        with pytest.raises(BatchNotFound):
            sync_mailer.batch("news")
        assert not store.raw.exists(store.keys.blob(sha))
        assert sync_mailer.enqueue_batch("news", letter(text="New"), people(2)).created == 2


class TestWriting:
    LETTERS = (
        {},
        {"html": "<style>p {color: red}</style><p>Dear <b>{{ name }}</b></p>"},
        {"html": "<p>{{ name }}</p>", "text": None, "text_from_html": True},
        {
            "headers": {"X-For": "{{ name }}", "X-All": "the same"},
            "list_unsubscribe": [
                "https://example.com/{{ to | urlencode }}",
                "mailto:u@example.com",
            ],
            "one_click_unsubscribe": True,
            "reply_to": "Desk <desk@example.com>",
            "sender": "robot@example.com",
            "auto_submitted": "auto-generated",
            "importance": "low",
            "attachments": [Attachment.from_bytes(b"x", filename="x.txt")],
        },
    )

    @pytest.mark.parametrize("fields", LETTERS, ids=range(len(LETTERS)))
    async def test_a_worker_writes_what_was_checked(self, sync_mailer, store, fields):
        """The same message as if it had been enqueued by itself."""
        made = letter(**fields)
        row = {"to": '"Jörg Joe" <jm@bücher.example>', "name": "Jörg <&>"}
        merged = sync_mailer.enqueue_batch("news", made, [row]).job_id(0)
        alone = sync_mailer.enqueue(made.email(row)).id
        ready, unwritten = await begun(store, [merged, alone])
        assert unwritten == []
        one, another = (replace(job.message, message_id="", date=0) for job in ready)
        assert one == another
        assert one.subject == "Hello Jörg <&>"

    async def test_every_attempt_writes_the_same(self, sync_mailer, store):
        job_id = sync_mailer.enqueue_batch("news", letter(), people(1)).job_id(0)
        ((first,), _) = await begun(store, [job_id])
        store.lease_is_over(job_id)
        ((second,), _) = await begun(store, [job_id])
        assert first.lease != second.lease
        assert first.message == second.message

    async def test_a_name_that_is_taken_again_has_the_new_letter_and_other_ids(
        self, sync_mailer, store
    ):
        """Message-IDs too: mail programs show only one message of those that share one."""
        letters = Letters(Batches(store.keys), store.runner)
        messages = []
        for text in ("Old\n", "New\n"):
            receipt = sync_mailer.enqueue_batch("news", letter(text=text), people(1))
            job_id = receipt.job_id(0)
            jobs = await store.run(store.agenda.begin([job_id], "w1", 60))
            (job,), _ = await letters.written(jobs)
            messages.append(job.message)
            await store.run(store.agenda.finish([store.result(job)]))
            await store.run(store.agenda.retire(JobState.SENT, store.now_ms(), [job_id]))
            await asyncio.sleep(1.0 - store.now_ms() % 1000 / 1000)  # the next second
        assert [message.text for message in messages] == ["Old\n", "New\n"]
        assert messages[0].message_id != messages[1].message_id

    async def test_a_letter_that_is_gone_fails_its_jobs_and_no_others(self, store, sync_mailer):
        receipt = sync_mailer.enqueue_batch("news", letter(), people(2))
        store.raw.hdel(store.keys.batch("news"), "letter", "digest")
        (other,) = await store.enqueued()
        ids = [*(receipt.job_id(i) for i in range(2)), other]
        ready, unwritten = await begun(store, ids)
        assert [job.lease.job_id for job in ready] == [other]
        assert [type(reason) for _, reason in unwritten] == [BatchNotFound] * 2


async def test_a_recipient_takes_little_memory(own_store):
    """All that it adds to Redis counts: keys, the agenda and the indexes as well."""
    store, number = own_store, 5000
    url = "redis://127.0.0.1:{port}/{db}".format(**store.raw.get_connection_kwargs())

    def used() -> int:
        return store.raw.info("memory")["used_memory"]

    with Mailer(redis_url=url) as mailer:
        mailer.enqueue_batch("warm", letter(), people(100))
        before = used()
        many = letter(text="Dear {{ name }},\n" * 1000, headers={"X-For": "{{ token }}"})
        rows = ({**row, "token": f"{i:012}"} for i, row in enumerate(people(number)))
        mailer.enqueue_batch("news", many, rows)
        each = (used() - before) / number
    is_valkey = "valkey_version" in store.raw.info("server")
    assert 100 < each <= (MOST_BYTES if is_valkey else MOST_BYTES_REDIS)


async def test_a_chunk_whose_rows_are_all_refused(mailer):
    rows = [*people(100), *({"to": "nobody"} for _ in range(100)), *people(5, 100)]
    for known in (0, 105):
        told = []
        receipt = await mailer.enqueue_batch(
            "news", letter(), rows, on_mistake=lambda row, _, told=told: told.append(row)
        )
        assert (receipt.rows, receipt.created, receipt.known) == (205, 105 - known, known)
        assert told == list(range(100, 200))
    assert (await mailer.batch("news")).rows == 205
