"""Real worker and Flower processes, for demos and tests."""

import os
import signal as signals
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mailer.errors import MailerError
from mailer.testing.ports import free_port

_LOOK_EVERY = 0.02  # seconds between looks at a condition of another process


class ProcessFailed(MailerError):
    """A process did not do what it was started for; with the end of what it printed."""


class Process:
    """A program started with settings of its own; its output goes to a file.

    Args:
        arguments: what follows ``python -m``.
        settings: environment variables on top of ours, such as ``MAILER_REDIS_URL``.
        log: where its output goes; appended to, so that restarts keep the earlier part.
    """

    def __init__(self, arguments: list[str], settings: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._arguments = [sys.executable, "-m", *arguments]
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None, "not started"  # noqa: S101 - a caller's mistake
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, again if need be; `wait_until_ready` waits for more than that."""
        if self._output:
            self._output.close()
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            self._arguments, env=self._environment, stdout=self._output, stderr=subprocess.STDOUT
        )
        return self

    def signal(self, number: signals.Signals) -> None:
        """Send a signal, for example SIGSTOP."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end(signals.SIGKILL, timeout=10)

    def stop(self, timeout: float = 60) -> int:
        """End it as an operator would (SIGTERM), if it runs yet; return its exit code."""
        return self._end(signals.SIGTERM, timeout)

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_until_ready(self, timeout: float = 30) -> None:
        """Wait until it does its work."""
        deadline = time.monotonic() + timeout
        while not self._ready():
            if not self.running or time.monotonic() > deadline:
                why = "did not get ready" if self.running else "ended"
                raise ProcessFailed(f"{' '.join(self._arguments[2:4])} {why}:\n{self.tail()}")
            time.sleep(_LOOK_EVERY)

    def tail(self, lines: int = 20) -> str:
        """Return the end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _ready(self) -> bool:
        return self.running

    def _end(self, how: signals.Signals, timeout: float) -> int:
        assert self._process is not None, "not started"  # noqa: S101 - a caller's mistake
        if self.running:
            self.signal(how)
        try:
            return self._process.wait(timeout)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            if self._output:
                self._output.close()


class WorkerProcess(Process):
    """A worker, as ``celery -A workers worker`` starts it."""

    def __init__(
        self,
        settings: Mapping[str, str],
        log: Path,
        *,
        name: str = "mailer",
        app: str = "workers",
        arguments: tuple[str, ...] = (),
    ) -> None:
        options = ["--without-gossip", "--without-mingle", "-n", f"{name}@%h", "-l", "INFO"]
        super().__init__(["celery", "-A", app, "worker", *options, *arguments], settings, log)
        self._begins_at = 0

    def start(self) -> Self:
        """Start it, again if need be."""
        self._begins_at = self.log.stat().st_size if self.log.exists() else 0
        return super().start()

    def _ready(self) -> bool:
        with self.log.open("rb") as log:
            log.seek(self._begins_at)
            return b" ready." in log.read()


class FlowerProcess(Process):
    """Flower, on a free port of this machine."""

    def __init__(self, settings: Mapping[str, str], log: Path, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["mailer.cli", "flower", "--port", str(self.port), "--address", "127.0.0.1"],
            settings,
            log,
        )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthcheck", timeout=1):  # noqa: S310 - ours
                return True
        except (urllib.error.URLError, OSError):
            return False
