"""One row per email in Flower: task events with the job's id, sent beside the loop.

Only ids, states and replies go into events: no address, subject or body. Replies may quote an
address, as in ``550 <jm@example.org> unknown``; those are blanked.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery

from mailer.job import Decision, JobState
from mailer.store.agenda import Assignment, Result

log = structlog.get_logger()
NAME = "mailer.email"
_AGAIN = {Decision.RETRY, Decision.PAUSE, Decision.INTERRUPTED}
_EVERY = 0.2  # seconds between messages of events
_MOST_WAITING = 20_000  # events kept while the broker is away; the oldest go
_ADDRESS = re.compile(r"[^\s<>\"'()\[\],;:]+@[^\s<>\"'()\[\],;:]+")


class TaskEvents:
    """Collects events on the loop, and publishes them together from a thread."""

    def __init__(self, app: Celery, hostname: str) -> None:
        self._app = app
        self._hostname = hostname
        self._waiting: list[tuple[str, dict[str, Any]]] = []

    def began(self, jobs: Sequence[Assignment]) -> None:
        """Announce jobs that this worker has begun."""
        now = time.time()
        for job in jobs:
            uuid = job.lease.job_id
            self._add("task-received", uuid, now, name=NAME, args="", kwargs="", retries=job.tries)
            self._add("task-started", uuid, now)

    def ended(self, result: Result) -> None:
        """Announce what became of an attempt."""
        now, uuid, attempt = time.time(), result.lease.job_id, result.attempt
        if attempt is None:
            return
        reply = _ADDRESS.sub("<address>", attempt.reply or "")
        runtime = (attempt.ended_at or attempt.started_at) - attempt.started_at
        if result.state in {JobState.SENT, JobState.PARTIALLY_SENT}:
            told = {"result": f"{result.state}: {reply}", "runtime": runtime.total_seconds()}
            # what an earlier attempt said is over
            self._add("task-succeeded", uuid, now, **told, eta=None, exception=None)
        elif attempt.decision in _AGAIN and attempt.next_attempt_at:
            eta = attempt.next_attempt_at.isoformat(timespec="seconds")
            told = {"exception": reply, "traceback": None, "retries": result.tries, "eta": eta}
            self._add("task-retried", uuid, now, **told)
        else:
            self._add("task-failed", uuid, now, exception=reply, traceback=None, eta=None)

    def canceled(self, ids: Sequence[str]) -> None:
        """Announce jobs that will not be sent."""
        now = time.time()
        for job_id in ids:
            told = {"terminated": False, "signum": None, "expired": False}
            self._add("task-revoked", job_id, now, **told, eta=None)

    async def keep_publishing(self) -> None:
        """Publish what has collected; runs until it is canceled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.publish()

    async def publish(self) -> None:
        """Publish what has collected. Events are news, not records: on failure they may go."""
        events, self._waiting = self._waiting, []
        if events:
            try:
                await asyncio.to_thread(self._publish, events)
            except Exception as error:  # noqa: BLE001 - the broker client raises what it likes
                log.warning("events not published", events=len(events), reason=repr(error))
                self._waiting = (events + self._waiting)[-_MOST_WAITING:]

    def _add(self, kind: str, uuid: str, now: float, **fields: Any) -> None:
        self._waiting.append((kind, {"uuid": uuid, "timestamp": now, **fields}))

    def _publish(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        # one message for all of them, as Celery's own workers do ("task-multi")
        with self._app.connection_for_write() as connection:
            dispatcher = self._app.events.Dispatcher(
                connection,
                hostname=self._hostname,
                buffer_while_offline=False,
                buffer_group={"task"},
                buffer_limit=len(events) + 1,
            )
            for kind, fields in events:
                dispatcher.send(kind, **fields)
            dispatcher.flush(errors=False)
