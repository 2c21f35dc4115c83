"""The limits' steps: who may send when, and with how many others."""

import asyncio
import random
from itertools import pairwise

import pytest
from fakeredis.commands_mixins import server_mixin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.errors import StoreUnavailable
from mailer.store.limits import Limit, Limits, Rate, Request
from workers.clock import ServerClock
from workers.relays.limiter import Limiter, Pass
from workers.relays.limits import limit_of

TEN = Limit("ten a second", (Rate(10, 1.0, 0.2),), 0.25)
HOURLY = Limit("hourly", (Rate(10, 1.0, 0.2), Rate(3600, 3600.0, 20.0)), 0.25)
TWO_AT_A_TIME = Limit("two", connections=2)


@pytest.fixture
def limits(store):
    return Limits(store.keys)


async def enter(store, limits, *wanted, horizon=1000.0, lease=60.0):
    requests = [Request(f"p{n}", those) for n, those in enumerate(wanted)]
    return await store.run(limits.enter(requests, horizon, lease))


def gaps(turns):
    times = [turn.at_ms for turn in turns]
    return [round(b - a) for a, b in pairwise(times)]


class TestRates:
    async def test_a_burst_goes_at_once_and_the_others_evenly_spread(self, store, limits):
        before = store.now_ms()
        turns = await enter(store, limits, *([TEN] for _ in range(8)))
        assert all(turn.reserved for turn in turns)
        assert before <= turns[0].at_ms <= store.now_ms() + 1
        assert gaps(turns) == [0, 0, 100, 100, 100, 100, 100]

    async def test_each_rate_counts(self, store, limits):
        """A second's worth goes by the first rate, then the slower one rules."""
        turns = await enter(store, limits, *([HOURLY] for _ in range(40)))
        assert gaps(turns)[:20] == [0, 0] + [100] * 18
        assert gaps(turns)[-5:] == [1000] * 5

    async def test_what_is_unused_does_not_pile_up(self, store, limits):
        await enter(store, limits, [TEN])
        await asyncio.sleep(0.5)
        assert gaps(await enter(store, limits, *([TEN] for _ in range(5)))) == [0, 0, 100, 100]

    async def test_beyond_the_horizon_nothing_is_reserved_but_turns_are_spread(self, store, limits):
        turns = await enter(store, limits, *([TEN] for _ in range(20)), horizon=0.5)
        assert [turn.reserved for turn in turns] == [True] * 8 + [False] * 12
        assert gaps(turns[8:]) == [100] * 11
        assert {turn.limit for turn in turns[8:]} == {"ten a second"}
        (urgent,) = await enter(store, limits, [TEN], horizon=1.0)
        assert urgent.reserved, "one that comes later need not wait behind those"
        assert urgent.at_ms <= turns[8].at_ms

    async def test_all_limits_of_a_message_or_none(self, store, limits):
        slow = Limit("slow", (Rate(1, 1.0, 0.0),))
        first, second, third = await enter(
            store, limits, [TEN, slow], [TEN, slow], [TEN], horizon=0.5
        )
        assert (first.reserved, second.reserved, third.reserved) == (True, False, True)
        assert second.limit == "slow"
        assert third.at_ms == first.at_ms, "the one that was not granted has used nothing up"

    async def test_the_state_of_a_limit_that_is_not_used_vanishes(self, store, limits):
        await enter(store, limits, [HOURLY])
        state, _ = store.keys.limit("hourly")
        assert 0 < store.raw.pttl(state) <= 3_600_000


class TestConnections:
    async def test_no_more_at_a_time_than_allowed(self, store, limits):
        turns = await enter(store, limits, *([TWO_AT_A_TIME] for _ in range(5)))
        assert [turn.reserved for turn in turns] == [True, True, False, False, False]
        assert all(gap > 0 for gap in gaps(turns[2:])), "they don't all come back at once"

    async def test_a_permit_given_back_is_free(self, store, limits):
        await enter(store, limits, [TWO_AT_A_TIME], [TWO_AT_A_TIME])
        assert await store.run(limits.leave([("p0", "two", 0.2)])) == 1
        assert await store.run(limits.leave([("p0", "two", 0.2)])) == 0
        turns = await enter(store, limits, [TWO_AT_A_TIME], [TWO_AT_A_TIME])
        assert [turn.reserved for turn in turns] == [True, False]

    async def test_that_of_a_worker_that_died_is_free_after_a_while(self, store, limits):
        await enter(store, limits, [TWO_AT_A_TIME], [TWO_AT_A_TIME], lease=0.03)
        await asyncio.sleep(0.05)
        (turn,) = await enter(store, limits, [TWO_AT_A_TIME])
        assert turn.reserved

    async def test_one_that_is_renewed_is_not(self, store, limits):
        await enter(store, limits, [TWO_AT_A_TIME], [TWO_AT_A_TIME], lease=0.03)
        for permit in ("p0", "p1"):
            await store.run(limits.renew(permit, "two", store.now_ms() + 60_000))
        await asyncio.sleep(0.05)
        (turn,) = await enter(store, limits, [TWO_AT_A_TIME])
        assert not turn.reserved


