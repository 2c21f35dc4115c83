"""`Mailer` and `AsyncMailer` against a real server: the same promises for both."""

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from either import Either

from mailer import (
    AsyncMailer,
    Attachment,
    AttachmentUnavailable,
    Email,
    IdempotencyConflict,
    InvalidArgument,
    InvalidEmail,
    InvalidSetting,
    JobNotFound,
    JobState,
    Mailer,
    QueueFull,
    RecipientState,
    StoreUnavailable,
    WaitTimeout,
    WrongState,
    load_settings,
)
from mailer.store.agenda import Agenda
from mailer.store.keys import Keys
from mailer.store.runners import SyncRunner
from mailer.testing import EmbeddedRedis

STATED = 0.5  # seconds: the store timeout where the server doesn't answer


def email(**fields) -> Email:
    return Email(**({"from_email": "shop@example.com", "to": "jm@example.org"} | fields))


@pytest.fixture
def settings(redis_server, key_prefix, tmp_path):
    return load_settings(
        redis_url=redis_server.url, key_prefix=key_prefix, attachment_roots=[tmp_path]
    )


@pytest.fixture(params=[Mailer, AsyncMailer])
def kind(request):
    return request.param


@pytest.fixture
async def mailer(kind, settings) -> AsyncIterator[Either]:
    either = Either(kind(settings=settings))
    yield either
    await either.close()


@pytest.fixture
def delivers(settings) -> Iterator:
    """Play the worker: what was enqueued ends in a state of choice."""
    runner = SyncRunner.connect(settings.redis_url.get_secret_value(), 5)
    agenda = Agenda(Keys(settings.key_prefix))

    def deliver(job_id: str, state: JobState, *recipients: RecipientState) -> None:
        from mailer.job import Attempt, Decision, Recipient
        from mailer.store.agenda import ENDED, Result
        from mailer.store.records import at

        (begun,) = runner.run(agenda.begin([job_id], "w1", 60))
        people = tuple(
            Recipient(r.address, s, "said so")
            for r, s in zip(begun.recipients, recipients, strict=True)
        )
        attempt = Attempt(n=1, started_at=at(begun.begun_ms), decision=Decision.FAIL)
        (done,) = runner.run(agenda.finish([Result(begun.lease, state, ENDED, 1, people, attempt)]))
        assert done

    deliver.begin = lambda job_id: runner.run(agenda.begin([job_id], "w1", 60))
    yield deliver
    runner.close()


