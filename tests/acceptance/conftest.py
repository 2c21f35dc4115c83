"""The whole system, each part a real one: Redis, an SMTP server, worker processes."""

import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailer import Email, Job, Mailer, load_settings
from mailer.testing import EmbeddedRedis, SmtpServerThread
from mailer.testing.processes import WorkerProcess

SHOP = "Shop <shop@example.com>"


class _Worker(WorkerProcess):
    """A worker that is told to stop at the end of ``with``, and not waited for: that takes 1 s."""

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.signal(signal.SIGTERM)

    def reap(self) -> None:
        if self._process is not None:
            self.kill()


@attrs.define
class System:
    """A Redis prefix of its own, an SMTP server, and workers on demand."""

    redis: EmbeddedRedis
    smtp: SmtpServerThread
    folder: Path
    settings: dict[str, str]
    mailer: Mailer
    workers: list[_Worker] = attrs.field(factory=list)

    def worker(
        self,
        name: str = "w1",
        app: str = "workers",
        arguments: tuple[str, ...] = (),
        **settings: str,
    ) -> WorkerProcess:
        """Make a worker; ``with`` starts it, or `start` and `wait_until_ready`."""
        own, log = {**self.settings, **settings}, self.folder / f"{name}.log"
        worker = _Worker(own, log, name=name, app=app, arguments=arguments)
        self.workers.append(worker)
        return worker

    def email(self, to: str | list[str] = "ann@example.org", **fields: Any) -> Email:
        return Email(**{"from_email": SHOP, "to": to, "subject": "Hi", "text": "Hi\n", **fields})

    def enqueue(self, to: str | list[str] = "ann@example.org", **fields: Any) -> str:
        return self.mailer.enqueue(self.email(to, **fields)).id

    def ended(self, job_id: str, timeout: float = 20) -> Job:
        return self.mailer.wait(job_id, timeout)

    def producer(self, **settings: Any) -> Mailer:
        """Make another producer, with settings of its own."""
        prefix = self.settings["MAILER_KEY_PREFIX"]
        return Mailer(
            settings=load_settings(redis_url=self.redis.url, key_prefix=prefix, **settings)
        )

    def broker_is_empty(self) -> bool:
        """Whether no carrier message is left, on its way or unacknowledged."""
        import redis

        prefix = f"{{{self.settings['MAILER_KEY_PREFIX']}}}:broker:"
        with redis.Redis.from_url(self.redis.url) as client:
            keys = {key.decode() for key in client.scan_iter(f"{prefix}*")}
        return not any("unacked" in key or key.startswith(f"{prefix}mailer") for key in keys)


@pytest.fixture
def smtp() -> Iterator[SmtpServerThread]:
    with SmtpServerThread() as server:
        yield server


@pytest.fixture
def system(redis_server: EmbeddedRedis, smtp: SmtpServerThread, tmp_path: Path) -> Iterator[System]:
    with _system(redis_server, smtp, tmp_path) as system:
        yield system


@pytest.fixture(scope="module")
def shared_system(
    redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A system for all tests of a module: for those that look at emails of their own only."""
    folder = tmp_path_factory.mktemp("shared")
    with SmtpServerThread() as smtp, _system(redis_server, smtp, folder) as system:
        yield system


@contextmanager
def _system(redis: EmbeddedRedis, smtp: SmtpServerThread, folder: Path) -> Iterator[System]:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    settings = {
        "MAILER_REDIS_URL": redis.url,
        "MAILER_KEY_PREFIX": prefix,
        "MAILER_RELAY_URL": smtp.url,
        "MAILER_RETRY_DELAYS": "0.3",
        "MAILER_LEASE_SECONDS": "1",
        "MAILER_DISPATCH_TIMEOUT_SECONDS": "1",
    }
    with Mailer(settings=load_settings(redis_url=redis.url, key_prefix=prefix)) as mailer:
        system = System(redis, smtp, folder, settings, mailer)
        yield system
        for worker in system.workers:
            worker.reap()
