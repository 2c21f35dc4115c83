"""Circuit breakers of several workers on one store."""

import asyncio
from collections import defaultdict

import pytest

from mailer.store import relays as pauses_of_relays
from mailer.store.relays import Relays
from workers.clock import ServerClock
from workers.relays.breakers import Breakers

pytestmark = pytest.mark.parametrize("runner_kind", ["async"])  # as workers run
RELAY = "smtp.example.com:587"


@pytest.fixture
def brief(monkeypatch):
    """Pauses that tests can wait for."""
    monkeypatch.setattr(pauses_of_relays, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(pauses_of_relays, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def breakers(store, monkeypatch):
    """Makes the breakers of one worker each; gives what they have to run later, too."""
    monkeypatch.setattr("workers.relays.breakers._LOOK_EVERY", 0.01)
    watching, later = [], []

    def make(worker):
        clock = ServerClock()
        clock.heard(store.now_ms())
        breakers = Breakers(worker, Relays(store.keys), store.runner, clock, later.append)
        watching.append(asyncio.create_task(breakers.keep_watching()))
        return breakers

    make.later = later
    yield make
    for task in watching:
        task.cancel()


async def seen(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_one_worker_finds_holds_all_up(breakers):
    first, second = breakers("w1"), breakers("w2")
    await first.fault(RELAY, "421 busy")
    assert 0.9 < first.wait(RELAY) <= 1.1
    await seen(lambda: second.wait(RELAY))
    assert second.reason(RELAY) == "421 busy"
    assert second.held_up([RELAY]) > 0
    assert second.held_up([RELAY, "another"]) == 0
    assert await second.admit(RELAY) > 0
    assert await second.admit("another") == 0


async def test_after_the_pause_one_message_of_one_worker_goes(breakers, brief):
    """The others look again soon."""
    workers = [breakers(f"w{n}") for n in range(4)]
    await workers[0].fault(RELAY, "down")
    await seen(lambda: all(worker.probing([RELAY]) for worker in workers))
    await seen(lambda: not any(worker.wait(RELAY) for worker in workers))
    waits = [await worker.admit(RELAY) for worker in workers for _ in range(3)]
    assert waits.count(0) == 1
    assert all(0 < wait <= 1 for wait in waits if wait)


async def test_a_success_opens_it_for_all(breakers, store, brief):
    first, second = breakers("w1"), breakers("w2")
    await first.fault(RELAY, "down")
    await seen(lambda: second.probing([RELAY]))
    await seen(lambda: not second.wait(RELAY))
    assert await second.admit(RELAY) == 0
    second.success(RELAY)
    (heal,) = breakers.later
    assert await store.run(heal) is True
    await seen(lambda: not first.probing([RELAY]))
    assert [await worker.admit(RELAY) for worker in (first, second)] == [0, 0]


async def test_a_success_of_before_the_fault_does_not_end_the_pause(breakers):
    worker = breakers("w1")
    await worker.fault(RELAY, "down")
    worker.success(RELAY)
    assert not breakers.later
    assert worker.wait(RELAY)


async def test_a_pause_is_in_the_log_once(breakers, capture, brief):
    workers = [breakers(f"w{n}") for n in range(3)]
    for _ in range(3):
        await asyncio.gather(*(worker.fault(RELAY, "down") for worker in workers))
        await seen(lambda: not any(worker.wait(RELAY) for worker in workers))
    assert capture["relay paused; no attempt is used up"] == 1


@pytest.fixture
def capture(monkeypatch):
    """Counts what is logged as an error."""
    counts = defaultdict(int)

    class Log:
        def error(self, event, **details):
            counts[event] += 1

        def info(self, event, **details):
            pass

        debug = info

    monkeypatch.setattr("workers.relays.breakers.log", Log())
    return counts