@pytest.fixture
def own_server() -> Iterator[EmbeddedRedis]:
    """A server to be stopped and frozen; no other test uses it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def impatient(kind, own_server) -> AsyncIterator[Either]:
    """A mailer of that server, with a connection at hand."""
    settings = load_settings(redis_url=own_server.url, store_timeout_seconds=STATED)
    either = Either(kind(settings=settings))
    await either.counts()
    yield either
    await either.close()


class TestJobs:
    async def test_an_enqueued_email_is_found_under_its_id(self, mailer):
        receipt = await mailer.enqueue(email(subject="Your order ✓", bcc="b@example.org"))
        job = await mailer.get(receipt.id)
        assert receipt.created
        assert (job.id, job.message_id) == (receipt.id, receipt.message_id)
        assert job.state is JobState.QUEUED
        assert job.subject == "Your order ✓"
        assert [r.address for r in job.recipients] == ["jm@example.org", "b@example.org"]

    async def test_an_unknown_id_is_job_not_found(self, mailer):
        for call in (mailer.get, mailer.wait, mailer.cancel, mailer.retry):
            with pytest.raises(JobNotFound, match="nosuch"):
                await call("nosuch")
        with pytest.raises(JobNotFound):
            await mailer.reschedule("nosuch", datetime.now(UTC))

    async def test_the_same_key_gives_the_same_receipt(self, mailer):
        first = await mailer.enqueue(email(idempotency_key="order-42"))
        again = await mailer.enqueue(email(idempotency_key="order-42"))
        assert (again.id, again.message_id, again.created) == (first.id, first.message_id, False)
        with pytest.raises(IdempotencyConflict, match="order-42"):
            await mailer.enqueue(email(idempotency_key="order-42", subject="another"))

    async def test_200_at_once_under_one_key_are_one_job(self, mailer):
        """As a web app's many requests do; more calls than there are connections."""
        calls = [mailer.enqueue(email(idempotency_key="k")) for _ in range(200)]
        receipts = await asyncio.gather(*calls)
        assert len({r.id for r in receipts}) == 1
        assert sum(r.created for r in receipts) == 1

    async def test_far_future_times_can_be_read_back(self, mailer):
        forever = datetime.max.replace(tzinfo=UTC)
        receipt = await mailer.enqueue(email(scheduled_at=forever - timedelta(days=1)))
        other = await mailer.enqueue(email(expires_at=forever))
        await mailer.reschedule(receipt.id, forever)
        assert (await mailer.get(receipt.id)).next_attempt_at.year == 9999
        assert (await mailer.get(other.id)).expires_at.year == 9999
        assert len(await mailer.list()) == 2

    async def test_what_expired_before_1970_is_expired(self, mailer):
        with pytest.raises(InvalidEmail, match="expires_at"):
            await mailer.enqueue(email(expires_at=datetime(1969, 7, 20, tzinfo=UTC)))

    async def test_canceled_or_too_late(self, mailer, delivers):
        waits, runs = [await mailer.enqueue(email()) for _ in range(2)]
        delivers.begin(runs.id)
        assert await mailer.cancel(waits.id) is True
        assert await mailer.cancel(waits.id) is True
        assert await mailer.cancel(runs.id) is False
        assert (await mailer.get(waits.id)).state is JobState.CANCELED

    async def test_rescheduling_needs_a_time_zone_and_a_job_that_waits(self, mailer, delivers):
        receipt = await mailer.enqueue(email())
        with pytest.raises(InvalidArgument, match="at: is a datetime with its zone"):
            await mailer.reschedule(receipt.id, datetime(2030, 1, 1))  # noqa: DTZ001
        when = datetime(2035, 1, 1, tzinfo=UTC)
        await mailer.reschedule(receipt.id, when)
        job = await mailer.get(receipt.id)
        assert (job.state, job.next_attempt_at) == (JobState.SCHEDULED, when)
        await mailer.reschedule(receipt.id, datetime(2000, 1, 1, tzinfo=UTC))
        delivers.begin(receipt.id)
        with pytest.raises(WrongState, match="sending"):
            await mailer.reschedule(receipt.id, when)

    async def test_a_time_at_which_it_would_have_expired_is_refused(self, mailer):
        soon = datetime.now(UTC) + timedelta(hours=1)
        receipt = await mailer.enqueue(email(expires_at=soon))
        with pytest.raises(InvalidArgument, match="at: is not before the email's expires_at"):
            await mailer.reschedule(receipt.id, soon)
        assert (await mailer.get(receipt.id)).state is JobState.QUEUED
        await mailer.reschedule(receipt.id, soon - timedelta(minutes=1))
        assert (await mailer.get(receipt.id)).state is JobState.SCHEDULED

    @pytest.mark.parametrize("limit", [0, -1, 1.5, 2**70, "5", True])
    async def test_a_limit_that_is_none_is_refused(self, mailer, limit):
        with pytest.raises(InvalidArgument, match="limit: is a whole number"):
            await mailer.list(limit=limit)

    async def test_listing_by_state_and_in_all(self, mailer):
        receipts = []
        for _ in range(3):
            receipts.append(await mailer.enqueue(email()))
            await asyncio.sleep(0.002)
        await mailer.cancel(receipts[0].id)
        assert [j.id for j in await mailer.list("queued")] == [receipts[2].id, receipts[1].id]
        assert [j.id for j in await mailer.list(JobState.QUEUED, limit=1)] == [receipts[2].id]
        assert [j.id for j in await mailer.list()] == [receipts[i].id for i in (0, 2, 1)]
        assert await mailer.list("failed") == []

    async def test_counts_name_every_state(self, mailer):
        await mailer.enqueue_many(email() for _ in range(3))
        counts = await mailer.counts()
        assert set(counts) == set(JobState)
        assert counts[JobState.QUEUED] == 3
        assert sum(counts.values()) == 3


