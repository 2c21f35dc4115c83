"""Celery's remote control: to revoke an email's id, as Flower's button does, cancels its job."""

from collections.abc import Sequence
from typing import Any

import structlog
from celery.worker.control import control_command

from mailer.errors import MailerError

log = structlog.get_logger()


@control_command(  # type: ignore[untyped-decorator]  # Celery publishes no types
    name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]"
)
def revoke(state: Any, task_id: str | Sequence[str], **_: Any) -> dict[str, str]:
    """Cancel jobs that wait. It replaces Celery's own, which would remember ids of no task.

    Every worker gets the command; which of them is the first makes no difference.
    """
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    try:
        canceled = state.app.courier.cancel(ids)
    except MailerError as error:
        log.warning("not canceled", jobs=len(ids), reason=str(error))
        return {"error": str(error)}
    log.info("canceled by remote control", jobs=canceled)
    return {"ok": f"{len(canceled)} of {len(ids)} canceled"}
