"""Which replies are late."""

import pytest

from workers.smtp.lateness import Lateness

LEAST = 3.0


def relay(usual=0.0, answered_at=100.0):
    """A relay that has answered for long, and last at that time."""
    lateness = Lateness(LEAST)
    for _ in range(200):
        lateness.answered(answered_at, usual)
    return lateness


@pytest.mark.parametrize(("usual", "bound"), [(0.0, 3.0), (0.5, 3.0), (1.0, 4.0), (30.0, 120.0)])
def test_late_is_what_takes_several_times_as_long_as_usual_and_some_seconds(usual, bound):
    assert relay(usual).bound == pytest.approx(bound, rel=0.05)


def test_those_that_wait_longest_come_first():
    waits = {"a": 3.5, "b": 2.9, "c": 9.0, "d": 4.0}
    assert relay().pick(100.0, waits) == ["c", "d", "a"]


def test_one_late_answer_changes_little():
    lateness = relay(usual=1.0)
    lateness.answered(100.0, 600.0)
    assert lateness.bound < 5.0


def test_a_relay_that_becomes_slow_is_learned():
    lateness = relay(usual=1.0)
    for _ in range(200):
        lateness.answered(100.0, 20.0)
    assert lateness.bound == pytest.approx(80.0, rel=0.05)


def test_a_relay_that_answers_nobody_is_tried_with_one_and_less_and_less_often():
    lateness = relay(answered_at=100.0)
    waits = dict.fromkeys(range(100), 10.0)
    picked = {}
    for second in range(200):
        if chosen := lateness.pick(110.0 + second, waits):
            picked[second] = len(chosen)
            del waits[chosen[0]]
    assert picked == {0: 1, 3: 1, 9: 1, 21: 1, 45: 1, 93: 1, 189: 1}


def test_once_it_answers_again_all_that_are_late_are_picked():
    lateness = relay(answered_at=100.0)
    waits = dict.fromkeys("abcd", 10.0)
    assert len(lateness.pick(110.0, waits)) == 1
    assert not lateness.pick(111.0, waits)
    lateness.answered(111.5, 0.1)
    assert len(lateness.pick(112.0, waits)) == 4
    assert len(lateness.pick(120.0, waits)) == 1, "silent again, and tried again at once"


def test_a_relay_that_has_never_answered_is_tried_with_one():
    assert len(Lateness(LEAST).pick(100.0, {"a": 3.5, "b": 3.5})) == 1


def test_where_none_is_late_none_is_picked():
    lateness = Lateness(LEAST)
    assert lateness.pick(100.0, {"a": 2.9, "b": 0.0}) == []
    assert lateness.pick(100.5, {"a": 3.4, "b": 0.5}) == ["a"], "and no try was used up"
