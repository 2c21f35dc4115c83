"""One job at a desk: what is looked at and noted before its message is complete."""

import asyncio

import attrs
import pytest

from mailer.job import JobState, RecipientState
from mailer.loading import load_settings
from mailer.testing import Fault, Options, SmtpServer
from workers.batch import Batch
from workers.clock import steady
from workers.delivery import Deliverer
from workers.desk import Desk, canceled

LEASE = 60.0  # seconds


@pytest.fixture
def store(real_store):
    return real_store


@attrs.frozen
class Counter:
    """A desk with one connection to its relay."""

    desk: Desk
    deliverer: Deliverer
    server: SmtpServer
    results: list

    async def deliver(self, job):
        batch = Batch([job], self.desk.contents([]), lambda: None)
        if not self.deliverer.line_up(job, batch):
            await self.deliverer.deliver(job, batch)
        while senders := self.deliverer.senders:
            await asyncio.wait(senders)

    def take(self, job, seconds_ago=0.0):
        """Hold the lease since then."""
        self.desk.clock.heard(job.begun_ms)
        self.desk.leases.take([job.lease], steady() - seconds_ago)

    @property
    def seat(self):
        (pool,) = self.deliverer.sender.pools.values()
        return pool.seat(0)


@pytest.fixture
async def counter(redis_server, key_prefix):
    async with SmtpServer(Options()) as server:
        settings = load_settings(
            redis_url=redis_server.url,
            key_prefix=key_prefix,
            relay_url=f"smtp://127.0.0.1:{server.port}",
            connections=1,
            lease_seconds=LEASE,
        )
        desk, results = Desk("w1", settings), []
        deliverer = desk.deliverer(results.append, lambda: None, lambda *_: None)
        services = [asyncio.create_task(service) for service in desk.services]
        yield Counter(desk, deliverer, server, results)
        await canceled(services)
        await desk.close()


async def test_a_job_that_was_lost_while_it_waited_for_its_turn_is_not_sent(store, counter):
    job = await store.begun()
    counter.take(job)
    async with counter.seat:
        delivery = asyncio.create_task(counter.deliver(job))
        await asyncio.sleep(0)
        counter.desk.leases.drop([job.lease])  # as a renewal does that was told so
    await delivery
    assert (counter.server.state.count, counter.results) == (0, [])


class LeaseGoes(Fault):
    """Has the lease be lost while the server is asked about a recipient."""

    def __init__(self, lose):
        super().__init__("rcpt")
        self.lose = lose

    def applies(self, at, subjects):
        if at == "rcpt":
            self.lose()
        return False


@pytest.mark.parametrize(
    "extensions",
    [("PIPELINING", "CHUNKING"), ("PIPELINING",), ()],
    ids=["chunking", "pipelining", "plain"],
)
async def test_a_job_that_was_lost_while_its_server_was_slow_is_cut_off(store, counter, extensions):
    job = await store.begun()
    counter.take(job)
    counter.server.state.options.extensions = extensions
    loses = LeaseGoes(lambda: counter.desk.leases.drop([job.lease]))
    counter.server.state.options.faults.append(loses)
    await counter.deliver(job)
    assert (counter.server.state.count, counter.results) == (0, [])


async def test_after_a_long_stop_of_the_process_a_job_is_left_alone_and_let_go(store, counter):
    """Or else its lease would be renewed, and nobody would ever deliver it."""
    job = await store.begun()
    counter.take(job, seconds_ago=LEASE)
    await counter.deliver(job)
    assert (counter.server.state.count, counter.results) == (0, [])
    assert len(counter.desk.leases) == 0


class Look(Fault):
    """Looks into Redis when the final dot has come."""

    def __init__(self, store):
        super().__init__("dot")
        self.store, self.seen = store, []

    def applies(self, at, subjects):
        if at == "dot":
            records = self.store.raw.scan_iter(self.store.keys.job("*"))
            self.seen += [self.store.raw.hexists(record, "committed") for record in records]
        return False


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
async def test_at_most_once_is_noted_before_the_message_is_complete(store, counter, delivery):
    look = Look(store)
    counter.server.state.options.faults.append(look)
    for _ in range(2):  # the second one on a warm session
        job = await store.begun(delivery=delivery)
        counter.take(job)
        await counter.deliver(job)
        await store.run(store.agenda.finish(counter.results[-1:]))
        store.raw.delete(store.keys.job(job.lease.job_id))
    assert [result.state for result in counter.results] == [JobState.SENT] * 2
    assert look.seen == [delivery == "at-most-once"] * 2


async def test_at_most_once_a_message_is_cut_off_where_another_worker_has_the_job(store, counter):
    job = await store.begun(delivery="at-most-once")
    counter.take(job)
    store.raw.hincrby(store.keys.job(job.lease.job_id), "token", 1)
    await counter.deliver(job)
    assert (counter.server.state.count, counter.results) == (0, [])


@pytest.mark.parametrize(
    ("delivery", "state"),
    [("at-least-once", RecipientState.PENDING), ("at-most-once", RecipientState.UNCONFIRMED)],
    ids=["at-least-once", "at-most-once"],
)
async def test_a_fault_of_ours_behind_the_dot_leaves_doubt_at_most_once(
    store, counter, monkeypatch, delivery, state
):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("workers.sending.classify", fail)
    job = await store.begun(delivery=delivery)
    counter.take(job)
    await counter.deliver(job)
    (result,) = counter.results
    assert counter.server.state.count == 1
    assert [recipient.state for recipient in result.recipients] == [state]
    assert result.crashes == 1
