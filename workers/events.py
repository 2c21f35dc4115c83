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
from typing import Any, NamedTuple

import msgspec
import structlog
from celery import Celery
from celery.events.event import get_exchange
from celery.utils.time import utcoffset
from kombu.entity import TRANSIENT_DELIVERY_MODE

from mailer.job import Attempt, Decision, JobState
from mailer.store.agenda import Assignment, Result

log = structlog.get_logger()
NAME = "mailer.email"
_AGAIN = {Decision.RETRY, Decision.PAUSE, Decision.INTERRUPTED}
_KEPT = 7.0  # seconds from the start, for which events are kept; Flower asks every five
_EVERY = 0.2  # seconds between messages of events
_MOST_WAITING = 20_000  # news kept while the broker is away or nobody asks; the oldest go
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
        self._news: deque[_Begun | _Ended | _Canceled] = deque(maxlen=_MOST_WAITING)

    def began(self, jobs: Sequence[Assignment]) -> None:
        """Announce jobs that this worker has begun."""
        if self._are_kept:
            now = time.time()
            self._news += [_Begun(now, job.lease.job_id, job.tries) for job in jobs]

    def ended(self, result: Result) -> None:
        """Announce what became of an attempt."""
        if self._are_kept and result.attempt:
            self._news.append(_Ended(time.time(), result, result.attempt))

    def canceled(self, ids: Sequence[str]) -> None:
        """Announce jobs that will not be sent."""
        if self._are_kept:
            now = time.time()
            self._news += [_Canceled(now, job_id) for job_id in ids]

    async def keep_publishing(self) -> None:
        """Publish what has collected; runs until it is canceled."""
        while True:
            await asyncio.sleep(_EVERY)
            await self.publish()
            if not self._wanted() and time.monotonic() > self._kept_until:
                self._are_kept = False
                self._news.clear()
            else:
                self._are_kept = True

    async def publish(self) -> None:
        """Publish what has collected. Events are news, not records: on failure they may go."""
        if not self._wanted():
            return
        news = list(self._news)
        self._news.clear()
        if news:
            try:
                await asyncio.to_thread(self._publish, news)
            except Exception as error:  # noqa: BLE001 - the broker client raises what it likes
                log.warning("events not published", events=len(news), reason=repr(error))
                self._news = deque([*news, *self._news], _MOST_WAITING)

    def _publish(self, news: Sequence["_Begun | _Ended | _Canceled"]) -> None:
        """Publish one message for all of them, as Celery's own workers do ("task-multi").

        Not by Celery's dispatcher: its way through kombu costs four times as much an event.
        """
        events = []
        for item in news:
            for fields in item.events():
                clock = self._app.clock.forward()
                events.append({**fields, "timestamp": item.at, "clock": clock, **self._common})
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


class _Begun(NamedTuple):
    at: float
    job_id: str
    tries: int

    def events(self) -> list[dict[str, Any]]:
        received = {"type": "task-received", "uuid": self.job_id, "args": "", "kwargs": ""}
        started = {"type": "task-started", "uuid": self.job_id}
        return [{**received, "retries": self.tries}, started]


class _Ended(NamedTuple):
    at: float
    result: Result
    attempt: Attempt

    def events(self) -> list[dict[str, Any]]:
        return [{"uuid": self.result.lease.job_id, **self._told()}]

    def _told(self) -> dict[str, Any]:
        result, attempt = self.result, self.attempt
        reply = _ADDRESS.sub("<address>", attempt.reply or "")
        if result.state in {JobState.SENT, JobState.PARTIALLY_SENT}:
            runtime = (attempt.ended_at or attempt.started_at) - attempt.started_at
            told = {"result": f"{result.state}: {reply}", "runtime": runtime.total_seconds()}
            # what an earlier attempt said is over
            return {"type": "task-succeeded", **told, "eta": None, "exception": None}
        if attempt.decision in _AGAIN and attempt.next_attempt_at:
            told = {"exception": reply, "traceback": None, "retries": result.tries}
            eta = attempt.next_attempt_at.isoformat(timespec="seconds")
            return {"type": "task-retried", **told, "eta": eta}
        return {"type": "task-failed", "exception": reply, "traceback": None, "eta": None}


class _Canceled(NamedTuple):
    at: float
    job_id: str

    def events(self) -> list[dict[str, Any]]:
        told = {"terminated": False, "signum": None, "expired": False, "eta": None}
        return [{"type": "task-revoked", "uuid": self.job_id, **told}]