class TestPaces:
    NAME = "domain example.org"

    async def test_too_many_slows_down_and_one_burst_is_one_step(self, store, limits):
        assert await store.run(limits.paces()) == {}
        for _ in range(20):
            assert await store.run(limits.slow_down(self.NAME, "450 too many")) == 1.0
        pace = (await store.run(limits.paces()))[self.NAME]
        assert (pace.interval, pace.reason) == (1.0, "450 too many")
        turns = await enter(store, limits, *([Limit(self.NAME)] for _ in range(3)))
        assert gaps(turns) == [1000, 1000]

    async def test_success_speeds_up_until_it_is_forgotten(self, store, limits, monkeypatch):
        monkeypatch.setattr("mailer.store.limits.FIRST_PACE", 30)
        await store.run(limits.slow_down(self.NAME, "450 too many"))
        intervals = []
        while interval := await store.run(limits.speed_up(self.NAME)):
            intervals.append(interval)
            await asyncio.sleep(0.01)
        assert sorted(set(intervals), reverse=True) == [0.03, 0.027, 0.024, 0.021]
        assert await store.run(limits.paces()) == {}

    async def test_what_nobody_slowed_down_is_not_sped_up(self, store, limits):
        assert await store.run(limits.speed_up(self.NAME)) == 0
        assert await store.run(limits.paces()) == {}


# the promise: never more than the count in its time, plus the burst


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    count=st.integers(1, 50),
    burst=st.integers(1, 20),
    waits=st.lists(st.floats(0, 0.3), min_size=1, max_size=80),
    seed=st.integers(0, 1000),
)
def test_whenever_they_ask_and_however_late_they_are_no_time_has_too_many(
    fake_store, count, burst, waits, seed
):
    class Time:
        now = 1_800_000_000.0

        def time(self):
            return self.now

    real, chance = server_mixin.time, random.Random(seed)
    server_mixin.time = clock = Time()
    fake_store.raw.delete(*fake_store.keys.limit("l"))
    try:
        limits, limit = Limits(fake_store.keys), limit_of("l", "p", [f"{count}/s"], burst, None)
        sent = []
        for wait in waits:
            clock.now += wait * chance.random()
            (turn,) = fake_store.runner.run(limits.enter([Request("p", [limit])], 1000, 60))
            late = chance.choice([0.0, 1.0, chance.random()]) * limit.grace
            sent.append(turn.at_ms / 1000 + late)
    finally:
        server_mixin.time = real
    for begin in sent:
        within = [moment for moment in sent if begin <= moment < begin + 1 - 1e-5]
        assert len(within) <= count + burst


# the limiter


@pytest.mark.parametrize("runner_kind", ["async"])
class TestLimiter:
    @pytest.fixture
    def limiter(self, store, limits):
        clock = ServerClock()
        clock.heard(store.now_ms())
        self.later = []
        return Limiter("w1", limits, store.runner, clock, self.later.append)

    async def test_many_at_once_are_answered_each_for_its_own(self, limiter):
        given = await asyncio.gather(*(limiter.enter([TEN]) for _ in range(30)))
        reserved = [one for one in given if isinstance(one, Pass)]
        assert len(reserved) == 13, "the burst, and what comes within a second"
        assert len({one.permit for one in reserved}) == 13

    async def test_a_pass_is_good_for_a_while(self, limiter, store):
        given = await limiter.enter([TEN])
        assert not given.is_late(given.at_ms + 249)
        assert given.is_late(given.at_ms + 251)

    async def test_a_permit_is_given_back_where_connections_are_counted(self, limiter, store):
        for limit in (TEN, TWO_AT_A_TIME):
            limiter.leave(await limiter.enter([limit]))
        (leave,) = self.later
        assert await store.run(leave) == 1

    async def test_one_who_went_away_leaves_no_permit_behind(self, limiter, store):
        task = asyncio.create_task(limiter.enter([TWO_AT_A_TIME]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while not self.later:
                await asyncio.sleep(0.001)
        assert await store.run(self.later[0]) == 1

    async def test_without_the_store_nobody_may_send(self, limiter, store, monkeypatch):
        async def gone(_, __):
            raise StoreUnavailable("away")

        monkeypatch.setattr(type(store.runner), "run", gone)
        with pytest.raises(StoreUnavailable):
            await limiter.enter([TEN])
        monkeypatch.undo()
        assert isinstance(await limiter.enter([TEN]), Pass)
