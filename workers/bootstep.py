"""Ties the courier to the life of a Celery worker."""

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.platforms import EX_FAILURE
from celery.worker import state

from mailer.errors import InvalidSetting
from mailer.job import Priority
from workers.carriage import publish
from workers.courier import Courier
from workers.events import TaskEvents
from workers.logs import configure_logs
from workers.loop import LoopThread

log = structlog.get_logger()


class CourierStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery publishes no types
    """Starts the courier before the worker consumes, and drains it after the worker has ceased."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        pool = worker.pool_cls.__module__.rpartition(".")[2]
        if pool != "thread":
            raise InvalidSetting(
                f"--pool={pool}: the mailer's workers use threads; for more cores, run more workers"
            )
        self._courier: CourierThread | None = None

    def start(self, worker: Any) -> None:
        """Start the event loop and all that runs on it."""
        configure_logs()
        try:
            self._courier = worker.app.courier = CourierThread(
                worker.app, worker.hostname, partial(_task_events_wanted, worker)
            )
        except InvalidSetting as error:  # an operator's mistake, which needs no traceback
            log.critical("the worker does not start", reason=str(error))
            raise SystemExit(os.EX_CONFIG) from None
        _collect_seldom()

    def stop(self, worker: Any) -> None:
        """Let transactions end and hand back the rest (SIGTERM)."""
        if self._courier:
            self._courier.drain()

    def terminate(self, worker: Any) -> None:
        """Stop without waiting (SIGQUIT): as after a crash, leases bring the jobs back."""


def _collect_seldom() -> None:
    """Have Python look for cycles among what comes and goes, and seldom: emails make none.

    Looking as often as by default takes a quarter of a worker's time (docs/decisions/0018).
    """
    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(50_000, 10, 10)


def _task_events_wanted(worker: Any) -> bool:
    """Whether a monitor has asked for task events (``enable_events``), or ``-E`` did."""
    dispatcher = worker.consumer.event_dispatcher if worker.consumer else None
    return dispatcher is not None and (not dispatcher.groups or "task" in dispatcher.groups)


def _stop_worker() -> None:
    """Have Celery stop this worker in order, with an exit code that asks for a new one."""
    state.should_stop = EX_FAILURE


class CourierThread:
    """The courier on its loop, as Celery's threads see it."""

    def __init__(self, app: Celery, hostname: str, events_wanted: Callable[[], bool]) -> None:
        self._thread = LoopThread()

        async def publish_batch(
            ids: Sequence[str], dispatcher: str, ticket: str, priority: Priority
        ) -> None:
            # kombu blocks; a thread does it, so that the loop goes on
            await asyncio.to_thread(publish, app, ids, dispatcher, ticket, priority)

        events = TaskEvents(app, hostname, events_wanted)
        self._courier = self._thread.call(
            lambda: Courier(hostname, app.settings, publish_batch, events, _stop_worker)
        )

    def accept(self, ids: Sequence[str], dispatcher: str, ticket: str) -> None:
        """Hand a batch to the courier; returns once its jobs are under way."""
        self._thread.submit(self._courier.accept(ids, dispatcher, ticket)).result()

    def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel those of the jobs that wait; returns their ids."""
        return self._thread.submit(self._courier.cancel(ids)).result()

    def drain(self) -> None:
        """Stop; see `Courier.drain`. The loop stays for batches that Celery still hands in."""
        self._thread.submit(self._courier.drain()).result()
