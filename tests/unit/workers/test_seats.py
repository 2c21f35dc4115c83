"""Seats: whatever the order of arrivals, endings, cancellations and late ones, they are exact."""

import asyncio
from itertools import count

import hypothesis.strategies as st
import pytest
from hypothesis import given

from workers.smtp.seats import Seats

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["end", "cancel", "set aside"]), st.integers(0, 50)),
        st.tuples(st.sampled_from(["cancel the called", "narrow", "widen", "breathe"]), st.just(0)),
    ),
    max_size=80,
)


class World:
    """Holders as tasks, and what must be true of them at any time."""

    def __init__(self, number, more):
        self.number, self.more = number, more
        self.seats = Seats(number, more)
        self.line = {}  # who waits → its place
        self.tasks = {}
        self.may_end = {}
        self.names = count()
        self.called = []  # whose turn has come with the last step

    async def hold(self, who, urgency):
        if not self.seats.take(who):
            await self.seats.turn(who, urgency)
        try:
            await self.may_end[who].wait()
        finally:
            self.seats.leave(who)

    async def step(self, name, value):  # noqa: C901 - a case each
        before = sorted(self.line, key=self.line.get)
        match name:
            case "arrive":
                who = next(self.names)
                self.may_end[who] = asyncio.Event()
                self.tasks[who] = asyncio.create_task(self.hold(who, value))
                await asyncio.sleep(0)  # it is in line now, if it was not admitted
                self.line[who] = (value, who)
                before = sorted(self.line, key=self.line.get)
            case "end" if self.holders:
                who = self.holders[value % len(self.holders)]
                self.may_end[who].set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # it may not have known that its turn had come
            case "cancel" if self.alive:
                who = self.alive[value % len(self.alive)]
                self.tasks[who].cancel()
                self.line.pop(who, None)
                before = [one for one in before if one != who]
            case "cancel the called":
                for who in self.called:  # before they know of it
                    self.tasks[who].cancel()
            case "set aside" if self.seats.taken:
                some = min(1 + value % 3, self.seats.spare)
                self.seats.set_aside(sorted(self.seats.taken)[:some])
            case "narrow":
                self.seats.narrow()
            case "widen":
                self.seats.widen()
            case "breathe":
                for _ in range(3):
                    await asyncio.sleep(0)
        self.check(before)

    @property
    def holders(self):
        return sorted(self.seats.taken | self.seats.aside)

    @property
    def alive(self):
        return [who for who, task in self.tasks.items() if not task.done()]

    def check(self, before):
        taken, aside = self.seats.taken, self.seats.aside
        admitted = [who for who in before if who in taken]
        assert admitted == before[: len(admitted)], "by urgency, and then in order of arrival"
        self.called = admitted
        for who in admitted:
            del self.line[who]
        assert not taken & aside
        assert len(taken) <= self.number
        assert len(taken) + len(aside) <= self.number + self.more
        assert self.seats.wanted is bool(self.line)
        if self.line:
            assert not self.seats._has_room(), "nobody waits for a seat that is free"
            assert len(taken) == self.number or aside, "without late ones all have their turns"

    async def end(self):
        """Let everybody leave, and see that nobody waits in vain."""
        self.seats.widen()
        for event in self.may_end.values():
            event.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert not self.seats.taken
        assert not self.seats.aside
        assert not self.seats.wanted
        assert self.seats.spare == self.number + self.more


def full(number, more, aside):
    """Seats that are all taken, and some set aside."""
    seats = Seats(number, more)
    for who in range(number + aside):
        assert seats.take(who)
        if who < aside:
            seats.set_aside([who])
    assert not seats.take("one more")
    return seats


def test_who_is_set_aside_passes_no_seat_on():
    seats = full(number=2, more=4, aside=2)
    seats.leave(0)
    assert not seats.take("a")
    seats.leave(2)
    assert seats.take("a")


@pytest.mark.parametrize(("aside", "left"), [(0, 6), (1, 2), (2, 3), (4, 5)])
def test_where_there_is_less_room_there_is_one_seat_less_but_never_less_than_usual(aside, left):
    """The one for whom there was none leaves, and so many are left for the others."""
    seats = full(number=2, more=4, aside=aside)
    seats.narrow()
    for who in list(seats.taken):
        seats.leave(who)
    while seats.take(object()):
        if seats.spare:
            seats.set_aside(seats.taken.copy())
    assert len(seats.taken) + len(seats.aside) == left
    seats.widen()
    assert seats.spare == 6 - left


@given(number=st.integers(1, 4), more=st.integers(0, 4), steps=STEPS)
def test_whatever_happens_seats_are_exact_and_nobody_is_overtaken(number, more, steps):
    async def play():
        world = World(number, more)
        for step in steps:
            await world.step(*step)
        await world.end()

    asyncio.run(play())
