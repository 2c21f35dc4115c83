"""The dispatcher over a real Redis; what it publishes is caught here."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from mailer import Email, Mailer, Priority, load_settings
from mailer.store.agenda import Agenda
from mailer.store.keys import Keys
from mailer.store.runners import AsyncRunner
from workers.clock import ServerClock
from workers.dispatcher import Dispatcher, Portions
from workers.window import Window


@pytest.fixture
def dispatching(redis_server, key_prefix):
    """Runs a dispatcher; gives the queue of the batches that it publishes."""

    @asynccontextmanager
    async def run(worker="w1", least=10, held_up=lambda: 0.0, probing=lambda: False, publish=None):
        batches = asyncio.Queue()

        async def catch(*batch):
            batches.put_nowait(batch)

        runner = AsyncRunner.connect(redis_server.url, 5)
        dispatcher = Dispatcher(
            worker,
            Agenda(Keys(key_prefix)),
            runner,
            ServerClock(),
            Window(least=least, most=10 * least, expiry=60),
            Portions(batch_size=4, dispatch_timeout=60, retention=3600),
            publish or catch,
            held_up=held_up,
            probing=probing,
        )
        task = asyncio.create_task(dispatcher.run())
        batches.dispatcher = dispatcher
        try:
            yield batches
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.05)
            await runner.close()

    return run


@pytest.fixture
def mailer(redis_server, key_prefix):
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    with Mailer(settings=settings) as mailer:
        yield mailer


def emails(count=1, **fields):
    return [Email(from_email="a@example.com", to="b@example.org", **fields)] * count


async def test_what_is_due_is_published_in_batches(dispatching, mailer):
    ids = [receipt.id for receipt in mailer.enqueue_many(emails(10))]
    async with dispatching() as batches:
        published = [await batches.get() for _ in range(3)]
    assert [len(batch[0]) for batch in published] == [4, 4, 2]
    assert sorted(job_id for batch in published for job_id in batch[0]) == sorted(ids)
    assert {batch[3] for batch in published} == {Priority.NORMAL}


async def test_an_idle_one_is_woken_at_once(dispatching, mailer):
    async with dispatching() as batches:
        for _ in range(5):
            began = time.monotonic()
            (receipt,) = await asyncio.to_thread(mailer.enqueue_many, emails())
            ids, *_ = await batches.get()
            assert ids == [receipt.id]
            assert time.monotonic() - began < 0.5


async def test_no_more_is_published_than_workers_may_soon_take(dispatching, mailer):
    mailer.enqueue_many(emails(30))
    async with dispatching(least=10) as batches:
        first = [await batches.get() for _ in range(3)]
        assert sum(len(ids) for ids, *_ in first) == 10
        assert batches.empty()
        await asyncio.to_thread(mailer.enqueue_many, emails(priority="high"))
        urgent, *_, priority = await batches.get()
        assert (len(urgent), priority) == (1, Priority.HIGH)
        assert batches.empty()


async def test_a_ticket_that_comes_back_makes_room(dispatching, mailer, redis_server, key_prefix):
    mailer.enqueue_many(emails(12))
    agenda, runner = Agenda(Keys(key_prefix)), AsyncRunner.connect(redis_server.url, 5)
    async with dispatching(least=8) as batches:
        _, name, ticket, _ = await batches.get()
        await batches.get()
        assert batches.empty()
        for operation in agenda.give_ticket(name, ticket):
            await runner.run(operation)
        ids, *_ = await batches.get()
        assert len(ids) == 4
    await runner.close()


async def test_dispatchers_of_one_worker_s_name_have_names_of_their_own(dispatching, mailer):
    """Two machines may be cloned, and a restarted worker finds tickets of the one before."""
    names = set()
    for _ in range(2):
        mailer.enqueue_many(emails())
        async with dispatching("w1") as batches:
            _, name, *_ = await batches.get()
            names.add(name)
    assert len(names) == 2


async def test_while_the_relay_is_paused_nothing_is_claimed_and_then_one_to_probe(
    dispatching, mailer
):
    mailer.enqueue_many(emails(10))
    pause = 60.0
    async with dispatching(held_up=lambda: pause, probing=lambda: True) as batches:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batches.get(), 0.3)
        pause = 0.0
        ids, *_ = await batches.get()
        assert len(ids) == 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batches.get(), 0.3)


async def test_what_the_broker_does_not_take_is_due_again(dispatching, mailer):
    (receipt,) = mailer.enqueue_many(emails())
    offered = asyncio.Queue()

    async def publish(ids, *_):
        offered.put_nowait(ids)
        if offered.qsize() == 1:
            raise ConnectionError("the broker is away")

    async with dispatching(publish=publish):
        async with asyncio.timeout(10):
            while offered.qsize() < 2:
                await asyncio.sleep(0.01)
    assert [offered.get_nowait() for _ in range(2)] == [[receipt.id]] * 2


async def test_at_a_stop_what_was_claimed_is_published_or_due_again_at_once(
    dispatching, mailer, redis_server, key_prefix
):
    ids = {receipt.id for receipt in mailer.enqueue_many(emails(12))}
    published, begun, go_on = [], asyncio.Event(), asyncio.Event()

    async def publish(ids, *_):
        begun.set()
        await go_on.wait()
        published.extend(ids)

    agenda, runner = Agenda(Keys(key_prefix)), AsyncRunner.connect(redis_server.url, 5)
    async with dispatching(least=12, publish=publish) as batches:
        await begun.wait()
        stop = asyncio.create_task(batches.dispatcher.cease())
        await asyncio.sleep(0)
        assert not stop.done()
        go_on.set()
        await stop
        claim = await runner.run(agenda.claim(12, 12, 60))
        assert len(published) == 4, "the batch that was under way"
        assert {*published, *claim.ids[Priority.NORMAL]} == ids
    await runner.close()


async def test_after_a_stop_nothing_is_claimed(dispatching, mailer):
    async with dispatching() as batches:
        await batches.dispatcher.cease()
        mailer.enqueue_many(emails())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batches.get(), 0.2)
