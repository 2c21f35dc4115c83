"""What is canceled, or superseded by a newer email, is not sent."""

import queue
import threading
from collections import Counter

from mailer import JobState
from mailer.testing import Fault, eventually, greylist

RACES, CHUNK = 10_000, 100


def test_in_ten_thousand_races_nothing_is_sent_after_canceled(system, smtp):
    """Each email is canceled while a worker is about to begin it: one of the two comes first."""
    enqueued: queue.Queue[str | None] = queue.Queue()
    canceled: dict[str, bool] = {}

    def cancel() -> None:
        while (job_id := enqueued.get()) is not None:
            canceled[job_id] = system.mailer.cancel(job_id)

    rivals = [threading.Thread(target=cancel) for _ in range(2)]
    for rival in rivals:
        rival.start()
    message_ids: dict[str, str] = {}
    with system.worker():
        for _ in range(RACES // CHUNK):
            receipts = system.mailer.enqueue_many(system.email() for _ in range(CHUNK))
            for receipt in receipts:
                message_ids[receipt.id] = receipt.message_id
                enqueued.put(receipt.id)
            eventually(lambda: enqueued.qsize() < CHUNK)
        for _ in rivals:
            enqueued.put(None)
        for rival in rivals:
            rival.join()
        sent = [job_id for job_id, done in canceled.items() if not done]
        eventually(lambda: system.mailer.counts()[JobState.SENT] == len(sent), timeout=30)
    assert min(len(sent), RACES - len(sent)) > 100, "each side won some"
    assert Counter(m.message_id for m in smtp.received) == Counter(message_ids[i] for i in sent)
    assert system.mailer.counts()[JobState.CANCELED] == RACES - len(sent)


def test_of_two_password_resets_only_the_newer_arrives(system, smtp):
    smtp.faults.append(greylist("ann@"))
    with system.worker(MAILER_RETRY_DELAYS="1"):
        older = system.enqueue(subject="first", supersede_key="reset-ann")
        eventually(lambda: system.mailer.get(older).state is JobState.DEFERRED)
        newer = system.enqueue(subject="second", supersede_key="reset-ann")
        assert system.ended(newer).state is JobState.SENT
    job = system.mailer.get(older)
    assert (job.state, job.superseded_by) == (JobState.CANCELED, newer)
    assert [b"Subject: second" in message.data for message in smtp.received] == [True]


def test_one_that_is_under_way_is_not_tried_again_once_it_is_superseded(system, smtp):
    smtp.faults.append(Fault("rcpt", reply="450 4.7.1 Not now", match="ann@", delay=1.0))
    with system.worker(MAILER_LEASE_SECONDS="10") as worker:
        older = system.enqueue(supersede_key="reset-ann")
        eventually(lambda: system.mailer.get(older).state is JobState.SENDING)
        system.enqueue("ben@example.org", supersede_key="reset-ann")
        job = system.ended(older)
        assert job.state is JobState.CANCELED
        assert "a newer email takes its place" in worker.tail(50)
    assert [attempt.code for attempt in job.attempts] == [450]