async def test_receipts_are_handed_on_chunk_by_chunk_and_none_is_kept(mailer):
    chunks = []
    emails = (email(subject=f"{i}") for i in range(250))
    assert await mailer.enqueue_many(emails, on_recorded=chunks.append) == []
    assert [len(chunk) for chunk in chunks] == [100, 100, 50]
    assert (await mailer.get(chunks[2][49].id)).subject == "249"


async def test_where_receipts_are_handed_on_a_mistake_is_named_by_its_place_all_the_same(mailer):
    chunks = []
    emails = [*(email() for _ in range(150)), email(priority="high", retry="nosuch")]
    with pytest.raises(InvalidEmail, match=r"emails\[150\]\.retry") as caught:
        await mailer.enqueue_many(emails, on_recorded=chunks.append)
    assert [len(chunk) for chunk in chunks] == [100, 50]
    assert list(caught.value.receipts) == []


class TestRetry:
    async def test_only_who_was_not_accepted_gets_another_try(self, mailer, delivers):
        receipt = await mailer.enqueue(email(to=["a@example.org", "b@example.org"]))
        accepted, refused = RecipientState.ACCEPTED, RecipientState.REFUSED
        delivers(receipt.id, JobState.PARTIALLY_SENT, accepted, refused)
        await mailer.retry(receipt.id)
        job = await mailer.get(receipt.id)
        assert job.state is JobState.QUEUED
        assert [r.state for r in job.recipients] == [accepted, RecipientState.PENDING]

    async def test_a_job_that_waits_is_due_now(self, mailer):
        receipt = await mailer.enqueue(email(scheduled_at=datetime.now(UTC) + timedelta(hours=1)))
        await mailer.retry(receipt.id)
        assert (await mailer.get(receipt.id)).state is JobState.QUEUED

    async def test_what_was_sent_is_not_sent_again(self, mailer, delivers):
        receipt = await mailer.enqueue(email())
        delivers(receipt.id, JobState.SENT, RecipientState.ACCEPTED)
        with pytest.raises(WrongState, match="nobody is left"):
            await mailer.retry(receipt.id)

    async def test_what_is_being_sent_is_not_sent_twice(self, mailer, delivers):
        receipt = await mailer.enqueue(email())
        delivers.begin(receipt.id)
        with pytest.raises(WrongState, match="sending"):
            await mailer.retry(receipt.id)

    async def test_a_canceled_job_can_be_had_back(self, mailer):
        receipt = await mailer.enqueue(email())
        await mailer.cancel(receipt.id)
        await mailer.retry(receipt.id)
        assert (await mailer.get(receipt.id)).state is JobState.QUEUED


class TestWait:
    async def test_an_ended_job_is_returned(self, mailer, delivers):
        receipt = await mailer.enqueue(email())
        waiting = asyncio.create_task(mailer.wait(receipt.id, timeout=10))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        delivers(receipt.id, JobState.FAILED, RecipientState.REFUSED)
        assert (await waiting).state is JobState.FAILED

    async def test_a_job_that_does_not_end_in_time_is_told_with_its_state(self, mailer):
        receipt = await mailer.enqueue(email())
        with pytest.raises(WaitTimeout, match="queued"):
            await mailer.wait(receipt.id, timeout=0.05)
        with pytest.raises(WaitTimeout):
            await mailer.wait(receipt.id, timeout=0)


