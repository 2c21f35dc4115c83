"""Enqueueing refuses what would be too much, rather than let Redis fall over."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from either import Either

from mailer import AsyncMailer, Attachment, Email, Mailer, QueueFull, load_settings
from mailer.job import JobState
from mailer.store.jobs import Jobs
from mailer.store.new_jobs import Capacity
from mailer.testing import EmbeddedRedis


def jobs(store, **capacity) -> Jobs:
    return Jobs(store.keys, idempotency_seconds=60, capacity=Capacity(**capacity))


async def test_a_backlog_takes_as_many_as_is_allowed(store):
    full = jobs(store, backlog=3)
    await store.run(full.enqueue([store.new_job(), store.new_job(priority="low")]))
    await store.run(full.enqueue([store.new_job(priority="high")]))
    before = store.everything()
    with pytest.raises(QueueFull, match="3 emails wait, of 3 that MAILER_MAX_BACKLOG allows"):
        await store.run(full.enqueue([store.new_job()]))
    assert store.everything() == before, "nothing was stored"


async def test_a_chunk_that_would_be_too_much_is_refused_whole(store):
    full = jobs(store, backlog=3)
    with pytest.raises(QueueFull):
        await store.run(full.enqueue([store.new_job() for _ in range(4)]))
    assert store.everything() == {}


async def test_what_has_ended_makes_room(store):
    full = jobs(store, backlog=1)
    await store.ended()
    await store.run(full.enqueue([store.new_job()]))


async def test_what_is_stored_already_may_be_said_again(store):
    full = jobs(store, backlog=2)
    pair = [store.new_job(), store.new_job(idempotency_key="k")]
    receipts = await store.run(full.enqueue(pair))
    assert await store.run(full.enqueue(pair)) == receipts
    (again,) = await store.run(full.enqueue([store.new_job(idempotency_key="k")]))
    assert (again.id, again.created) == (receipts[1].id, False)


def mailer_of(server: EmbeddedRedis, **settings) -> Mailer:
    return Mailer(settings=load_settings(redis_url=server.url, **settings))


def raw_of(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def email(**fields) -> Email:
    return Email(from_email="a@example.com", to="b@example.org", **fields)


def test_memory_is_left_to_the_workers():
    with EmbeddedRedis(options={"maxmemory": "20mb"}) as server, mailer_of(server) as mailer:
        stored = 0
        with pytest.raises(QueueFull, match="MAILER_MAX_MEMORY_SHARE") as refused:
            mailer.enqueue_many(email(text="x" * 20_000) for _ in range(2000))
        stored = len(refused.value.receipts)
        with raw_of(server) as raw:
            used = raw.info("memory")["used_memory"]
        assert 0.75 < used / (20 * 2**20) < 0.95
        assert stored > 100
        assert mailer.counts()[JobState.QUEUED] == stored, "the receipts tell what is stored"
        assert mailer.get(refused.value.receipts[-1].id).state is JobState.QUEUED


def test_redis_itself_may_refuse_first():
    with (
        EmbeddedRedis(options={"maxmemory": "1"}) as server,
        mailer_of(server, max_memory_share=0) as mailer,
    ):
        with pytest.raises(QueueFull, match=r"Redis is full \(maxmemory\)"):
            mailer.enqueue(email())
        assert set(mailer.counts().values()) == {0}


@pytest.fixture(params=[Mailer, AsyncMailer])
async def producer(request, redis_server, key_prefix, monkeypatch):
    """Make producers with the environment's settings; both kinds are awaited."""
    monkeypatch.setenv("MAILER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("MAILER_KEY_PREFIX", key_prefix)
    made = []

    def make(**variables: str) -> Either:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(Either(request.param(settings=load_settings())))
        return made[-1]

    yield make
    for mailer in made:
        await mailer.close()


async def test_a_backlog_that_is_set_holds_for_each_kind_of_producer(producer):
    mailer = producer(MAILER_MAX_BACKLOG="150")
    with pytest.raises(QueueFull, match="of 150 that MAILER_MAX_BACKLOG allows") as refused:
        await mailer.enqueue_many([email()] * 200)
    assert len(refused.value.receipts) == 100, "a chunk is stored whole or not at all"
    await mailer.enqueue_many([email()] * 50)
    with pytest.raises(QueueFull):
        await mailer.enqueue(email())
    await mailer.cancel(refused.value.receipts[0].id)
    assert (await mailer.enqueue(email())).created


async def test_a_share_of_memory_that_is_set_holds_for_each_kind_of_producer(producer):
    with EmbeddedRedis(options={"maxmemory": "20mb"}) as server, raw_of(server) as raw:
        mailer = producer(MAILER_REDIS_URL=server.url, MAILER_MAX_MEMORY_SHARE="0.5")
        await mailer.enqueue(email())
        raw.setrange("somebody else's", 10 * 2**20, "x")
        await until_refused(mailer)
        for _ in range(20):
            with pytest.raises(QueueFull, match=r"and 10 are allowed \(MAILER_MAX_MEMORY_SHARE\)"):
                await mailer.enqueue(email())
        raw.delete("somebody else's")
        assert (await mailer.enqueue(email())).created, "at once, when there is room again"


async def test_what_redis_uses_is_asked_ten_times_a_second_at_most(producer):
    """To ask costs half an enqueue; what is large is asked for all the same."""
    with EmbeddedRedis() as server, raw_of(server) as raw:
        mailer = producer(MAILER_REDIS_URL=server.url)
        await mailer.counts()

        def asked() -> int:
            return raw.info("commandstats")["cmdstat_info"]["calls"]

        raw.info()  # so that there are statistics of it
        before, begin = asked(), time.monotonic()
        for _ in range(300):
            await mailer.enqueue(email())
        assert asked() - before - 1 <= 1 + (time.monotonic() - begin) / 0.05
        before = asked()
        for i in range(10):
            await mailer.enqueue(email(text="x" * 65_536))
            attached = [Attachment.from_bytes(f"{i:20000}".encode(), filename="a.txt")]
            await mailer.enqueue(email(attachments=attached))
        assert asked() - before - 1 == 10 + 20, "before a large attachment is uploaded, and after"


async def test_one_producer_does_not_trust_what_another_with_more_memory_has_found(producer):
    with EmbeddedRedis(options={"maxmemory": "20mb"}) as server, raw_of(server) as raw:
        raw.setrange("somebody else's", 10 * 2**20, "x")
        much = producer(MAILER_REDIS_URL=server.url, MAILER_MAX_MEMORY_SHARE="0.9")
        little = producer(MAILER_MAX_MEMORY_SHARE="0.3")
        for _ in range(5):
            await much.enqueue(email())
            with pytest.raises(QueueFull):
                await little.enqueue(email())


def test_many_producers_at_once_leave_that_memory_too():
    """Though Redis is not asked before each of their small emails."""
    with EmbeddedRedis(options={"maxmemory": "40mb"}) as server, mailer_of(server) as mailer:

        def flood(_: int) -> str:
            try:
                while True:
                    mailer.enqueue(email(text="x" * 8000))
            except QueueFull as full:
                return str(full)

        with ThreadPoolExecutor(8) as threads:
            reasons = threads.map(flood, range(8))
            assert all("MAILER_MAX_MEMORY_SHARE" in reason for reason in reasons)
        with raw_of(server) as raw:
            assert 0.75 < raw.info("memory")["used_memory"] / (40 * 2**20) < 0.95


async def until_refused(mailer) -> None:
    """Enqueue until it is found that there is no room: within a tenth of a second."""
    begin = time.monotonic()
    while time.monotonic() < begin + 10:
        try:
            await mailer.enqueue(email())
        except QueueFull:
            return
    raise AssertionError("never refused")
