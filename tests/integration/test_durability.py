"""`durable`: enqueueing returns once the email would outlive the Redis server."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from mailer import AsyncMailer, Email, InvalidSetting, JobState, Mailer, NotDurable, load_settings
from mailer.testing import EmbeddedRedis, eventually
from mailer.testing.redis import find_redis_server

AT_ONCE = {"repl-diskless-sync-delay": "0"}  # a replica gets its copy
EMAIL = Email(from_email="a@example.com", to="b@example.org")


@pytest.fixture(params=[Mailer, AsyncMailer])
def kind(request):
    return request.param


def enqueue(kind, server: EmbeddedRedis, emails: int = 1, durable=None, always=False, **settings):
    """Enqueue by a mailer of its own; returns the receipts."""

    async def by_either():
        loaded = load_settings(redis_url=server.url, durable=always, **settings)
        mailer = kind(settings=loaded)
        try:
            many = mailer.enqueue_many([EMAIL] * emails, durable=durable)
            return await many if inspect.isawaitable(many) else many
        finally:
            if inspect.isawaitable(closed := mailer.close()):
                await closed

    return asyncio.run(by_either())


def knows_waitaof() -> bool:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as raw:
        return b"waitaof" in raw.command_list()


KNOWS_WAITAOF = knows_waitaof()
with_waitaof = pytest.mark.skipif(
    not KNOWS_WAITAOF, reason=f"{find_redis_server()} has no WAITAOF (Redis 7.2, Valkey)"
)


@with_waitaof
@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
def test_it_is_on_disk(kind, appendfsync):
    with EmbeddedRedis(appendonly=True, appendfsync=appendfsync) as server:
        receipts = enqueue(kind, server, 150, durable=True)
        server.kill()
        server.start()
        with Mailer(server.url) as mailer:
            assert mailer.counts()[JobState.QUEUED] == 150
            assert mailer.get(receipts[-1].id).state is JobState.QUEUED


def test_the_setting_says_so_for_all_and_a_call_for_itself(kind):
    with EmbeddedRedis() as server:
        with pytest.raises(NotDurable):
            enqueue(kind, server, always=True, durable_replicas=1)
        assert enqueue(kind, server, durable=False, always=True, durable_replicas=1)


@with_waitaof
def test_what_redis_never_syncs_is_stored_and_said_not_to_be_durable(kind):
    with EmbeddedRedis(appendonly=True, appendfsync="no") as server:
        with pytest.raises(NotDurable, match="appendfsync") as doubtful:
            enqueue(kind, server, 3, durable=True, store_timeout_seconds=0.5)
        with Mailer(server.url) as mailer:
            assert mailer.counts()[JobState.QUEUED] == 3
            assert len(doubtful.value.receipts) == 3
            assert mailer.get(doubtful.value.receipts[0].id).state is JobState.QUEUED


def test_a_server_that_can_not_is_told_of_and_nothing_stored(kind):
    wanted = "appendonly yes" if KNOWS_WAITAOF else "Redis 7.2"
    with EmbeddedRedis() as server:
        with pytest.raises(InvalidSetting, match=wanted):
            enqueue(kind, server, durable=True)
        with Mailer(server.url) as mailer:
            assert mailer.counts()[JobState.QUEUED] == 0


@contextmanager
def replica_of(server: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    options = {"replicaof": f"127.0.0.1 {server.port}"}
    with EmbeddedRedis(options=options) as replica, redis.Redis.from_url(replica.url) as raw:
        eventually(lambda: raw.info("replication")["master_link_status"] == "up")
        yield replica


def test_it_is_on_a_replica(kind):
    with EmbeddedRedis(options=AT_ONCE) as server, replica_of(server) as replica:
        (receipt,) = enqueue(kind, server, durable=True, durable_replicas=1)
        server.kill()
        with Mailer(replica.url) as mailer:
            assert mailer.get(receipt.id).state is JobState.QUEUED


def test_too_few_replicas_are_told_of_and_nothing_stored(kind):
    with EmbeddedRedis() as server:
        with pytest.raises(NotDurable, match="has 0 replicas, and MAILER_DURABLE_REPLICAS is 1"):
            enqueue(kind, server, durable=True, durable_replicas=1)
        with Mailer(server.url) as mailer:
            assert mailer.counts()[JobState.QUEUED] == 0


def test_a_replica_that_does_not_answer_leaves_it_in_doubt(kind):
    with EmbeddedRedis(options=AT_ONCE) as server, replica_of(server) as replica:
        replica.pause()
        try:
            with pytest.raises(NotDurable, match="on 0 replicas") as doubtful:
                enqueue(kind, server, durable=True, durable_replicas=1, store_timeout_seconds=0.5)
        finally:
            replica.resume()
        with Mailer(server.url) as mailer:
            assert mailer.get(doubtful.value.receipts[0].id).state is JobState.QUEUED
