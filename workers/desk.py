"""All that it takes to deliver jobs in one process, on one event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

import structlog

from mailer.dkim.signing import dkim_keys
from mailer.errors import StoreUnavailable
from mailer.message import Message
from mailer.settings import Settings
from mailer.store.agenda import Agenda, Assignment, Commitment, Result
from mailer.store.batches import Batches
from mailer.store.blobs import Blobs
from mailer.store.keys import LANES, Keys
from mailer.store.limits import Limits as StoredLimits
from mailer.store.operation import Operation
from mailer.store.relays import Relays
from mailer.store.runners import AsyncRunner
from workers.batch import Batch
from workers.building import Builder
from workers.clock import ServerClock
from workers.commits import Commits
from workers.contents import Budget, Contents
from workers.delivery import Deliverer
from workers.fetches import Fetches
from workers.fetching import Fetcher
from workers.hooks import SendHooks
from workers.leases import Leases
from workers.letters import Letters
from workers.outcomes.own_rules import rules
from workers.relays.breakers import Breakers
from workers.relays.limiter import Limiter
from workers.relays.limits import Limits
from workers.relays.relay import relays
from workers.relays.routes import Routes
from workers.sandbox.fates import Sandbox
from workers.sandbox.gate import Gate
from workers.sending import Sender
from workers.smtp.orders import Orders
from workers.smtp.pool import pools
from workers.sources import Sources

log = structlog.get_logger()
_TIDY_EVERY = 0.5  # seconds


class Desk:
    """Sessions, relays, limits, contents and leases, and the `Deliverer` that uses them all.

    Must be made on the event loop that it is to run on.

    Args:
        worker: who it is, for attempts and leases.
        note: told, before the final dot, who may have a message from then on.

    Attributes:
        services: what must run as long as it is in use.
        orders: what waits in line for a session; see `Deliverer`.
    """

    def __init__(
        self,
        worker: str,
        settings: Settings,
        note: Callable[[Commitment], None] | None = None,
    ) -> None:
        keys = Keys(settings.key_prefix)
        self.runner = AsyncRunner.connect(
            settings.redis_url.get_secret_value(), settings.store_timeout_seconds
        )
        self.agenda = Agenda(keys)
        self.clock = ServerClock()
        self.leases = Leases(self.agenda, self.runner, settings.lease_seconds)
        self.dkim = dkim_keys(settings)
        self.relays = relays(settings)
        self.sandbox = Sandbox.read(settings)
        self.breakers = Breakers(worker, Relays(keys), self.runner, self.clock, self.later)
        self._worker = worker
        self._settings = settings
        self._commits = Commits(self.agenda, self.runner, note)
        self._pools = pools(self.relays, settings)
        self.orders = {
            name: [Orders(pool, urgency) for urgency in range(len(LANES))]
            for name, pool in self._pools.items()
        }
        self._limiter = Limiter(worker, StoredLimits(keys), self.runner, self.clock, self.later)
        self.letters = Letters(Batches(keys), self.runner)
        self._blobs = Blobs(keys)
        self._sources = Sources(self._blobs, self.runner, settings.attachment_roots)
        self._budget = Budget()
        self._fetcher = Fetcher(settings)
        self._hooks = SendHooks.read(settings)
        self._background: set[asyncio.Task[Any]] = set()

    def deliverer(
        self,
        record: Callable[[Result], None],
        give_up: Callable[[], None],
        alone: Callable[[Assignment, Batch], None],
    ) -> Deliverer:
        """Make the one who delivers; see there."""
        settings, fetch = self._settings, self._fetcher.fetch
        most = settings.max_attachment_bytes
        sender = Sender(
            pools=self._pools,
            breakers=self.breakers,
            limits=Limits.read(settings),
            limiter=self._limiter,
            fetches=Fetches(self.agenda, self._blobs, self.runner, fetch, most),
            hooks=self._hooks,
            builder=Builder(self.dkim),
            leases=self.leases,
            commits=self._commits,
            clock=self.clock,
            rules=rules(settings),
        )
        routes = Routes.read(settings, self.relays)
        groups, send, orders = routes.groups, sender.send, self.orders
        if self.sandbox:
            groups = partial(self.sandbox.groups, routes)
            send = Gate(self.sandbox, sender).send
            orders = {}
        return Deliverer(
            worker=self._worker,
            groups=groups,
            send=send,
            sender=sender,
            orders=orders,
            policy=settings.retry_policy,
            record=record,
            alone=alone,
            give_up=give_up,
        )

    @property
    def services(self) -> list[Coroutine[Any, Any, None]]:
        """Make the coroutines that must run until they are canceled."""
        return [
            self.leases.keep_renewing(),
            self.breakers.keep_watching(),
            self._limiter.keep_watching(),
            self._keep_pools_tidy(),
        ]

    def contents(self, messages: Iterable[Message]) -> Contents:
        """Give the contents of some messages' attachments."""
        return Contents(self._sources, self._budget, messages)

    def later(self, *operations: Operation[Any]) -> None:
        """Run what nobody waits for, and nothing depends on, in one round trip."""
        self.keep(self._unless_away(operations))

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside all else."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Close sessions and connections."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
        await self._fetcher.close()
        if self._hooks:
            self._hooks.close()
        await canceled(self._background)
        await self.runner.close()

    async def _unless_away(self, operations: Sequence[Operation[Any]]) -> None:
        try:
            await self.runner.run_many(operations)
        except StoreUnavailable as error:
            log.debug("not written", reason=str(error))

    async def _keep_pools_tidy(self) -> None:
        while True:
            await asyncio.sleep(min(_TIDY_EVERY, self._settings.smtp_idle_seconds / 4))
            for pool in self._pools.values():
                pool.tidy()


async def canceled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended: redis-py swallows a cancellation now and then."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.05)
