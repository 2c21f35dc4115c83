"""The processes that a campaign plays on: Redis, two relays, two workers, and a producer here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from chaos.ledger import Entry, Verdict, balance
from chaos.taps import Tap
from mailer import Attachment, Email, Job, Mailer, Receipt, StoreUnavailable, load_settings
from mailer.testing import EmbeddedRedis, SmtpServerThread, eventually
from mailer.testing.processes import WorkerProcess
from mailer.testing.smtp_state import EXTENSIONS

VICTIM, OTHER, PRODUCER = "victim", "other", "producer"
LEASE = 0.6  # seconds
_SETTINGS = {
    "MAILER_LEASE_SECONDS": str(LEASE),
    "MAILER_DISPATCH_TIMEOUT_SECONDS": str(LEASE),
    "MAILER_RETRY_DELAYS": "0.2",
    "MAILER_STORE_TIMEOUT_SECONDS": "1",
    "MAILER_SHUTDOWN_SECONDS": "5",
    "MAILER_CONNECTIONS": "5",
    "MAILER_BATCH_SIZE": "10",
    "MAILER_LOG_LEVEL": "WARNING",
}
_LOOK_EVERY = 0.02
_TESTS = Path(__file__).parent.parent


class Stage:
    """Redis, and workers that have each a link to it and a relay of their own.

    So a fault can hit one worker at a point of its work. Emails are enqueued from here.
    """

    def __init__(self, *, appendfsync: str = "everysec", names: Iterable[str] = (VICTIM, OTHER)):
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.names = tuple(names)
        self._stack = ExitStack()
        self._appendfsync = appendfsync
        self._prefix = f"chaos-{uuid.uuid4().hex[:8]}"
        self._workers: dict[str, WorkerProcess] = {}
        self._producer: threading.Thread | None = None
        self.entries: list[Entry] = []
        self._ended: set[str] = set()
        self._special: dict[str, dict[str, str]] = {}  # settings of one worker, for one round
        self.deaths: list[str] = []  # of workers that nobody has killed, in this round
        self._killed: set[str] = set()  # it takes a moment until they have ended
        self._copies: Counter[str] = Counter()  # of each Message-ID
        self._counted: dict[str, int] = {}  # messages of each relay
        self._judged: dict[str, int] = {}  # copies of each Message-ID when its round ended

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.redis = enter(EmbeddedRedis(appendonly=True, appendfsync=self._appendfsync))
        self.raw = redis.Redis.from_url(self.redis.url, retry=None)
        self._stack.callback(self.raw.close)
        links = (*self.names, PRODUCER)
        self.taps = {name: enter(Tap(self.redis.port)) for name in links}
        self.relays = {name: enter(SmtpServerThread()) for name in self.names}
        settings = load_settings(
            redis_url=self.redis.url, key_prefix=self._prefix, store_timeout_seconds=1
        )
        self.mailer = enter(Mailer(settings=settings))
        self._stack.callback(self._end_workers)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # workers

    def worker(self, name: str = VICTIM) -> WorkerProcess:
        return self._workers[name]

    def pid(self, name: str = VICTIM) -> int:
        return self._workers[name].pid

    def kill(self, name: str = VICTIM) -> None:
        """SIGKILL, at once; may be called from any thread."""
        self._workers[name].signal(signal.SIGKILL)
        self._killed.add(name)

    def stop(self, name: str = VICTIM) -> int:
        """SIGTERM; returns the exit code."""
        self._killed.add(name)
        return self._workers[name].stop()

    def revive(self) -> None:
        """Start the workers that do not run, as a supervisor would."""
        for name in self.names:
            worker = self._workers.get(name)
            if worker is None or name in self._killed:
                self._start(name)
            elif not worker.running:
                self.deaths.append(f"{name} has ended by itself:\n{worker.tail(5)}")
                self._start(name)
        self._killed.clear()

    def replace(self, name: str = VICTIM, **settings: str) -> None:
        """Have a worker with settings of its own, for this round."""
        self._workers[name].stop()
        self._special[name] = settings
        self._start(name)
        self._workers[name].wait_until_ready()

    def get_ready(self) -> None:
        """Have all workers at work, and nothing wrong anywhere."""
        for relay in self.relays.values():
            relay.faults.clear()
            relay.state.options.extensions = EXTENSIONS
        for tap in self.taps.values():
            tap.arm(None)
        for name in self._special:
            self._workers[name].stop()
        self._special.clear()
        self.revive()
        for worker in self._workers.values():
            worker.wait_until_ready()

    def _start(self, name: str) -> None:
        url = f"redis://127.0.0.1:{self.taps[name].port}/1"
        given = {
            **_SETTINGS,
            "MAILER_REDIS_URL": url,
            "MAILER_KEY_PREFIX": self._prefix,
            "MAILER_RELAY_URL": self.relays[name].url,
            **self._special.get(name, {}),
        }
        if name in self._workers:
            self._workers[name].kill()  # reaps it
        self._workers[name] = WorkerProcess(given, self.folder / f"{name}.log", name=name).start()

    def _end_workers(self) -> None:
        for worker in self._workers.values():
            worker.kill()

    # emails

    def email(self, number: int, *, poison: bool = False, attached: int = 0) -> Email:
        """Make an email; every third is to leave once at most."""
        return Email(
            from_email="shop@example.com",
            to=f"reader{number}@example.org",
            subject="kills" if poison else f"Number {number}",
            text="Hello\n" * 40,
            attachments=[Attachment.from_bytes(bytes([number % 256]) * attached, filename="a.bin")]
            if attached
            else [],
            delivery="at-most-once" if number % 3 == 2 else "at-least-once",
            idempotency_key=uuid.uuid4().hex,
        )

    def enqueue(self, count: int = 30, *, poison: int | None = None, attached: int = 0) -> None:
        """Enqueue emails in one call."""
        emails = [self.email(i, poison=i == poison, attached=attached) for i in range(count)]
        self.acknowledged(emails, self.mailer.enqueue_many(emails))

    def acknowledged(self, emails: list[Email], receipts: list[Receipt]) -> None:
        """Take note of what was promised."""
        for email, receipt in zip(emails, receipts, strict=True):
            once, poison = email.delivery == "at-most-once", email.subject == "kills"
            self.entries.append(Entry(receipt.id, receipt.message_id, once, poison))

    def produce(self, keys: str, count: int, **settings: str) -> subprocess.Popen[str]:
        """Start a producer of its own, which waits for a line before it enqueues."""
        given = {
            "MAILER_REDIS_URL": f"redis://127.0.0.1:{self.taps[PRODUCER].port}/1",
            "MAILER_KEY_PREFIX": self._prefix,
            "PYTHONPATH": str(_TESTS),
            **settings,
        }
        if given["PYTHONPATH"] != str(_TESTS):
            given["PYTHONPATH"] += f"{os.pathsep}{_TESTS}"
        return subprocess.Popen(
            [sys.executable, "-m", "chaos.producer", keys, str(count)],
            env={**os.environ, **given},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def acknowledged_by(self, told: str) -> None:
        """Take note of what such a producer was promised."""
        self.entries += [Entry(job_id, message_id) for job_id, message_id in json.loads(told)]

    def keep_enqueueing(self, count: int, seconds: float) -> None:
        """Enqueue emails one by one in a thread, each until it is acknowledged."""

        def produce() -> None:
            for number in range(count):
                email = self.email(number)
                while True:
                    try:
                        self.acknowledged([email], [self.mailer.enqueue(email)])
                        break
                    except StoreUnavailable:
                        time.sleep(0.05)
                time.sleep(seconds / count)

        self._producer = threading.Thread(target=produce)
        self._producer.start()

    @property
    def accepted(self) -> int:
        """How many messages the relays have accepted so far."""
        return sum(relay.state.count for relay in self.relays.values())

    def wait(self, condition: Callable[[], object], timeout: float = 30) -> None:
        eventually(condition, timeout)

    def settle(self, limit: float) -> None:
        """Wait until every email has ended, or for ``limit`` seconds."""
        deadline = time.monotonic() + limit
        if self._producer:
            self._producer.join(limit)
            self._producer = None
        while not self.settled() and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY)
            self.revive()

    def settled(self) -> bool:
        """Whether every email has ended."""
        if self._producer and self._producer.is_alive():
            return False
        return all(self._has_ended(entry.job_id) for entry in self.entries)

    def balance(self) -> Verdict:
        """Judge the emails of this round, and begin another."""
        entries, self.entries = self.entries, []
        copies = self._count()
        self._judged |= {entry.message_id: copies[entry.message_id] for entry in entries}
        jobs = {entry.job_id: self._job(entry.job_id) for entry in entries}
        return balance(entries, jobs, copies)

    def late_copies(self) -> int:
        """Count the copies that came when their round was over."""
        copies = self._count()
        return sum(copies[message_id] - count for message_id, count in self._judged.items())

    def _count(self) -> Counter[str]:
        for name, relay in self.relays.items():
            received, before = relay.received, self._counted.get(name, 0)
            self._copies.update(message.message_id for message in received[before:])
            self._counted[name] = len(received)
        return self._copies

    def _job(self, job_id: str) -> Job | None:
        try:
            return self.mailer.get(job_id)
        except LookupError:
            return None

    def _has_ended(self, job_id: str) -> bool:
        if job_id not in self._ended:
            try:
                ended = self.mailer.get(job_id).state.ended
            except (StoreUnavailable, LookupError):
                return False
            if ended:
                self._ended.add(job_id)
        return job_id in self._ended
