"""Enqueueing refuses what would be too much, rather than let Redis fall over."""

import pytest
import redis

from mailer import Email, Mailer, QueueFull, load_settings
from mailer.job import JobState
from mailer.store.jobs import Capacity, Jobs
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


def email(**fields) -> Email:
    return Email(from_email="a@example.com", to="b@example.org", **fields)


def test_memory_is_left_to_the_workers():
    with EmbeddedRedis(options={"maxmemory": "20mb"}) as server, mailer_of(server) as mailer:
        stored = 0
        with pytest.raises(QueueFull, match="MAILER_MAX_MEMORY_SHARE") as refused:
            mailer.enqueue_many(email(text="x" * 20_000) for _ in range(2000))
        stored = len(refused.value.receipts)
        with redis.Redis.from_url(server.url) as raw:
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
