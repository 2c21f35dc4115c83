"""The one Celery task: it carries job ids, and nothing else."""

from typing import Any

from workers.app import app
from workers.carriage import TASK


@app.task(name=TASK, bind=True, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]  # Celery publishes no types
def deliver(self: Any, ids: list[str], dispatcher: str = "", ticket: str = "") -> None:
    """Begin the delivery of the jobs with these ids; those not due now are passed over.

    Args:
        ids: of jobs that a dispatcher has claimed.
        dispatcher: the worker that did, to be told once they have left the queue.
        ticket: its number for this batch.
    """
    self.app.courier.accept(ids, dispatcher, ticket)