class TestEnqueueMany:
    async def test_receipts_in_order_over_many_chunks(self, mailer):
        receipts = await mailer.enqueue_many(email(subject=str(i)) for i in range(250))
        assert len({r.id for r in receipts}) == 250
        for i in (0, 99, 100, 249):
            assert (await mailer.get(receipts[i].id)).subject == str(i)

    async def test_none_at_all(self, mailer):
        assert await mailer.enqueue_many([]) == []

    async def test_a_stream_is_not_read_far_ahead(self, mailer):
        """Of a million emails, only two chunks are in memory."""
        made, most_ahead = 0, 0
        stored = Mailer(settings=mailer.mailer._calls._settings)

        def stream():
            nonlocal made, most_ahead
            for made in range(1, 1001):
                if made % 50 == 0:
                    ahead = made - stored.counts()[JobState.QUEUED]
                    most_ahead = max(most_ahead, ahead)
                yield email()

        assert len(await mailer.enqueue_many(stream())) == 1000
        assert most_ahead <= 201
        stored.close()

    async def test_large_attachments_are_uploaded_as_they_come(self, mailer, settings):
        """No more than some 32 MB of them are held, however many emails there are."""
        stored_before = []

        def emails():
            with Mailer(settings=settings) as other:
                for i in range(24):
                    stored_before.append(other.counts()[JobState.QUEUED])
                    content = i.to_bytes(4) * 1024 * 1024
                    yield email(attachments=[Attachment.from_bytes(content, filename="a")])

        assert len(await mailer.enqueue_many(emails())) == 24
        ahead = [made - stored for made, stored in enumerate(stored_before)]
        assert max(ahead) < 8

    async def test_large_bodies_make_smaller_chunks(self, mailer):
        read = 0

        def stream():
            nonlocal read
            for read in range(1, 6):
                if read == 4:
                    raise RuntimeError("the stream broke")
                yield email(text="x" * 600_000)

        with pytest.raises(RuntimeError, match="the stream broke"):
            await mailer.enqueue_many(stream())
        assert (await mailer.counts())[JobState.QUEUED] == 2

    async def test_a_bad_email_is_named_and_those_before_it_are_stored(self, mailer, tmp_path):
        def stream():
            for i in range(300):
                bad = [Attachment.from_path(tmp_path / "missing.pdf")] if i == 150 else []
                yield email(attachments=bad)

        with pytest.raises(InvalidEmail, match=r"missing\.pdf does not exist") as raised:
            await mailer.enqueue_many(stream())
        assert raised.value.field == "emails[150].attachments[0]"
        assert len(raised.value.receipts) == 150
        assert (await mailer.counts())[JobState.QUEUED] == 150

    @pytest.mark.parametrize(
        ("wrong", "error", "field"),
        [
            ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, InvalidEmail, "expires_at"),
            ({"idempotency_key": "k", "text": "x"}, IdempotencyConflict, "idempotency_key"),
        ],
    )
    async def test_what_only_redis_can_refuse_is_named_with_the_receipts_of_the_stored(
        self, mailer, wrong, error, field
    ):
        known = await mailer.enqueue(email(idempotency_key="k"))
        emails = [email() for _ in range(150)]
        emails[120] = email(**wrong)
        with pytest.raises(error, match=rf"^emails\[120\]\.{field}: ") as raised:
            await mailer.enqueue_many(emails)
        receipts = raised.value.receipts
        assert len(receipts) == 100, "the chunk of the refused one is not stored"
        stored = {job.id for job in await mailer.list(limit=200)}
        assert stored == {known.id, *(receipt.id for receipt in receipts)}

    async def test_the_receipts_of_the_stored_come_with_any_error(self, impatient, own_server):
        def stream():
            for i in range(350):
                if i == 250:  # the first hundred are known to be stored; of the second, who knows
                    own_server.kill()
                yield email()

        with pytest.raises(StoreUnavailable) as raised:
            await impatient.enqueue_many(stream())
        assert len(raised.value.receipts) in {100, 200}

    async def test_an_email_that_a_stream_fails_to_make_is_named(self, mailer):
        with pytest.raises(InvalidEmail, match=r"emails\[1\]\.to: ") as raised:
            await mailer.enqueue_many(email(to=to) for to in ("a@example.org", "nobody"))
        assert len(raised.value.receipts) == 1

    async def test_what_is_no_email_is_named(self, mailer):
        with pytest.raises(InvalidEmail, match="email: is an Email, not dict"):
            await mailer.enqueue_many([{"to": "x"}])
        with pytest.raises(InvalidEmail, match="email: is an Email, not str"):
            await mailer.enqueue("x")


