"""Peers' processes: what queues letters, and the workers; none of them outlives its block."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from .environments import HERE, interpreter
from .peer import Bench, Peer

_OURS = ("PATH", "HOME", "LANG")  # not PYTHONPATH and the like: peers must not see the project
_STOP_SECONDS = 15.0  # for what is being sent; a worker of Celery finishes it first


class PeerFailed(Exception):
    """A peer's process did not do what it was started for; with the end of what it printed."""


@frozen
class Enqueued:
    """What came of enqueueing.

    Attributes:
        seconds: what ``count`` letters took, imports and the first connection not counted.
        queued: how many there are in all: one more, which was to warm up.
        began: when (`time.monotonic`).
    """

    seconds: float
    count: int
    queued: int
    began: float = 0.0

    @property
    def rate(self) -> float:
        """Letters per second."""
        return self.count / self.seconds


def workload_folder() -> str:
    """Return the folder of what all producers import."""
    return str(HERE / "shared")


def enqueue(
    peer: Peer, bench: Bench, count: int, *, many: bool = False, timeout: float = 300.0
) -> Enqueued:
    """Have the peer queue letters, in a process of its own; one without a queue sends them.

    Args:
        many: by the peer's call for many, where it has one.
        timeout: seconds, for all of it.
    """
    script = (many and peer.enqueue_many) or peer.enqueue
    printed, log = _log(peer, bench, "enqueued"), _log(peer, bench, "enqueue")
    with (
        printed.open("wb") as output,
        log.open("ab") as errors,
        _running(peer, bench, (*script, str(count)), output, errors) as process,
    ):
        code = process.wait(timeout)
    if code:
        raise PeerFailed(f"enqueueing of {peer.name} ended with {code}:\n{_tail(log)}")
    return Enqueued(**json.loads(printed.read_text().splitlines()[-1]))


@contextmanager
def workers(peer: Peer, bench: Bench) -> Iterator[subprocess.Popen[bytes] | None]:
    """Run the peer's workers for the length of the block; their output goes to `worker_log`.

    They need some seconds until they send. A peer that has no queue has no workers either.
    """
    if peer.worker is None:
        yield None
        return
    arguments = tuple(
        word.format(processes=peer.processes, folder=bench.folder) for word in peer.worker
    )
    with (
        worker_log(peer, bench).open("ab") as output,
        _running(peer, bench, arguments, output, output) as process,
    ):
        yield process


def worker_log(peer: Peer, bench: Bench) -> Path:
    """Return the file that has what the workers printed."""
    return _log(peer, bench, "worker")


@contextmanager
def group(arguments: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of the block, and end whatever it has started with it.

    Args:
        options: of `subprocess.Popen`.
    """
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, process_group=0, **options)
    # When we die, however hard, our end of this pipe closes, and the shell ends the group.
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", f"read _; kill -9 -{process.pid}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield process
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        watcher.kill()
        watcher.wait()
        watcher.stdin.close()


@contextmanager
def _running(
    peer: Peer, bench: Bench, arguments: tuple[str, ...], output: IO[bytes], errors: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: os.environ[name] for name in _OURS if name in os.environ}
    environment |= {"PYTHONPATH": str(HERE / "shared"), "PYTHONUNBUFFERED": "1"}
    environment |= (
        bench.variables() | {"BENCH_PROCESSES": str(peer.processes)} | dict(peer.settings)
    )
    with group(
        [interpreter(peer), *arguments],
        cwd=HERE / peer.folder,
        env=environment,
        stdout=output,
        stderr=errors,
    ) as process:
        yield process


def _log(peer: Peer, bench: Bench, what: str) -> Path:
    return bench.folder / f"{peer.name}.{what}.log"


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
