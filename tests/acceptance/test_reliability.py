"""What crashes, stops and competition do to emails: none is lost, and few are sent twice."""

import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis

from mailer import Attachment, JobState, Priority, StoreUnavailable
from mailer.testing import EmbeddedRedis, Fault, eventually, hang, slow

CONNECTIONS = 20


def accepted(smtp) -> Counter[str]:
    """How often the server accepted each Message-ID."""
    return Counter(message.message_id for message in smtp.received)


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_loses_nothing(system, smtp):
    """2,000 emails, and ten times SIGKILL of the only worker under load."""
    smtp.faults.append(slow(0.02))
    receipts = system.mailer.enqueue_many(system.email() for _ in range(2000))
    worker = system.worker(MAILER_CONNECTIONS=str(CONNECTIONS))
    for _ in range(10):
        before = smtp.state.count
        worker.start()
        eventually(lambda before=before: smtp.state.count >= before + 25)
        worker.kill()
    assert system.mailer.counts()[JobState.SENT] < 2000, "the load lasted through all kills"
    with worker:
        eventually(lambda: system.mailer.counts()[JobState.SENT] == 2000, timeout=60)
    copies = accepted(smtp)
    assert set(copies) == {receipt.message_id for receipt in receipts}, "none lost, none invented"
    assert copies.total() - len(copies) <= 10 * CONNECTIONS
    taken_over = [
        job
        for job in system.mailer.list(limit=2000)
        if any(attempt.decision == "interrupted" for attempt in job.attempts)
    ]
    doubled = {message_id for message_id, count in copies.items() if count > 1}
    assert doubled <= {job.message_id for job in taken_over}, "each second copy is on record"


def test_a_stopped_worker_ends_what_is_in_flight_and_hands_back_the_rest(system, smtp):
    smtp.faults.append(slow(0.5))
    receipts = system.mailer.enqueue_many(system.email() for _ in range(200))
    worker = system.worker(
        MAILER_CONNECTIONS="10", MAILER_LEASE_SECONDS="60", MAILER_DISPATCH_TIMEOUT_SECONDS="60"
    ).start()
    eventually(lambda: smtp.state.count >= 10)
    begin = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begin < 10
    counts = system.mailer.counts()
    assert counts[JobState.SENDING] == 0
    assert counts[JobState.SENT] == smtp.state.count
    assert counts[JobState.QUEUED] == 200 - smtp.state.count
    smtp.faults.clear()
    with system.worker("w2"):  # at once: no lease and no dispatch timeout has to pass
        eventually(lambda: system.mailer.counts()[JobState.SENT] == 200, timeout=15)
    assert accepted(smtp) == Counter(receipt.message_id for receipt in receipts)


def test_a_stop_does_not_wait_for_a_relay_that_hangs(system, smtp):
    smtp.faults.append(hang("dot", times=1))
    worker = system.worker(MAILER_SHUTDOWN_SECONDS="0.5").start()
    job_id = system.enqueue()
    eventually(lambda: system.mailer.get(job_id).state is JobState.SENDING)
    assert worker.stop(timeout=15) == 0
    with system.worker("w2"):
        job = system.ended(job_id)
    assert job.state is JobState.SENT
    assert job.attempts[0].decision == "interrupted"