class TestWhatEnqueueRefuses:
    """Each names the field, and nothing is stored."""

    @pytest.fixture(autouse=True)
    async def nothing_is_stored(self, mailer, key_prefix, redis_server):
        import redis

        yield
        with redis.Redis.from_url(redis_server.url) as raw:
            assert list(raw.scan_iter(match=f"{{{key_prefix}}}*")) == []

    async def test_a_file_outside_the_allowed_roots(self, mailer):
        with pytest.raises(InvalidEmail, match=r"attachments\[1\].*MAILER_ATTACHMENT_ROOTS"):
            await mailer.enqueue(
                email(
                    attachments=[
                        Attachment.from_bytes(b"x", filename="x"),
                        Attachment.from_path("/etc/passwd"),
                    ]
                )
            )

    async def test_a_missing_file(self, mailer, tmp_path):
        with pytest.raises(InvalidEmail, match=r"attachments\[0\].*does not exist"):
            await mailer.enqueue(email(attachments=[Attachment.from_path(tmp_path / "no.pdf")]))

    async def test_too_many_recipients(self, mailer):
        many = [f"a{i}@example.org" for i in range(1001)]
        with pytest.raises(InvalidEmail, match=r"to: 1001 recipients.*MAILER_MAX_RECIPIENTS"):
            await mailer.enqueue(email(to=many))

    async def test_too_many_bytes(self, kind, settings):
        small = settings.model_copy(update={"max_attachment_bytes": 10})
        mailer = Either(kind(settings=small))
        two = [Attachment.from_bytes(b"x" * 6, filename=f"{i}") for i in range(2)]
        with pytest.raises(InvalidEmail, match=r"attachments\[1\].*MAILER_MAX_ATTACHMENT_BYTES"):
            await mailer.enqueue(email(attachments=two))
        await mailer.close()

    async def test_what_has_expired(self, mailer):
        past = datetime.now(UTC) - timedelta(seconds=1)
        with pytest.raises(InvalidEmail, match="expires_at: is in the past"):
            await mailer.enqueue(email(expires_at=past, idempotency_key="k"))


async def test_a_file_is_pinned_to_what_the_producer_saw(mailer, tmp_path: Path, settings):
    (tmp_path / "a.txt").write_text("first")
    key = {"idempotency_key": "k"}
    attached = [Attachment.from_path(tmp_path / "a.txt")]
    await mailer.enqueue(email(attachments=attached, **key))
    (tmp_path / "a.txt").write_text("second")
    with pytest.raises(IdempotencyConflict):
        await mailer.enqueue(email(attachments=attached, **key))


class TestServerTroubles:
    async def test_a_server_that_is_down_is_told_at_once(self, impatient, own_server):
        own_server.stop()
        started = time.monotonic()
        for call in (impatient.counts, lambda: impatient.enqueue(email())):
            with pytest.raises(StoreUnavailable, match="MAILER_REDIS_URL"):
                await call()
        assert time.monotonic() - started < STATED

    async def test_a_frozen_server_is_given_up_within_the_stated_time(self, impatient, own_server):
        own_server.pause()
        for call in (
            lambda: impatient.enqueue(email()),
            impatient.counts,
            lambda: impatient.get("x"),
        ):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match=f"within {STATED:g} s"):
                await call()
            assert time.monotonic() - started < 1.6 * STATED
        own_server.resume()

    async def test_a_server_frozen_from_the_start_likewise(self, kind, own_server):
        own_server.pause()
        settings = load_settings(redis_url=own_server.url, store_timeout_seconds=STATED)
        mailer = Either(kind(settings=settings))
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await mailer.counts()
        assert time.monotonic() - started < 1.6 * STATED
        own_server.resume()
        await mailer.close()

    async def test_after_a_freeze_every_answer_belongs_to_its_question(self, impatient, own_server):
        ids = {s: (await impatient.enqueue(email(subject=s))).id for s in "ab"}
        own_server.pause()
        for subject in "ab":
            with pytest.raises(StoreUnavailable):
                await impatient.get(ids[subject])
        own_server.resume()
        for subject in "ba":
            assert (await impatient.get(ids[subject])).subject == subject

    async def test_after_a_restart_the_next_call_works(self, impatient, own_server):
        """Pooled connections are dead by then, and replaced without a word."""
        await asyncio.gather(*(impatient.counts() for _ in range(10)))
        own_server.stop()
        own_server.restart()
        await asyncio.gather(*(impatient.counts() for _ in range(10)))
        own_server.stop()
        own_server.restart()
        assert (await impatient.enqueue(email())).created

    async def test_enqueueing_goes_on_while_the_server_restarts(self, impatient, own_server):
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await impatient.enqueue(email(idempotency_key="k"))
        own_server.restart()
        assert (await impatient.enqueue(email(idempotency_key="k"))).created

    async def test_a_frozen_server_does_not_block_the_event_loop(self, own_server):
        settings = load_settings(redis_url=own_server.url, store_timeout_seconds=STATED)
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        async with AsyncMailer(settings=settings) as mailer:
            await mailer.counts()
            own_server.pause()
            ticking = asyncio.create_task(tick())
            with pytest.raises(StoreUnavailable):
                await mailer.enqueue(email())
            ticking.cancel()
            own_server.resume()
        assert ticks > 10

    async def test_a_caller_s_own_timeout_stays_the_caller_s(self, own_server):
        async with AsyncMailer(own_server.url) as mailer:
            receipt = await mailer.enqueue(email())
            own_server.pause()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await mailer.counts()
            own_server.resume()
            assert (await mailer.get(receipt.id)).id == receipt.id

    async def test_a_server_out_of_memory_refuses_in_a_sentence(self, impatient, own_server):
        import redis

        with redis.Redis.from_url(own_server.url) as raw:
            raw.config_set("maxmemory", 1)
            with pytest.raises(QueueFull, match="MAILER_MAX_MEMORY_SHARE"):
                await impatient.enqueue(email())
            raw.config_set("maxmemory", 0)
        assert (await impatient.counts())[JobState.QUEUED] == 0


