"""The one Celery task: it carries job ids, and nothing else."""

from typing import Any

import structlog

from mailer.errors import StoreUnavailable
from workers.app import app
from workers.carriage import TASK

log = structlog.get_logger()


@app.task(name=TASK, bind=True, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]  # Celery publishes no types
def deliver(self: Any, ids: list[str], dispatcher: str = "", ticket: str = "") -> None:
    """Begin the delivery of the jobs with these ids; those not due now are passed over.

    Args:
        ids: of jobs that a dispatcher has claimed.
        dispatcher: the worker that did, to be told once they have left the queue.
        ticket: its number for this batch.
    """
    try:
        self.app.courier.accept(ids, dispatcher, ticket)
    except StoreUnavailable as error:  # they are on the agenda, and come up again
        log.warning("batch not begun", jobs=len(ids), reason=str(error))