def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing(system, smtp):
    """Fencing: what it finds out when it wakes up is no longer its to record."""
    smtp.faults.append(slow(1.0))
    frozen = system.worker("w1").start()
    job_id = system.enqueue()
    eventually(lambda: system.mailer.get(job_id).state is JobState.SENDING)
    frozen.signal(signal.SIGSTOP)
    try:
        with system.worker("w2"):
            job = system.ended(job_id)
            frozen.signal(signal.SIGCONT)
            eventually(lambda: "lease lost" in frozen.log.read_text())
        assert job.attempts[-1].worker.startswith("w2")
        assert system.mailer.get(job_id) == job
    finally:
        frozen.signal(signal.SIGCONT)
        frozen.kill()


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
def test_a_worker_that_was_frozen_before_the_final_dot_never_says_it(system, smtp, delivery):
    """It looks at its lease again, once the server is ready for the message."""
    smtp.state.options.extensions = ("PIPELINING", "8BITMIME")
    smtp.faults.append(Fault("data", delay=0.5, times=1))
    frozen = system.worker("w1").start()
    job_id = system.enqueue(delivery=delivery)
    eventually(lambda: smtp.faults[0].happened)
    frozen.signal(signal.SIGSTOP)
    try:
        with system.worker("w2"):
            assert system.ended(job_id).state is JobState.SENT
            frozen.signal(signal.SIGCONT)
            eventually(lambda: "lease lost before sending" in frozen.tail(50))
            assert frozen.stop() == 0
    finally:
        frozen.signal(signal.SIGCONT) if frozen.running else None
    assert len(smtp.received) == 1


def test_workers_side_by_side_send_each_email_once(system, smtp):
    with system.worker("w1"), system.worker("w2"):
        receipts = system.mailer.enqueue_many(system.email() for _ in range(2000))
        eventually(lambda: system.mailer.counts()[JobState.SENT] == 2000, timeout=60)
    assert accepted(smtp) == Counter(receipt.message_id for receipt in receipts)
    workers = {job.attempts[0].worker for job in system.mailer.list(limit=2000)}
    assert len(workers) == 2, "both took part"


def test_a_long_transaction_keeps_its_lease(system, smtp):
    smtp.faults.append(slow(3.0))
    with system.worker("w1", MAILER_LEASE_SECONDS="1"), system.worker("w2"):
        job = system.ended(system.enqueue())
    assert [attempt.decision for attempt in job.attempts] == ["sent"]
    assert len(smtp.received) == 1


@pytest.mark.slow
def test_an_urgent_email_leaves_within_a_second_behind_a_backlog(system, smtp):
    """100,000 emails of low priority are due before it."""
    smtp.state.options.keep = False
    bulk = system.email(priority=Priority.LOW)
    system.mailer.enqueue_many(bulk for _ in range(100_000))
    with system.worker():
        eventually(lambda: smtp.state.count > 500)
        for _ in range(5):
            begin = time.monotonic()
            job = system.ended(system.enqueue(priority="high"))
            assert job.state is JobState.SENT
            assert time.monotonic() - begin < 1.0
    assert system.mailer.counts()[JobState.QUEUED] > 10_000, "the backlog was still there"


def test_results_survive_a_redis_that_is_away_while_they_come(system, smtp, tmp_path):
    """Redis is killed and started again between the final dot and the record."""
    smtp.faults.append(slow(1.0))
    with EmbeddedRedis(appendonly=True, appendfsync="always") as server:
        system.settings["MAILER_REDIS_URL"] = server.url
        system.redis = server
        with system.producer() as mailer, system.worker(MAILER_LEASE_SECONDS="30"):
            job_id = mailer.enqueue(system.email()).id
            eventually(lambda: mailer.get(job_id).state is JobState.SENDING)
            server.kill()
            smtp.wait_for(1)
            server.restart()
            job = mailer.wait(job_id, timeout=15)
            assert job.state is JobState.SENT
            assert len(smtp.received) == 1
            # and the worker goes on as before, without much ado
            assert "Traceback" not in system.workers[-1].log.read_text()
            assert mailer.wait(mailer.enqueue(system.email()).id).state is JobState.SENT


