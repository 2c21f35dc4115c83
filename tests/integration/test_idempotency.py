"""One key is one email, whoever asks: threads, event loops, processes; and for a stated time."""

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from either import Either

from mailer import AsyncMailer, Email, IdempotencyConflict, JobState, Mailer, Receipt, load_settings
from mailer.store.keys import Keys
from mailer.testing import eventually

AT_ONCE = 200
PRODUCER = """
import asyncio, json, sys
from mailer import AsyncMailer, Email

async def produce():
    async with AsyncMailer() as mailer:
        await mailer.counts()
        print("ready", flush=True)
        sys.stdin.readline()
        email = Email(from_email="a@example.com", to="ann@example.org", idempotency_key="k")
        receipts = await asyncio.gather(*(mailer.enqueue(email) for _ in range(50)))
        print(json.dumps([[receipt.id, receipt.created] for receipt in receipts]))

asyncio.run(produce())
"""


def email(**fields) -> Email:
    fields = {"from_email": "a@example.com", "to": "ann@example.org"} | fields
    return Email(**{"idempotency_key": "k"} | fields)


@pytest.fixture
def environment(redis_server, key_prefix, monkeypatch) -> None:
    monkeypatch.setenv("MAILER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("MAILER_KEY_PREFIX", key_prefix)


@pytest.fixture
def mailer(environment):
    with Mailer(settings=load_settings()) as mailer:
        yield mailer


def assert_one_job(mailer: Mailer, receipts: list[Receipt]) -> None:
    assert len(receipts) == AT_ONCE
    assert len({(receipt.id, receipt.message_id) for receipt in receipts}) == 1
    assert [receipt.created for receipt in receipts].count(True) == 1
    assert mailer.counts()[JobState.QUEUED] == sum(mailer.counts().values()) == 1


def test_200_threads_at_once_enqueue_one_job(mailer):
    start = threading.Barrier(AT_ONCE)

    def enqueue(_: int) -> Receipt:
        start.wait()
        return mailer.enqueue(email())

    with ThreadPoolExecutor(AT_ONCE) as threads:
        receipts = list(threads.map(enqueue, range(AT_ONCE)))
    assert_one_job(mailer, receipts)


async def test_200_calls_at_once_of_one_event_loop_enqueue_one_job(mailer):
    async with AsyncMailer(settings=load_settings()) as each:
        receipts = await asyncio.gather(*(each.enqueue(email()) for _ in range(AT_ONCE)))
    assert_one_job(mailer, receipts)


def test_four_processes_at_once_with_50_calls_each_enqueue_one_job(mailer):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    producers = [subprocess.Popen([sys.executable, "-c", PRODUCER], **pipes) for _ in range(4)]
    try:
        assert [producer.stdout.readline() for producer in producers] == ["ready\n"] * 4
        for producer in producers:
            producer.stdin.write("go\n")
            producer.stdin.flush()
        found = [pair for producer in producers for pair in json.loads(producer.communicate()[0])]
    finally:
        for producer in producers:
            producer.kill()
            producer.wait()
    message_id = mailer.get(found[0][0]).message_id
    assert_one_job(mailer, [Receipt(job_id, message_id, created) for job_id, created in found])


def test_200_chunks_at_once_that_share_a_key_store_it_once(mailer):
    """And of the other emails of each chunk, every one."""
    with ThreadPoolExecutor(50) as threads:
        calls = threads.map(
            lambda i: mailer.enqueue_many([email(), email(idempotency_key=f"own-{i}")]), range(200)
        )
        shared, own = zip(*calls, strict=True)
    assert [receipt.created for receipt in shared].count(True) == 1
    assert all(receipt.created for receipt in own)
    assert mailer.counts()[JobState.QUEUED] == 201


def test_of_two_emails_that_race_for_a_key_one_wins_and_the_other_conflicts(mailer):
    def enqueue(i: int) -> str:
        try:
            return mailer.enqueue(email(subject=f"subject {i % 2}")).id
        except IdempotencyConflict:
            return "conflict"

    with ThreadPoolExecutor(50) as threads:
        outcomes = list(threads.map(enqueue, range(AT_ONCE)))
    assert outcomes.count("conflict") == AT_ONCE // 2
    assert len(set(outcomes)) == 2
    assert sum(mailer.counts().values()) == 1


@pytest.mark.parametrize("kind", [Mailer, AsyncMailer])
async def test_a_key_is_kept_for_a_day_or_for_as_long_as_is_set(
    kind, environment, redis_server, key_prefix, monkeypatch
):
    once = Keys(key_prefix).once
    with redis.Redis.from_url(redis_server.url) as raw:
        mailer = Either(kind(settings=load_settings()))
        await mailer.enqueue(email(idempotency_key="for a day"))
        assert 24 * 3600 - 60 < raw.ttl(once("for a day")) <= 24 * 3600
        await mailer.close()
        monkeypatch.setenv("MAILER_IDEMPOTENCY_SECONDS", "1")
        mailer = Either(kind(settings=load_settings()))
        first, again = [await mailer.enqueue(email()) for _ in range(2)]
        assert (first.created, again.created) == (True, False)
        eventually(lambda: not raw.exists(once("k")))
        later = await mailer.enqueue(email(subject="other content, for the key is free"))
        assert later.created
        assert later.id != first.id
        await mailer.close()


def test_the_way_of_delivery_is_part_of_the_content(mailer):
    mailer.enqueue(email())
    with pytest.raises(IdempotencyConflict):
        mailer.enqueue(email(delivery="at-most-once"))
    assert not mailer.enqueue(email(priority="high")).created
