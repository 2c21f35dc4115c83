"""Canaries in every private part of an email, looked for wherever others can read."""

import base64
import threading

import redis

from mailer import Attachment, JobState
from mailer.testing import eventually, say

CANARIES = ["canary-subject", "canary-body", "canary-name", "canary-file", "canary-local"]


def spellings(text: str) -> list[bytes]:
    """A text as it stands, and as base64 would hide it, at each offset."""
    plain = text.encode()
    hidden = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]  # its core
    return [plain, *hidden]


def found(text: str, places: list[bytes]) -> bool:
    return any(spelling in place for spelling in spellings(text) for place in places)


def test_celery_messages_events_and_logs_hold_no_content(system, smtp):
    """What passes through the broker, and what the worker logs, names jobs by their ids only."""
    smtp.faults.append(say("550 5.1.1 <canary-local@example.org>: no such user", "rcpt"))
    commands: list[bytes] = []
    done = threading.Event()

    def watch(monitor: redis.client.Monitor) -> None:
        while not done.is_set():
            commands.append(monitor.next_command()["command"].encode())

    with redis.Redis.from_url(system.redis.url) as client, client.monitor() as monitor:
        watcher = threading.Thread(target=watch, args=[monitor])
        watcher.start()
        with system.worker() as worker:
            job_id = system.enqueue(
                "canary-name <canary-local@example.org>",
                subject="canary-subject",
                text="canary-body",
                attachments=[Attachment.from_bytes(b"canary-body", filename="canary-file.txt")],
            )
            assert system.ended(job_id).state is JobState.FAILED
            eventually(lambda: found("task-failed", list(commands)))
        done.set()
        client.ping()  # so that the watcher sees that it is done
        watcher.join()
        log = worker.log.read_bytes()
    prefix = f"{{{system.settings['MAILER_KEY_PREFIX']}}}:broker:".encode()
    public = [c for c in commands if prefix in c or c.upper().startswith(b"PUBLISH")]
    assert found(job_id, public), "the batch was seen"
    for canary in CANARIES:
        assert not found(canary, public)
        assert not found(canary, [log])
