import time

import pytest

from workers.window import Window

EXPIRY = 60.0


@pytest.fixture
def tick(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


@pytest.fixture
def window(tick):
    return Window(least=10, most=100, expiry=EXPIRY)


def fill(window, ticket):
    window.take(ticket, window.room, urgent=False)


def test_there_is_room_for_the_least_at_first(window):
    assert (window.used, window.room, window.urgent_room) == (0, 10, 10)


def test_what_was_taken_leaves_less_room_until_it_is_released(window):
    window.take("1", 4, urgent=False)
    assert (window.used, window.room) == (4, 6)
    window.release("1")
    assert (window.used, window.room) == (0, 10)


def test_urgent_jobs_have_room_of_their_own(window):
    fill(window, "1")
    assert (window.room, window.urgent_room) == (0, 10)
    window.take("2", 7, urgent=True)
    assert (window.room, window.urgent_room) == (0, 3)
    window.take("3", 7, urgent=True)
    assert (window.room, window.urgent_room) == (0, 0)


def test_a_full_window_grows_while_jobs_go_through_quickly(window, tick):
    fill(window, "1")
    tick(0.1)
    window.release("1")
    assert window.room == 15


def test_a_window_that_is_not_full_stays_as_it_is(window, tick):
    window.take("1", 9, urgent=False)
    window.release("1")
    assert window.room == 10


def test_it_grows_up_to_the_most(window, tick):
    for ticket in range(20):
        fill(window, str(ticket))
        window.release(str(ticket))
    assert window.room == 100


def test_it_shrinks_down_to_the_least_while_jobs_wait(window, tick):
    for ticket in range(20):
        fill(window, str(ticket))
        window.release(str(ticket))
    fill(window, "slow")
    tick(0.6)
    window.release("slow")
    assert window.room == 75
    for ticket in range(20):
        window.take(f"slow {ticket}", 1, urgent=False)
        tick(0.6)
        window.release(f"slow {ticket}")
    assert window.room == 10


def test_a_ticket_that_never_comes_back_is_forgotten(window, tick):
    window.take("1", 10, urgent=True)
    tick(EXPIRY + 1)
    assert (window.urgent_room, window.room, window.used) == (10, 10, 0)


@pytest.mark.parametrize("ticket", ["unknown", ""])
def test_an_unknown_ticket_changes_nothing(window, ticket):
    fill(window, "1")
    window.release(ticket)
    assert (window.used, window.room) == (10, 0)


def test_a_ticket_counts_once(window):
    fill(window, "1")
    window.release("1")
    room = window.room
    window.release("1")
    assert window.room == room


def test_most_is_never_below_least(tick):
    window = Window(least=10, most=3, expiry=EXPIRY)
    fill(window, "1")
    window.release("1")
    assert window.room == 10