class TestSecrets:
    PASSWORD = "canary-pass"

    @pytest.mark.parametrize(
        "url",
        [
            "redis://user:{}/x@127.0.0.1:6379/0",
            "redis://:{}#x@127.0.0.1/0",
            "redis://:{}?x@127.0.0.1/0",
            "http://user:{}@127.0.0.1",
            "redis://user:{}@127.0.0.1:99999",
            "redis://user:{}@[::1",
            "redis://user:{}@127.0.0.1/0?db=x",
            "redis://user:{}@127.0.0.1/0?nosuch=1",
            "redis://127.0.0.1/0?password={}&db=canary-pass",
        ],
    )
    async def test_a_malformed_url_is_refused_without_its_password(self, kind, url):
        with pytest.raises(InvalidSetting, match="MAILER_REDIS_URL") as caught:
            await Either(kind(url.format(self.PASSWORD))).counts()
        assert self.PASSWORD not in _all_of(caught.value)

    @pytest.mark.parametrize("port", [1, None])
    async def test_a_refused_connection_is_told_without_the_password(
        self, kind, port, redis_server
    ):
        port = port or redis_server.port
        mailer = Either(kind(f"redis://nobody:{self.PASSWORD}@127.0.0.1:{port}/0"))
        with pytest.raises(StoreUnavailable) as caught:
            await mailer.counts()
        await mailer.close()
        assert self.PASSWORD not in _all_of(caught.value) + repr(mailer.mailer)

    async def test_the_time_that_is_set_stands_above_the_url_s(self, kind, own_server):
        own_server.pause()
        url = own_server.url + "?socket_timeout=30&socket_connect_timeout=30"
        settings = load_settings(redis_url=url, store_timeout_seconds=0.2)
        mailer = Either(kind(settings=settings))
        with pytest.raises(StoreUnavailable, match=r"within 0\.2 s"):
            await mailer.counts()
        own_server.resume()
        await mailer.close()


def _all_of(error: BaseException) -> str:
    """All that a traceback would show of an error and of those that led to it."""
    import traceback

    return "".join(traceback.format_exception(error)) + repr(error)


async def test_files_are_read_beside_the_event_loop(settings, tmp_path, monkeypatch):
    import threading

    from mailer.attachments import pinning

    plain, threads = pinning.open_allowed, []

    def read(*args):
        threads.append(threading.get_ident())
        return plain(*args)

    monkeypatch.setattr(pinning, "open_allowed", read)
    (tmp_path / "a.txt").write_text("x")
    attached = email(attachments=[Attachment.from_path(tmp_path / "a.txt")])
    async with AsyncMailer(settings=settings) as mailer:
        await mailer.enqueue(attached)
        await mailer.enqueue_many([attached])
    assert len(threads) == 2
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("option", ["decode_responses=True", "retry_on_timeout=True"])
async def test_options_of_the_url_that_would_break_a_promise_count_for_nothing(
    kind, own_server, option
):
    settings = load_settings(redis_url=f"{own_server.url}?{option}", store_timeout_seconds=STATED)
    mailer = Either(kind(settings=settings))
    receipt = await mailer.enqueue(email())
    assert (await mailer.get(receipt.id)).id == receipt.id
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await mailer.get(receipt.id)
    assert time.monotonic() - began < 1.5 * STATED
    own_server.resume()
    await mailer.close()


