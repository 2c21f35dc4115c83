"""Workers and Flower are Celery's own programs: this process becomes one."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mailer.errors import MailerError
from mailer.loading import load_settings

# Flower hides the columns that matter most here by default
_COLUMNS = "uuid,state,retries,eta,exception,result,received,runtime,worker"


class MissingExtra(MailerError):
    """A part of the mailer that has to be installed first."""


def become_worker(name: str, more: Sequence[str]) -> NoReturn:
    """Run ``celery -A workers worker`` in place of this process."""
    settings = load_settings()  # so that a mistake in them is one line, and no traceback
    node = name if "@" in name else f"{name}@%h"
    # workers have nothing to tell each other: what they share is in the store
    options = ["-n", node, "-l", settings.log_level, "--without-gossip", "--without-mingle"]
    _become("worker", *options, *more)


def become_flower(port: int, address: str, more: Sequence[str]) -> NoReturn:
    """Run ``celery -A workers flower`` in place of this process."""
    load_settings()
    if importlib.util.find_spec("flower") is None:
        raise MissingExtra("Flower is not installed: pip install 'celery-mailer[flower]'")
    options = [f"--port={port}", f"--address={address}", f"--tasks_columns={_COLUMNS}"]
    _become("flower", *options, *more)


def _become(*arguments: str) -> NoReturn:
    words = [sys.executable, "-m", "celery", "-A", "workers", *arguments]
    sys.stdout.flush()
    os.execv(sys.executable, words)  # noqa: S606 - our own interpreter and arguments
