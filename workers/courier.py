"""All that runs in one worker process beside Celery, on one event loop."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import structlog

from mailer.dkim.signing import dkim_keys
from mailer.errors import JobNotFound, StoreUnavailable
from mailer.job import JobState
from mailer.settings import Settings
from mailer.store.agenda import Agenda, Assignment, Recorded, Result
from mailer.store.blobs import Blobs
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys
from mailer.store.limits import Limits as StoredLimits
from mailer.store.operation import Operation
from mailer.store.relays import Relays
from mailer.store.runners import AsyncRunner
from mailer.store.suppressions import Suppressions
from workers.batch import Batch
from workers.building import Builder, warn_of_unpublished
from workers.clock import ServerClock
from workers.commits import Commits
from workers.contents import Budget, Contents
from workers.delivery import Deliverer
from workers.dispatcher import Dispatcher, Portions, Publish
from workers.events import TaskEvents
from workers.fetches import Fetches
from workers.fetching import Fetcher
from workers.journal import Journal
from workers.leases import Leases
from workers.logs import log_result
from workers.outcomes.own_rules import rules
from workers.outcomes.settlement import hand_back
from workers.relays.breakers import Breakers
from workers.relays.limiter import Limiter
from workers.relays.limits import Limits
from workers.relays.relay import relays
from workers.relays.routes import Routes
from workers.sending import Sender
from workers.smtp.pool import pools
from workers.sources import Sources
from workers.unknown_users import UnknownUsers
from workers.window import Window

log = structlog.get_logger()


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
        url, timeout = settings.redis_url.get_secret_value(), settings.store_timeout_seconds
        self._worker = worker
        self._settings = settings
        self._events = events
        self._give_up = give_up
        self._agenda = Agenda(keys)
        self._jobs = Jobs(keys, idempotency_seconds=settings.idempotency_seconds)
        self._runner = AsyncRunner.connect(url, timeout)
        self._clock = ServerClock()
        self._leases = Leases(self._agenda, self._runner, settings.lease_seconds)
        self._unknown_users = UnknownUsers(Suppressions(keys), self._runner, worker)
        self._journal = Journal(self._agenda, self._runner, self._recorded)
        blobs = Blobs(keys)
        self._sources = Sources(blobs, self._runner, settings.attachment_roots)
        self._budget = Budget()
        self._fetcher = Fetcher(settings)
        dkim = dkim_keys(settings)
        named = relays(settings)
        self._relays = tuple(named)
        self._breakers = Breakers(worker, Relays(keys), self._runner, self._clock, self._later)
        self._pools = pools(named, settings)
        self._limiter = Limiter(worker, StoredLimits(keys), self._runner, self._clock, self._later)
        sender = Sender(
            pools=self._pools,
            breakers=self._breakers,
            limits=Limits.read(settings),
            limiter=self._limiter,
            fetches=Fetches(
                self._agenda,
                blobs,
                self._runner,
                self._fetcher.fetch,
                settings.max_attachment_bytes,
            ),
            builder=Builder(dkim),
            leases=self._leases,
            commits=Commits(self._agenda, self._runner),
            clock=self._clock,
            rules=rules(settings),
        )
        self._deliverer = Deliverer(
            worker, Routes.read(settings, named), sender, settings.retry_policy, self._journal.add
        )
        self._dispatcher = Dispatcher(
            worker,
            self._agenda,
            self._runner,
            self._clock,
            Window(
                least=2 * sum(relay.connections for relay in named.values()),
                most=10 * settings.batch_size,
                expiry=settings.dispatch_timeout_seconds,
            ),
            Portions(
                settings.batch_size, settings.dispatch_timeout_seconds, settings.retention_seconds
            ),
            publish,
            held_up=lambda: self._breakers.held_up(self._relays),
            probing=lambda: self._breakers.probing(self._relays),
        )
        self._draining = False
        self._deliveries: dict[asyncio.Task[None], tuple[Assignment, Batch]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._keep(warn_of_unpublished(dkim))
        self._dispatching = self._serve(self._dispatcher.run())
        self._services = [
            self._serve(self._journal.keep_writing()),
            self._serve(self._unknown_users.keep_writing()),
            self._serve(self._leases.keep_renewing()),
            self._serve(events.keep_publishing()),
            self._serve(self._breakers.keep_watching()),
            self._serve(self._limiter.keep_watching()),
            self._serve(self._keep_closing_idle_sessions()),
        ]

    async def accept(self, ids: Sequence[str], dispatcher: str, ticket: str) -> None:
        """Begin a batch; returns once its jobs are under way.

        Raises:
            StoreUnavailable: they were not begun, and will be dispatched again.
        """
        if self._draining:
            await self._runner.run(self._agenda.undispatch(ids))
            return
        asked_at = time.monotonic()
        begin = self._agenda.begin(ids, self._worker, self._settings.lease_seconds)
        jobs = await self._runner.run(begin)
        self._leases.take((job.lease for job in jobs), asked_at)
        if jobs:
            self._clock.heard(jobs[0].begun_ms)
        self._events.began(jobs)
        contents = Contents(self._sources, self._budget, (job.message for job in jobs))
        batch = Batch(jobs, contents, lambda: self._give(dispatcher, ticket))
        for job in jobs:
            task = asyncio.create_task(self._deliverer.deliver(job, batch))
            self._deliveries[task] = (job, batch)
            task.add_done_callback(self._deliveries.pop)

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel those of the jobs that wait, and announce it; returns their ids.

        Raises:
            StoreUnavailable: some may be canceled, others not.
        """
        canceled = []
        for job_id in ids:
            with suppress(JobNotFound):
                if await self._runner.run(self._jobs.cancel(job_id)) is JobState.CANCELED:
                    canceled.append(job_id)
        self._events.canceled(canceled)
        return canceled

    async def drain(self) -> None:
        """Stop: hand back what waits, let running transactions end, and record it all."""
        self._draining = True
        await _canceled([self._dispatching])
        for task, (job, batch) in list(self._deliveries.items()):
            if batch.waits(job):
                task.cancel()
                self._journal.add(hand_back(job))
        if self._deliveries:
            _, late = await asyncio.wait(self._deliveries, timeout=self._settings.shutdown_seconds)
            if late:
                log.warning("transactions cut off (MAILER_SHUTDOWN_SECONDS)", jobs=len(late))
                await _canceled(late)
        try:
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._journal.emptied()
        except TimeoutError:
            log.error("results lost with this worker; others take its jobs over")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.store_timeout_seconds):
                await self._unknown_users.emptied()
        await _canceled(self._services)
        await self._events.publish()
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        await self._fetcher.close()
        await _canceled(self._background)
        await self._runner.close()

    def _recorded(self, results: Sequence[Result], done: Sequence[Recorded]) -> None:
        """Learn from the journal that results are on record, or came too late."""
        self._leases.drop(result.lease for result in results)
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
            for operation in self._agenda.give_ticket(dispatcher, ticket):
                self._later(operation)

    def _later(self, operation: Operation[Any]) -> None:
        """Run what nobody waits for, and nothing depends on."""
        self._keep(self._unless_away(operation))

    async def _unless_away(self, operation: Operation[Any]) -> None:
        try:
            await self._runner.run(operation)
        except StoreUnavailable as error:
            log.debug("not written", reason=str(error))

    async def _keep_closing_idle_sessions(self) -> None:
        while True:
            await asyncio.sleep(self._settings.smtp_idle_seconds / 4)
            for pool in self._pools.values():
                pool.close_idle()

    def _serve(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what must not end before it is canceled."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._service_ended)
        return task

    def _service_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            log.critical("the worker stops, by a fault of ours", exc_info=error)
            self._give_up()

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _canceled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: redis-py swallows a cancellation now and then."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.05)
