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
        st.tuples(st.sampled_from(["end", "cancel", "set aside", "more"]), st.integers(0, 50)),
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
                self.set_aside(sorted(self.seats.taken)[value % 2 :][: 1 + value % 3])
            case "more" if self.holders:
                self.take_more(self.holders[value % len(self.holders)], value % 7 - 1)
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

    def take_more(self, who, most):
        """Take further seats; whoever waits comes first."""
        taken, had = sum(self.seats.taken.values()), self.seats.taken.get(who, 0)
        number = self.seats.more(who, most)
        assert 0 <= number <= max(0, most)
        assert self.seats.taken.get(who, 0) == had + number
        assert not (number and self.line), "those who wait come first"
        if number < most:
            assert not self.seats._has_room(), "it gets all that are free"
        assert sum(self.seats.taken.values()) == taken + number

    def set_aside(self, holders):
        """Set aside what they have, as far as there are seats in place of theirs."""
        taken, aside, spare = dict(self.seats.taken), dict(self.seats.aside), self.seats.spare
        before = {who: taken[who] + aside.get(who, 0) for who in holders}
        self.seats.set_aside(holders)
        moved = min(spare, sum(taken[who] for who in holders))
        assert sum(self.seats.aside.values()) == sum(aside.values()) + moved
        after = {
            who: self.seats.taken.get(who, 0) + self.seats.aside.get(who, 0) for who in holders
        }
        assert after == before, "each has as many as before"

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
        in_use, set_aside = sum(taken.values()), sum(aside.values())
        assert min([1, *taken.values(), *aside.values()]) == 1, "who has no seat is not named"
        assert in_use <= self.number
        assert in_use + set_aside <= self.number + self.more
        assert self.seats.wanted is bool(self.line)
        if self.line:
            assert not self.seats._has_room(), "nobody waits for a seat that is free"
            assert in_use == self.number or aside, "without late ones all have their turns"

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


def test_a_holder_of_several_is_set_aside_as_far_as_there_is_room():
    seats = Seats(4, 3)
    assert seats.take("a")
    assert seats.more("a", 9) == 3
    assert not seats.take("b")
    seats.set_aside(["a"])
    assert (seats.taken, seats.aside) == ({"a": 1}, {"a": 3})
    assert seats.more("b", 9) == 3
    seats.leave("a")
    assert seats.spare == 4
    assert seats.more("b", 9) == 1


async def test_who_gives_back_several_lets_as_many_in():
    seats = Seats(3, 0)
    assert seats.take("a")
    assert seats.more("a", 2) == 2
    turns = [asyncio.create_task(seats.turn(who, 1)) for who in "bcde"]
    await asyncio.sleep(0)
    seats.leave("a")
    assert [*seats.taken] == ["b", "c", "d"]
    seats.leave("b")
    await asyncio.gather(*turns)


@given(number=st.integers(1, 4), more=st.integers(0, 4), steps=STEPS)
def test_whatever_happens_seats_are_exact_and_nobody_is_overtaken(number, more, steps):
    async def play():
        world = World(number, more)
        for step in steps:
            await world.step(*step)
        await world.end()

    asyncio.run(play())
