"""A producer as a process of its own: ``python -m chaos.producer RUN EMAILS``."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from chaos.load import email
from mailer import Email, Mailer
from mailer.portions import CHUNK_EMAILS as CHUNK

MANY = 10 * CHUNK


def emails(run: str, count: int = MANY) -> Iterator[Email]:
    """Write the emails of one run; the same ones whenever it is asked."""
    for number in range(count):
        yield email(to=f"to{number}@example.org", idempotency_key=f"{run}-{number}")


def start(
    port: int,
    prefix: str,
    run: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    emails: int = MANY,
) -> "subprocess.Popen[bytes]":
    """Start it, with its Redis on a port of this machine."""
    settings = {
        "MAILER_REDIS_URL": f"redis://127.0.0.1:{port}/1",
        "MAILER_KEY_PREFIX": prefix,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    words = [sys.executable, "-m", "chaos.producer", run, str(emails)]
    return subprocess.Popen(words, env={**os.environ, **environment, **settings})


if __name__ == "__main__":
    with Mailer() as mailer:
        mailer.enqueue_many(emails(sys.argv[1], int(sys.argv[2])))
