"""SMTP servers that throw away what they get and count it, as processes of the benchmark."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from sink import Counters, Times

from mailer.testing import eventually
from mailer.testing.ports import free_port

_SCRIPT = Path(__file__).with_name("sink.py")
_COUNTED = re.compile(rb"mesg=(\d+)\r")
_TAIL = 200  # bytes, some lines of what smtp-sink prints for each message
_STOP_SECONDS = 5.0


@frozen
class Sink:
    """A server that runs.

    Attributes:
        messages: tells how many it has taken.
        counters: what else ours has counted.
        times: when each came, where that was asked for.
    """

    port: int
    messages: Callable[[], int]
    counters: Counters | None = None
    times: Times | None = None

    @property
    def url(self) -> str:
        """What ``MAILER_RELAY_URL`` is set to."""
        return f"smtp://127.0.0.1:{self.port}"


@contextmanager
def our_sink(*, times: int = 0, **manners: float) -> Iterator[Sink]:
    """Run ``sink.py``.

    Args:
        times: up to which number of a recipient the times are noted.
        manners: ``delay``, ``rtt``, ``hanging``, ``greylisted``; see `sink.Manners`.
    """
    with tempfile.TemporaryDirectory(prefix="mailer-sink-") as name:
        counters = Counters(Path(name) / "counters")
        arguments = [sys.executable, _SCRIPT, Path(name) / "counters"]
        arguments += [f"--{manner}={value}" for manner, value in manners.items()]
        noted = None
        if times:
            (Path(name) / "times").write_bytes(bytes(8 * times))
            noted = Times(Path(name) / "times")
            arguments += ["--times", Path(name) / "times"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            try:
                port = process.stdout.readline() if process.stdout else b""
                if not port:
                    raise RuntimeError("the SMTP sink did not start; it has said why")
                yield Sink(int(port), lambda: counters["messages"], counters, noted)
            finally:
                _end(process)


def postfix_tool(name: str) -> str | None:
    """Find a program of Postfix, which need not be on the PATH of a user."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def postfix_sink() -> Iterator[Sink]:
    """Run Postfix's ``smtp-sink``, which must be there."""
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    arguments = [postfix_tool("smtp-sink"), "-c", *user, f"127.0.0.1:{port}", "1000"]
    with tempfile.TemporaryFile() as output:

        def messages() -> int:
            size = os.fstat(output.fileno()).st_size
            # pread leaves alone the offset, which the program writes at
            found = _COUNTED.findall(os.pread(output.fileno(), _TAIL, max(0, size - _TAIL)))
            return int(found[-1]) if found else 0

        with subprocess.Popen(arguments, stdout=output, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: _listens(port))
                yield Sink(port, messages)
            finally:
                _end(process)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
