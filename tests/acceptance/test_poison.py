"""An email that ends the process that sends it: it fails after three tries, and harms no other."""

import os
import signal
from pathlib import Path

import pytest

from mailer import Decision, JobState, RecipientState
from mailer.testing import eventually, hang

# runs in every Python process of a worker, and makes some emails do what a bug in a library would
POISON = """
import os, signal, time
from workers import building

build = building.Builder.build

async def poisonous(self, job, message, *args, **kwargs):
    if message.subject == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    if message.subject == "hangs when alone" and "celery" not in " ".join(
        open("/proc/self/cmdline").read().split(chr(0))
    ):
        time.sleep(600)
    if message.subject in {"raises", "hangs when alone"}:
        raise ZeroDivisionError("secret content")
    return await build(self, job, message, *args, **kwargs)

building.Builder.build = poisonous
"""


@pytest.fixture
def poisonous(system, tmp_path) -> dict[str, str]:
    """Settings for workers that poison is poison to."""
    folder = tmp_path / "poison"
    folder.mkdir()
    folder.joinpath("sitecustomize.py").write_text(POISON)
    system.settings["PYTHONPATH"] = str(folder)
    return system.settings


def until_ended(system, worker, job_id: str) -> int:
    """Start the worker again whenever it has died; returns how often it has."""
    deaths = 0
    worker.start()

    def ended() -> bool:
        nonlocal deaths
        if not worker.running:
            deaths += 1
            worker.start()
        return system.mailer.get(job_id).state.ended

    eventually(ended, 60)
    return deaths


def processes_alone(system) -> list[int]:
    """Find the processes of this system's workers that deliver jobs alone."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = folder.joinpath("cmdline").read_text().split("\0")
            ours = system.settings["MAILER_KEY_PREFIX"] in folder.joinpath("environ").read_text()
        except OSError:
            continue
        if "workers.alone" in words and ours:
            found.append(int(folder.name))
    return found


def test_poison_fails_after_three_tries_and_its_neighbours_are_sent(system, smtp, poisonous):
    emails = [system.email(subject="kills" if i == 15 else "harmless") for i in range(30)]
    receipts = system.mailer.enqueue_many(emails)
    poison = receipts.pop(15)
    worker = system.worker()
    assert until_ended(system, worker, poison.id) == 2, "the third death was none of a worker"
    neighbours = [system.ended(receipt.id) for receipt in receipts]
    worker.stop()
    job = system.mailer.get(poison.id)
    assert job.state is JobState.FAILED
    assert [attempt.decision for attempt in job.attempts] == ["interrupted", "interrupted", "fail"]
    assert job.attempts[-1].reply == (
        "the process that sent it alone ended by SIGKILL (crash 3; 3 are too many)"
    )
    assert job.recipients[0].state is RecipientState.REFUSED
    assert {neighbour.state for neighbour in neighbours} == {JobState.SENT}
    assert {m.message_id for m in smtp.received} == {receipt.message_id for receipt in receipts}
    assert processes_alone(system) == []


def test_a_bug_that_an_email_meets_fails_it_after_three_tries(system, smtp, poisonous):
    with system.worker() as worker:
        neighbours = [system.enqueue() for _ in range(5)]
        job = system.ended(system.enqueue(subject="raises"))
        assert {system.ended(job_id).state for job_id in neighbours} == {JobState.SENT}
        assert worker.running
        assert "secret content" not in str(job)
    assert job.state is JobState.FAILED
    assert [attempt.decision for attempt in job.attempts] == ["interrupted", "interrupted", "fail"]
    assert job.attempts[0].reply == "internal: ZeroDivisionError"
    assert job.attempts[-1].reply == "internal: ZeroDivisionError (crash 3; 3 are too many)"
    assert {attempt.n for attempt in job.attempts} == {1}, "no attempt of its policy is used up"
    assert len(smtp.received) == 5


def test_a_person_may_try_poison_again(system, smtp, poisonous):
    with system.worker():
        job = system.ended(system.enqueue(subject="raises"))
        system.mailer.retry(job.id)
        again = system.ended(job.id)
    decisions = [attempt.decision for attempt in again.attempts[len(job.attempts) :]]
    assert decisions == ["interrupted", "interrupted", "fail"], "with a fresh count"


def test_a_process_that_hangs_is_ended(system, poisonous):
    with system.worker():
        job = system.ended(system.enqueue(subject="hangs when alone"), timeout=40)
    assert job.state is JobState.FAILED
    assert "gave no sign of life for 5 s" in job.attempts[-1].reply
    assert processes_alone(system) == []


def lose_twice(system, smtp, **fields) -> str:
    """Have two workers killed while they send an email, before it is complete."""
    smtp.faults.append(hang("rcpt"))
    job_id = system.enqueue(**fields)
    for _ in range(2):
        worker = system.worker(MAILER_LEASE_SECONDS="0.4").start()
        eventually(lambda: system.mailer.get(job_id).state is JobState.SENDING, 40)
        eventually(lambda: smtp.faults[0].happened > 0)
        worker.kill()
        smtp.faults[0].happened = 0
    smtp.faults.clear()
    return job_id


def test_an_email_that_was_lost_twice_for_no_fault_of_its_own_is_sent(system, smtp):
    job_id = lose_twice(system, smtp)
    with system.worker():
        job = system.ended(job_id)
        following = system.ended(system.enqueue())
    assert job.state is JobState.SENT
    assert [attempt.decision for attempt in job.attempts] == ["interrupted", "interrupted", "sent"]
    assert job.attempts[-1].worker.endswith(" alone")
    assert not following.attempts[-1].worker.endswith(" alone")
    assert len(smtp.received) == 2


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
def test_what_may_have_left_when_its_process_died_is_unconfirmed(system, smtp, delivery):
    job_id = lose_twice(system, smtp, delivery=delivery)
    smtp.faults.append(hang("dot"))
    with system.worker():
        eventually(lambda: smtp.faults[0].happened)
        os.kill(*processes_alone(system), signal.SIGKILL)
        job = system.ended(job_id)
    assert job.state is JobState.UNCONFIRMED
    assert job.attempts[-1].decision is Decision.UNCONFIRMED
    assert "ended by SIGKILL (crash 3; 3 are too many)" in job.attempts[-1].reply


def test_what_had_not_left_when_its_process_died_is_refused(system, smtp):
    job_id = lose_twice(system, smtp)
    smtp.faults.append(hang("rcpt"))
    with system.worker():
        eventually(lambda: smtp.faults[0].happened)
        os.kill(*processes_alone(system), signal.SIGKILL)
        assert system.ended(job_id).state is JobState.FAILED


def test_the_process_ends_with_its_worker_and_the_email_is_sent(system, smtp):
    job_id = lose_twice(system, smtp)
    smtp.faults.append(hang("rcpt"))
    worker = system.worker().start()
    eventually(lambda: smtp.faults and smtp.faults[0].happened)
    assert len(processes_alone(system)) == 1
    worker.kill()
    eventually(lambda: not processes_alone(system))
    smtp.faults.clear()
    with system.worker():
        assert system.ended(job_id).state is JobState.SENT
    assert len(smtp.received) == 1


def test_a_worker_that_stops_lets_the_process_end_what_it_does(system, smtp):
    job_id = lose_twice(system, smtp)
    smtp.faults.append(hang("rcpt"))
    worker = system.worker(MAILER_SHUTDOWN_SECONDS="1").start()
    eventually(lambda: smtp.faults[0].happened)
    assert worker.stop(20) == 0
    assert processes_alone(system) == []
    smtp.faults.clear()
    with system.worker():
        assert system.ended(job_id).state is JobState.SENT
