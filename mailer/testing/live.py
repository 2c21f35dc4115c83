"""A real worker for acceptance tests, with the Redis and the SMTP server that it needs."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mailer.client import Mailer
from mailer.job import Job, JobState, Receipt
from mailer.loading import load_settings
from mailer.testing.processes import WorkerProcess
from mailer.testing.redis import EmbeddedRedis
from mailer.testing.smtp import SmtpServerThread
from mailer.testing.waiting import eventually

_PREFIX = "test"
_WAITING = (JobState.SCHEDULED, JobState.QUEUED, JobState.DEFERRED)
_MANY = 1_000_000


class LiveWorker:
    """Redis, an SMTP server and a worker process: ``with LiveWorker() as worker``.

    Args:
        settings: of the worker, on top of those that lead it to the servers and let it try again
            after 0.2 s. It reads no ``mailer.toml`` but one that they name as ``MAILER_CONFIG``.

    Attributes:
        settings: environment variables for an application that is to use the worker.
        mailer: enqueues for it.
        smtp: to which it delivers.
        process: the worker's; `tail` gives the end of its log.
    """

    settings: dict[str, str]
    mailer: Mailer
    process: WorkerProcess

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.smtp = SmtpServerThread()
        self._given = settings or {}
        self._parts = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            redis = parts.enter_context(EmbeddedRedis())
            parts.enter_context(self.smtp)
            folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="mailer-test-")))
            nothing = folder / "mailer.toml"
            nothing.touch()
            self.settings = {
                "MAILER_CONFIG": str(nothing),
                "MAILER_REDIS_URL": redis.url,
                "MAILER_BROKER_URL": redis.url,
                "MAILER_KEY_PREFIX": _PREFIX,
                "MAILER_RELAY_URL": self.smtp.url,
                "MAILER_RETRY_DELAYS": "0.2",
                **self._given,
            }
            settings = load_settings(
                redis_url=redis.url, key_prefix=self.settings["MAILER_KEY_PREFIX"]
            )
            self.mailer = parts.enter_context(Mailer(settings=settings))
            self.process = WorkerProcess(self.settings, folder / "worker.log")
            parts.enter_context(self.process)
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._parts.close()

    def wait(self, job: Receipt | Job | str, timeout: float = 20) -> Job:
        """Return a job once it has ended.

        Raises:
            WaitTimeout: it has not, after ``timeout`` seconds.
        """
        return self.mailer.wait(job if isinstance(job, str) else job.id, timeout)

    def clear(self) -> None:
        """Make ready for another test: cancel what waits, forget messages and faults."""
        for state in _WAITING:
            for job in self.mailer.list(state, _MANY):
                self.mailer.cancel(job.id)
        eventually(lambda: not self.mailer.counts()[JobState.SENDING])
        self.smtp.forget()
