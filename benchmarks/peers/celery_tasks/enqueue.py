"""Queue letters as Celery tasks, one each: ``enqueue.py smtplib|aiosmtplib|empty COUNT``."""

import sys

from tasks import empty, with_aiosmtplib, with_smtplib
from workload import Letter, run

TASKS = {"smtplib": with_smtplib, "aiosmtplib": with_aiosmtplib}


def enqueue(letters: list[Letter]) -> None:
    """Queue each letter with its task."""
    task = TASKS[sys.argv[1]]
    for letter in letters:
        task.delay(letter)


def enqueue_empty(letters: list[Letter]) -> None:
    """Queue as many empty tasks."""
    for _ in letters:
        empty.delay()


run(enqueue_empty if sys.argv[1] == "empty" else enqueue)