async def test_a_message_is_shown_as_it_will_be_sent_until_it_was(mailer, delivers, tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 2000)
    written = email(
        subject="Grüße",
        text="Hallo ü\n",
        attachments=[
            Attachment.from_path(tmp_path / "a.bin"),
            Attachment.from_bytes(b"b" * 500_000, filename="b.bin"),
        ],
    )
    receipt = await mailer.enqueue(written)
    wire = await mailer.message(receipt.id)
    message = message_from_bytes(wire, policy=policy.default)
    assert message["Subject"] == "Grüße"
    assert message["Message-ID"] == receipt.message_id
    assert [part.get_content() for part in message.iter_attachments()] == [
        (tmp_path / "a.bin").read_bytes(),
        b"b" * 500_000,
    ]
    assert await mailer.message(receipt.id) == wire
    (tmp_path / "a.bin").write_bytes(b"changed")
    with pytest.raises(AttachmentUnavailable, match="has changed"):
        await mailer.message(receipt.id)
    delivers(receipt.id, JobState.SENT, RecipientState.ACCEPTED)
    with pytest.raises(WrongState, match="was sent"):
        await mailer.message(receipt.id)
    with pytest.raises(JobNotFound):
        await mailer.message("unknown")


async def test_a_preview_stores_nothing_and_needs_no_server(kind, tmp_path):
    settings = load_settings(redis_url="redis://127.0.0.1:1", attachment_hosts=["x.example"])
    either = Either(kind(settings=settings))
    at = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    wire = await either.preview(email(text="Hi", scheduled_at=at, bcc="secret@example.org"))
    assert b"\r\nDate: Sat, 02 Jan 2027 03:04:05 +0000\r\n" in wire
    assert b"secret" not in wire
    remote = Attachment.from_url("https://x.example/a.pdf")
    with pytest.raises(AttachmentUnavailable, match="yet to be fetched"):
        await either.preview(email(attachments=[remote]))
    prepared = await either.preview(
        Email.from_message(b"From: a@b.example\nTo: c@d.example\n\nx\n")
    )
    assert prepared.endswith(b"MIME-Version: 1.0\r\n\r\nx\r\n")
    await either.close()


async def test_a_check_raises_what_enqueue_would_and_needs_no_server(kind, tmp_path):
    settings = load_settings(redis_url="redis://127.0.0.1:1", attachment_roots=[tmp_path])
    either = Either(kind(settings=settings))
    assert await either.check(email(text="Hi")) is None
    with pytest.raises(InvalidEmail, match="MAILER_MAX_RECIPIENTS") as caught:
        await either.check(email(to=[f"{i}@example.org" for i in range(1001)]))
    assert caught.value.field == "to"
    with pytest.raises(InvalidEmail) as caught:
        await either.check(email(attachments=[Attachment.from_path(tmp_path / "none")]))
    assert caught.value.field == "attachments[0]"
    with pytest.raises(InvalidEmail, match="is an Email"):
        await either.check("Hi")
    await either.close()


def test_processes_that_were_forked_from_one_mailer_do_not_meet(settings):
    """As with servers that load the application before they fork: each gets its own replies."""
    script = """
        import os, sys
        from mailer import Email, Mailer, load_settings
        mailer = Mailer(settings=load_settings(redis_url=sys.argv[1], key_prefix=sys.argv[2]))
        mailer.counts()  # connects
        child = os.fork() == 0
        for i in range(300):
            to = f"{'child' if child else 'parent'}{i}@example.org"
            receipt = mailer.enqueue(Email(from_email="shop@example.com", to=to, text="Hi"))
            assert mailer.get(receipt.id).recipients[0].address == to
        if child:
            os._exit(0)
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    arguments = [settings.redis_url.get_secret_value(), settings.key_prefix]
    run = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    with Mailer(settings=settings) as mailer:
        assert mailer.counts()[JobState.QUEUED] == 600