def test_an_attachment_that_redis_does_not_give_uses_up_no_attempt(system, smtp, tmp_path):
    smtp.faults.append(slow(1.0))
    attached = [Attachment.from_bytes(b"x", filename="x.txt")]
    with EmbeddedRedis() as server:
        system.settings |= {"MAILER_REDIS_URL": server.url, "MAILER_RETRY_DELAYS": "60"}
        system.redis = server
        options = {"MAILER_CONNECTIONS": "1", "MAILER_STORE_TIMEOUT_SECONDS": "0.5"}
        with system.producer() as mailer, system.worker(MAILER_LEASE_SECONDS="30", **options):
            mailer.enqueue(system.email(subject="has the connection"))
            job_id = mailer.enqueue(system.email(attachments=attached)).id
            eventually(lambda: mailer.counts()[JobState.SENDING] == 2)
            server.pause()
            smtp.wait_for(1)
            eventually(lambda: "results not recorded" in system.workers[-1].tail(200))
            server.resume()
            job = mailer.wait(job_id, timeout=15)
    assert job.state is JobState.SENT
    assert [attempt.decision for attempt in job.attempts] == ["sent"]


def test_jobs_leave_although_the_broker_lost_its_messages(system, smtp):
    """FLUSH of the broker's keys: the agenda brings every job back."""
    import redis

    system.mailer.enqueue_many(system.email() for _ in range(300))
    smtp.faults.append(slow(0.05))
    prefix = f"{{{system.settings['MAILER_KEY_PREFIX']}}}:broker:"
    with system.worker(), redis.Redis.from_url(system.redis.url) as client:
        eventually(lambda: smtp.state.count > 20)
        for key in client.scan_iter(f"{prefix}*"):
            client.delete(key)
        eventually(lambda: system.mailer.counts()[JobState.SENT] == 300, timeout=30)
    assert set(accepted(smtp).values()) == {1}


def test_the_broker_keeps_no_batch_that_a_worker_has_taken(system, smtp):
    """Where it does, kombu ends a worker whose Redis is started again (decision 14)."""
    with (
        system.worker(),
        redis.Redis.from_url(system.redis.url) as raw,
        redis.Redis.from_url(system.redis.url) as watching,
        watching.monitor() as monitor,
    ):
        system.ended(system.enqueue())
        raw.echo("the end")
        said = list(iter(lambda: monitor.next_command()["command"], "ECHO the end"))
    assert any("BRPOP" in command for command in said)
    assert not any("unacked" in command for command in said)


def test_a_short_store_timeout_does_not_disturb_an_idle_dispatcher(system):
    with system.worker(MAILER_STORE_TIMEOUT_SECONDS="0.4") as worker:
        later = system.enqueue(scheduled_at=datetime.now(UTC) + timedelta(seconds=2))
        assert system.ended(later).state is JobState.SENT
        assert "waits for Redis" not in worker.tail(200)


def test_what_was_accepted_is_recorded_although_redis_is_full(system, smtp):
    smtp.faults.append(slow(1.0))
    with redis.Redis.from_url(system.redis.url) as raw, system.worker(MAILER_LEASE_SECONDS="2"):
        job_ids = [system.enqueue() for _ in range(5)]
        eventually(lambda: system.mailer.counts()[JobState.SENDING] == 5)
        raw.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable):
                system.enqueue()
            assert all(system.ended(job_id).state is JobState.SENT for job_id in job_ids)
        finally:
            raw.config_set("maxmemory", 0)
    assert set(accepted(smtp).values()) == {1}


@pytest.mark.parametrize(
    "service", ["Dispatcher.run", "Journal.keep_writing", "Leases.keep_renewing"]
)
def test_a_worker_of_which_a_part_failed_stops_rather_than_hold_jobs(system, tmp_path, service):
    module, _, method = service.partition(".")
    tmp_path.joinpath("faulty.py").write_text(
        "from workers.app import app\n"
        f"from workers.{module.lower()} import {module}\n"
        "async def fail(_):\n"
        "    raise ZeroDivisionError\n"
        f"{module}.{method} = fail\n"
    )
    worker = system.worker(app="faulty", PYTHONPATH=str(tmp_path), MAILER_SHUTDOWN_SECONDS="1")
    worker.start()  # it may end before it is ready
    eventually(lambda: not worker.running, 30)
    assert worker.stop() != 0
    assert "ZeroDivisionError" in worker.tail(60)
    job_id = system.enqueue()
    with system.worker():
        assert system.ended(job_id).state is JobState.SENT
