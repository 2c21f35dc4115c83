"""One row per email in Flower: task events with the job's id, sent beside the loop.

Only ids, states and replies go into events: no address, subject or body. Replies may quote an
address, as in ``550 <jm@example.org> unknown``; those are blanked.
"""

import asyncio
import os
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog
from celery import Celery
from celery.events.event import get_exchange
from celery.utils.time import utcoffset
from kombu.entity import TRANSIENT_DELIVERY_MODE

from mailer.job import Decision, JobState
from mailer.store.agenda import Assignment, Result

log = structlog.get_logger()
NAME = "mailer.email"
_AGAIN = {Decision.RETRY, Decision.PAUSE, Decision.INTERRUPTED}
_KEPT = 7.0  # seconds from the start, for which events are kept; Flower asks every five
_EVERY = 0.2  # seconds between messages of events
_MOST_WAITING = 20_000  # events kept while the broker is away or nobody asks; the oldest go
_ADDRESS = re.compile(r"[^\s<>\"'()\[\],;:]+@[^\s<>\"'()\[\],;:]+")


class TaskEvents:
    """Collects events on the loop, and publishes them together from a thread.

    Monitors ask for them, again and again, by ``enable_events``; where none does, they cost
    nothing. A worker that has just started keeps them for a while: a monitor that was there before
    it misses none.

    Args:
        wanted: whether a monitor has asked.
    """

    def __init__(self, app: Celery, hostname: str, wanted: Callable[[], bool]) -> None:
        self._app = app
        self._wanted = wanted
        self._kept_until = time.monotonic() + _KEPT
        self._are_kept = True
        self._common = {
            "name": NAME,
            "hostname": hostname,
            "pid": os.getpid(),
            "utcoffset": utcoffset(),
        }
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)

    def began(self, jobs: Sequence[Assignment]) -> None:
        """Announce jobs that this worker has begun."""
        if not self._are_kept:
            return
        now = time.time()
        for job in jobs:
            uuid = job.lease.job_id
            self._add("task-received", uuid, now, args="", kwargs="", retries=job.tries)
            self._add("task-started", uuid, now)

    def ended(self, result: Result) -> None:
        """Announce what became of an attempt."""
        now, uuid, attempt = time.time(), result.lease.job_id, result.attempt
        if attempt is None or not self._are_kept:
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
        if not self._are_kept:
            return
        now = time.time()
        for job_id in ids:
            told = {"terminated": False, "signum": None, "expired": False}
            self._add("task-revoked", job_id, now, **told, eta=None)

    async def keep_publishing(self) -> None:
        """Publish what has collected; runs until it is canceled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.publish()
            if not self._wanted() and time.monotonic() > self._kept_until:
                self._are_kept = False
                self._waiting.clear()
            else:
                self._are_kept = True

    async def publish(self) -> None:
        """Publish what has collected. Events are news, not records: on failure they may go."""
        if not self._wanted():
            return
        events = list(self._waiting)
        self._waiting.clear()
        if events:
            try:
                await asyncio.to_thread(self._publish, events)
            except Exception as error:  # noqa: BLE001 - the broker client raises what it likes
                log.warning("events not published", events=len(events), reason=repr(error))
                self._waiting = deque([*events, *self._waiting], _MOST_WAITING)

    def _add(self, kind: str, uuid: str, now: float, **fields: Any) -> None:
        event = {"type": kind, "uuid": uuid, "timestamp": now, **fields, **self._common}
        self._waiting.append(event)

    def _publish(self, events: list[dict[str, Any]]) -> None:
        """Publish one message for all of them, as Celery's own workers do ("task-multi").

        Not by Celery's dispatcher: its way through kombu costs four times as much an event.
        """
        for event in events:
            event["clock"] = self._app.clock.forward()
        with self._app.producer_pool.acquire(block=True) as producer:
            exchange = get_exchange(producer.connection, self._app.conf.event_exchange)
            producer.publish(
                msgspec.json.encode(events),
                content_type="application/json",
                content_encoding="utf-8",
                exchange=exchange.name,
                routing_key="task.multi",
                declare=[exchange],
                delivery_mode=TRANSIENT_DELIVERY_MODE,
                headers={"hostname": self._common["hostname"]},
                retry=False,
            )
