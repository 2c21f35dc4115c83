"""An SMTP server that throws away what it gets and counts it."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailer.testing import SmtpServerThread, eventually
from mailer.testing.ports import free_port

from .processes import group

_COUNTED = re.compile(rb"mesg=(\d+)\r")
_TAIL = 200  # bytes, some lines of what smtp-sink prints for each message


@contextmanager
def sink() -> Iterator[tuple[int, Callable[[], int]]]:
    """Run Postfix's ``smtp-sink``, or ours where it is missing; yield its port and its count."""
    program = shutil.which("smtp-sink", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        with SmtpServerThread(keep=False) as server:
            yield server.port, lambda: server.state.count
        return
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    arguments = [program, "-c", *user, f"127.0.0.1:{port}", "1000"]
    with tempfile.TemporaryFile() as output:

        def count() -> int:
            size = os.fstat(output.fileno()).st_size
            # pread leaves alone the offset, which the program writes at
            found = _COUNTED.findall(os.pread(output.fileno(), _TAIL, max(0, size - _TAIL)))
            return int(found[-1]) if found else 0

        with group(arguments, stdout=output, stderr=subprocess.DEVNULL):
            eventually(lambda: _listens(port))
            yield port, count


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
