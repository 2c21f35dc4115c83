import time

import pytest

from workers.clock import ServerClock


@pytest.fixture
def tick(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def test_a_clock_that_heard_nothing_says_so(tick):
    assert ServerClock().known is False


def test_the_servers_time_goes_on_between_its_answers(tick):
    clock = ServerClock()
    clock.heard(1_800_000_000_000)
    tick(2.5)
    assert clock.known
    assert clock.now_ms == 1_800_000_002_500


def test_the_last_answer_counts_even_if_it_is_earlier(tick):
    clock = ServerClock()
    clock.heard(1_800_000_000_000)
    clock.heard(1_700_000_000_000)
    tick(1)
    assert clock.now_ms == 1_700_000_001_000


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="it takes Linux")
def test_time_goes_on_while_the_machine_is_suspended(monkeypatch):
    slept = 0.0
    clocks = {time.CLOCK_MONOTONIC: lambda: 1000.0, time.CLOCK_BOOTTIME: lambda: 1000.0 + slept}
    monkeypatch.setattr(time, "clock_gettime", lambda clock: clocks[clock]())
    clock = ServerClock()
    clock.heard(1_800_000_000_000)
    slept = 3600.0
    assert clock.now_ms == 1_800_003_600_000


def test_the_wall_clock_of_this_machine_does_not_matter(tick, monkeypatch):
    clock = ServerClock()
    clock.heard(1_800_000_000_000)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now_ms == 1_800_000_000_000
