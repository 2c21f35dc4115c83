"""How batches of job ids travel through Celery's broker."""

from collections.abc import Sequence
from types import MappingProxyType

from celery import Celery

from mailer.job import Priority

TASK = "mailer.deliver"
QUEUE = "mailer"
# Redis has no priorities; kombu makes a list for each of these steps, the least first.
PRIORITIES = MappingProxyType({Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6})


def publish(
    app: Celery, ids: Sequence[str], dispatcher: str, ticket: str, priority: Priority
) -> None:
    """Send a batch to whichever worker takes it first.

    Raises:
        kombu.exceptions.OperationalError: the broker is away.
    """
    app.send_task(TASK, (list(ids), dispatcher, ticket), queue=QUEUE, priority=PRIORITIES[priority])
