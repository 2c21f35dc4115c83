"""All that runs in one worker process beside Celery, on one event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from mailer.errors import StoreUnavailable
from mailer.job import JobState
from mailer.settings import Settings
from mailer.store.agenda import Assignment, Recorded, Result
from mailer.store.events import Events
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys
from mailer.store.suppressions import Suppressions
from workers.batch import Batch
from workers.building import warn_of_unpublished
from workers.clock import steady
from workers.desk import Desk, canceled
from workers.dispatcher import Dispatcher, Portions, Publish
from workers.events import TaskEvents
from workers.journal import Journal
from workers.logs import log_result
from workers.outcomes.settlement import hand_back
from workers.quarantine import Quarantine, belongs_alone
from workers.unknown_users import UnknownUsers
from workers.window import Window

log = structlog.get_logger()
_UNTIL_ANOTHER = 1.0  # seconds between tries while Redis is away


class Courier:
    """Takes batches of job ids, delivers the jobs, and has a dispatcher that makes the batches.

    Must be made on the event loop that it is to run on.

    Args:
        give_up: called where a service failed by a fault of ours: the worker should stop, for it
            would hold leases without delivering.
    """

    def __init__(
        self,
        worker: str,
        settings: Settings,
        publish: Publish,
        events: TaskEvents,
        give_up: Callable[[], None],
    ) -> None:
        keys = Keys(settings.key_prefix)
        self._worker = worker
        self._settings = settings
        self._events = events
        self._give_up = give_up
        self._jobs = Jobs(keys, idempotency_seconds=settings.idempotency_seconds)
        self._desk = desk = Desk(worker, settings)
        self._journal = Journal(desk.agenda, desk.runner, self._recorded)
        self._deliverer = desk.deliverer(self._journal.add, give_up, self._deliver_alone)
        self._unknown_users = UnknownUsers(Suppressions(keys), desk.runner, worker)
        self._quarantine = Quarantine(
            worker, settings.lease_seconds, self._journal.add, self._deliverer.circumstances
        )
        self._dispatcher = Dispatcher(
            worker,
            desk.agenda,
            desk.runner,
            desk.clock,
            Window(
                least=2 * sum(relay.connections for relay in desk.relays.values()),
                most=10 * settings.batch_size,
                expiry=settings.dispatch_timeout_seconds,
            ),
            Portions(
                settings.batch_size, settings.dispatch_timeout_seconds, settings.retention_seconds
            ),
            publish,
            held_up=lambda: desk.breakers.held_up(tuple(desk.relays)),
            probing=lambda: desk.breakers.probing(tuple(desk.relays)),
        )
        self._draining = False
        self._stream = Events(keys)
        self._deliveries: dict[asyncio.Task[None], tuple[Assignment, Batch]] = {}
        desk.keep(warn_of_unpublished(desk.dkim))
        if desk.sandbox:
            log.warning("SANDBOX MODE (MAILER_SANDBOX)", means=str(desk.sandbox))
        self._dispatching = self._serve(self._dispatcher.run())
        self._services = [
            self._serve(self._journal.keep_writing()),
            self._serve(self._unknown_users.keep_writing()),
            self._serve(events.keep_publishing()),
            self._serve(self._have_events_recorded()),
            *map(self._serve, desk.services),
        ]

    async def accept(self, ids: Sequence[str], dispatcher: str, ticket: str) -> None:
        """Begin a batch; returns once its jobs are under way.

        Raises:
            StoreUnavailable: they were not begun, and will be dispatched again.
        """
        desk = self._desk
        if self._draining:
            await desk.runner.run(desk.agenda.undispatch(ids))
            return
        asked_at = steady()
        begin = desk.agenda.begin(ids, self._worker, self._settings.lease_seconds)
        jobs = await desk.runner.run(begin)
        desk.leases.take((job.lease for job in jobs), asked_at)
        if jobs:
            desk.clock.heard(jobs[0].begun_ms)
        self._events.began(jobs)
        jobs, unwritten = await desk.letters.written(jobs)
        for job, reason in unwritten:
            self._journal.add(self._deliverer.unsent(job, reason))
        contents = desk.contents(job.message for job in jobs)
        batch = Batch(jobs, contents, lambda: self._give(dispatcher, ticket))
        for job in jobs:
            if belongs_alone(job) or not self._deliverer.line_up(job, batch):
                self._deliver_alone(job, batch)

    def _deliver_alone(self, job: Assignment, batch: Batch) -> None:
        how = self._quarantine if belongs_alone(job) else self._deliverer
        task = asyncio.create_task(how.deliver(job, batch))
        self._deliveries[task] = (job, batch)
        task.add_done_callback(self._deliveries.pop)

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel those of the jobs that wait, and announce it; returns their ids.

        Raises:
            StoreUnavailable: they may be canceled or not.
        """
        states = await self._desk.runner.run(self._jobs.cancel(ids))
        done = [i for i, state in zip(ids, states, strict=True) if state is JobState.CANCELED]
        self._events.canceled(done)
        return done

    async def drain(self) -> None:
        """Stop: hand back what waits, let running transactions end, and record it all."""
        self._draining = True
        with suppress(TimeoutError):  # a broker may hang
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._dispatcher.cease()
        await canceled([self._dispatching])
        for task, (job, batch) in list(self._deliveries.items()):
            if batch.waits(job):
                task.cancel()
                self._journal.add(hand_back(job))
        self._deliverer.withdraw()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_seconds):
                while self._under_way:
                    await asyncio.wait(self._under_way)
        if late := self._under_way:
            log.warning("transactions cut off (MAILER_SHUTDOWN_SECONDS)", sessions=len(late))
            await canceled(late)
        await self._quarantine.close()
        try:
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._journal.emptied()
        except TimeoutError:
            log.error("results lost with this worker; others take its jobs over")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.store_timeout_seconds):
                await self._unknown_users.emptied()
        await canceled(self._services)
        await self._events.publish()
        await self._desk.close()

    @property
    def _under_way(self) -> list[asyncio.Task[None]]:
        return [*self._deliveries, *self._deliverer.senders]

    async def _have_events_recorded(self) -> None:
        """Tell all processes of which states to record events, where the settings say so."""
        settings = self._settings
        if settings.events is None:
            return
        record = self._stream.record(
            settings.events, settings.events_kept, settings.retention_seconds
        )
        while True:
            try:
                await self._desk.runner.run_many(record)
            except StoreUnavailable:
                await asyncio.sleep(_UNTIL_ANOTHER)
            else:
                return

    def _recorded(self, results: Sequence[Result], done: Sequence[Recorded]) -> None:
        """Learn from the journal that results are on record, or came too late."""
        self._desk.leases.drop(result.lease for result in results)
        for result, recorded in zip(results, done, strict=True):
            if recorded is Recorded.STALE:
                log.warning("lease lost: result not recorded", job=result.lease.job_id)
                continue
            log_result(result)
            if self._settings.suppress_unknown_users:
                self._unknown_users.add(result)
            if recorded is Recorded.CANCELED:
                log.info("canceled: a newer email takes its place", job=result.lease.job_id)
                self._events.canceled([result.lease.job_id])
            else:
                self._events.ended(result)

    def _give(self, dispatcher: str, ticket: str) -> None:
        if dispatcher:
            self._desk.later(*self._desk.agenda.give_ticket(dispatcher, ticket))

    def _serve(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what must not end before it is canceled."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._service_ended)
        return task

    def _service_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("the worker stops, by a fault of ours", exc_info=error)
            self._give_up()
