"""The pauses of relays: the store's steps."""

import asyncio

import pytest

from mailer.store import relays as pauses_of_relays
from mailer.store.relays import Relays

RELAY = "smtp.example.com:587"


@pytest.fixture
def relays(store):
    return Relays(store.keys)


async def tripped(store, relays, reason="535 5.7.8 wrong"):
    return await store.run(relays.trip(RELAY, reason, "w1"))


async def its_pause_is_over(store, relays):
    """Wait for the end of the pause, by the server's clock."""
    (pause,) = (await store.run(relays.pauses())).values()
    while store.now_ms() <= pause.until.timestamp() * 1000:
        await asyncio.sleep(0.01)


@pytest.fixture
def brief(monkeypatch):
    """Pauses that tests can wait for."""
    monkeypatch.setattr(pauses_of_relays, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(pauses_of_relays, "LONGEST_PAUSE", 0.1)


class TestTrip:
    async def test_a_fault_pauses_the_relay_and_tells_why(self, store, relays):
        before = store.now_ms()
        trip = await tripped(store, relays)
        assert before <= trip.now_ms <= store.now_ms()
        assert (trip.until_ms - trip.now_ms, trip.news) == (1000, True)
        ((name, pause),) = (await store.run(relays.pauses())).items()
        assert name == pause.relay == RELAY
        assert (pause.reason, pause.faults, pause.by) == ("535 5.7.8 wrong", 1, "w1")
        assert round(pause.since.timestamp() * 1000) == trip.now_ms
        assert round(pause.until.timestamp() * 1000) == trip.until_ms

    async def test_faults_during_a_pause_do_not_add_up_and_are_no_news(self, store, relays):
        """They are of transactions that were under way when it began."""
        first = await tripped(store, relays)
        for _ in range(50):
            trip = await tripped(store, relays, "another")
            assert (trip.until_ms, trip.news) == (first.until_ms, False)
        (pause,) = (await store.run(relays.pauses())).values()
        assert (pause.faults, pause.reason) == (1, "535 5.7.8 wrong")

    async def test_each_pause_is_twice_as_long_as_the_one_before_up_to_the_longest(
        self, store, relays, brief
    ):
        lengths = []
        for number in range(6):
            trip = await tripped(store, relays)
            assert trip.news is (number == 0)
            lengths.append(trip.until_ms - trip.now_ms)
            await its_pause_is_over(store, relays)
        assert lengths == [20, 40, 80, 100, 100, 100]

    async def test_of_many_workers_one_learns_it_as_news(self, store, relays):
        trips = await store.run_all([relays.trip(RELAY, "down", f"w{n}") for n in range(20)])
        assert sum(trip.news for trip in trips) == 1
        assert len({trip.until_ms for trip in trips}) == 1


class TestProbe:
    async def test_a_relay_that_works_needs_none(self, store, relays):
        assert await store.run(relays.probe(RELAY, 30)) == 0

    async def test_during_the_pause_nobody_may_try(self, store, relays):
        await tripped(store, relays)
        assert 0 < await store.run(relays.probe(RELAY, 30)) <= 1

    async def test_after_the_pause_one_may_try_and_the_others_wait(self, store, relays, brief):
        await tripped(store, relays)
        await its_pause_is_over(store, relays)
        waits = await store.run_all([relays.probe(RELAY, 30) for _ in range(20)])
        assert sum(wait == 0 for wait in waits) == 1
        assert all(29 < wait <= 30 for wait in waits if wait)

    async def test_another_may_try_when_nothing_is_heard_of_the_first(self, store, relays, brief):
        await tripped(store, relays)
        await its_pause_is_over(store, relays)
        assert await store.run(relays.probe(RELAY, 0.02)) == 0
        wait = await store.run(relays.probe(RELAY, 0.02))
        assert wait <= 0.02
        await asyncio.sleep(wait + 0.01)
        assert await store.run(relays.probe(RELAY, 0.02)) == 0

    async def test_a_probe_in_vain_pauses_it_again(self, store, relays, brief):
        await tripped(store, relays)
        await its_pause_is_over(store, relays)
        assert await store.run(relays.probe(RELAY, 30)) == 0
        assert not (await tripped(store, relays)).news
        await its_pause_is_over(store, relays)
        assert await store.run(relays.probe(RELAY, 30)) == 0, "and is over with its pause"


class TestHeal:
    async def test_it_ends_the_pause_once_and_wakes_a_dispatcher(self, store, relays):
        await tripped(store, relays)
        assert await store.run(relays.heal(RELAY)) is True
        assert await store.run(relays.heal(RELAY)) is False
        assert store.wakes()[0] == 1
        assert await store.run(relays.pauses()) == {}
        assert (await tripped(store, relays)).news
