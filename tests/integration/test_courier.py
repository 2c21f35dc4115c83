"""A courier over a real Redis and an SMTP server, all in this process; no Celery is between."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import attrs
import pytest

from mailer.errors import StoreUnavailable
from mailer.job import Decision, JobState, Priority
from mailer.loading import load_settings
from mailer.store.runners import AsyncRunner
from mailer.testing import Options, SmtpServer, slow
from workers.courier import Courier
from workers.quarantine import Quarantine


@pytest.fixture
def store(real_store):
    return real_store


class Events:
    """Tells nobody."""

    def began(self, jobs):
        pass

    def ended(self, result):
        pass

    def canceled(self, ids):
        pass

    async def keep_publishing(self):
        await asyncio.Event().wait()

    async def publish(self):
        pass


@attrs.frozen
class Office:
    """A courier at work, and the relay that it sends to."""

    courier: Courier
    server: SmtpServer
    faults_of_ours: list

    async def accept(self, *ids):
        await self.courier.accept(ids, "", "")


@pytest.fixture
def working(redis_server, key_prefix):
    """Runs a courier; what its dispatcher publishes goes nowhere, unless the test says where."""

    async def nowhere(ids, dispatcher, ticket, priority):
        pass

    @asynccontextmanager
    async def run(*faults, publish=nowhere, **settings):
        async with SmtpServer(Options(faults=list(faults))) as server:
            given = load_settings(
                redis_url=redis_server.url,
                key_prefix=key_prefix,
                relay_url=f"smtp://127.0.0.1:{server.port}",
                **settings,
            )

            gave_up = []
            courier = Courier("w1", given, publish, Events(), lambda: gave_up.append(True))
            yield Office(courier, server, gave_up)
            if not courier._draining:
                await courier.drain()
            assert not gave_up

    return run


async def until(condition):
    """Wait until the awaitable that ``condition()`` gives is true."""
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


async def in_state(store, job_id, state):
    await until(lambda: _is(store, job_id, state))


async def _is(store, job_id, state):
    return await store.state(job_id) is state


async def test_an_email_goes_from_the_agenda_to_the_relay(store, working):
    """The whole loop in fair weather: claim, begin, send, finish."""

    async def publish(ids, dispatcher, ticket, _):
        await office.courier.accept(ids, dispatcher, ticket)

    (job_id,) = await store.enqueued()
    async with working(publish=publish) as office:
        await in_state(store, job_id, JobState.SENT)
    job = await store.job(job_id)
    assert [attempt.decision for attempt in job.attempts] == [Decision.SENT]
    assert [message.message_id for message in office.server.state.received] == [job.message_id]


async def test_a_lease_is_renewed_while_its_transaction_goes_on(store, working):
    (job_id,) = await store.enqueued()
    leases = set()
    async with working(slow(1.0), lease_seconds=0.6) as office:
        await office.accept(job_id)
        while lease := store.record(job_id).get(b"lease"):
            leases.add(lease)
            await asyncio.sleep(0.01)
    assert len(leases) > 1
    assert await store.state(job_id) is JobState.SENT


async def test_at_a_stop_what_waits_is_handed_back_and_what_is_under_way_is_sent(store, working):
    first, second = await store.enqueued(2)
    async with working(slow(0.3), connections=1) as office:
        await office.accept(first)
        await until(lambda: _heard_of(office.server))
        await office.accept(second)
        await office.courier.drain()
    assert await store.state(first) is JobState.SENT
    job = await store.job(second)
    assert (job.state, job.attempts) == (JobState.QUEUED, ())
    ((_, due),) = store.agenda_of(second)
    assert due <= store.now_ms()


async def test_at_a_stop_what_waits_behind_a_message_on_its_session_is_handed_back(store, working):
    """By DATA: what was taken together with it, and built already."""
    ids = await store.enqueued(6)
    async with working(slow(0.3), connections=1) as office:
        office.server.state.options.extensions = ("PIPELINING", "8BITMIME")
        await office.accept(*ids)
        await until(lambda: _heard_of(office.server))
        await office.courier.drain()
    states = Counter([await store.state(job_id) for job_id in ids])
    assert states[JobState.SENT] == office.server.state.count <= 3
    assert states[JobState.QUEUED] == 6 - states[JobState.SENT]


async def _heard_of(server):
    return server.state.clients


async def test_at_a_stop_the_dispatcher_keeps_nothing_that_it_claimed(store, working):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def publish(*_):
        begun.set()
        await go_on.wait()

    await store.enqueued(6)
    async with working(publish=publish, batch_size=2) as office:
        await begun.wait()
        stop = asyncio.create_task(office.courier.drain())
        await asyncio.sleep(0)
        go_on.set()
        await stop
    claim = await store.run(store.agenda.claim(10, 10, 60))
    assert len(claim.ids[Priority.NORMAL]) == 4, "all but the batch that was under way"


async def test_a_batch_that_comes_during_a_stop_is_due_again_at_once(store, working):
    published = asyncio.Queue()

    async def publish(ids, *_):
        published.put_nowait(ids)

    job_ids = await store.enqueued(2)
    async with working(slow(0.3), publish=publish) as office:
        first, second = await asyncio.wait_for(published.get(), 10)
        await office.accept(first)
        stop = asyncio.create_task(office.courier.drain())
        await until(lambda: _ceased(office.courier))
        await office.accept(second)
        await stop
    assert sorted([first, second]) == sorted(job_ids)
    assert await store.state(second) is JobState.QUEUED
    ((_, due),) = store.agenda_of(second)
    assert due <= store.now_ms(), "no dispatch timeout has to pass"


async def _ceased(courier):
    return courier._dispatching.done()


async def test_a_worker_stops_once_its_results_are_on_record(store, working, monkeypatch):
    """Redis takes no result at first: the stop waits for it."""
    monkeypatch.setattr("workers.journal._FIRST_WAIT", 0.05)
    (job_id,) = await store.enqueued()
    run, refusals = AsyncRunner.run, iter(range(2))

    async def refuse_results(self, operation, **options):
        refused = operation.script and operation.script.name == "finish"
        if refused and next(refusals, None) is not None:
            raise StoreUnavailable("away")
        return await run(self, operation, **options)

    monkeypatch.setattr(AsyncRunner, "run", refuse_results)
    async with working() as office:
        await office.accept(job_id)
        await until(lambda: _has_accepted(office.server))
        await office.courier.drain()
        assert await store.state(job_id) is JobState.SENT


async def _has_accepted(server):
    return server.state.count


@pytest.mark.parametrize(("crashes", "alone"), [(1, False), (2, True)])
async def test_an_email_that_was_lost_twice_is_delivered_alone(
    store, working, monkeypatch, crashes, alone
):
    taken = []

    async def take(self, job, batch):
        taken.append(job.lease.job_id)

    monkeypatch.setattr(Quarantine, "deliver", take)
    (job_id,) = await store.enqueued()
    store.raw.hset(store.keys.job(job_id), "crashes", crashes)
    async with working() as office:
        await office.accept(job_id)
        await in_state(store, job_id, JobState.SENDING if alone else JobState.SENT)
    assert (taken == [job_id]) is alone
