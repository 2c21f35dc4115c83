"""The short form of ``make chaos``: each fault strikes once, and a kill at any time thrice."""

from collections.abc import Iterator
from itertools import groupby

import pytest

from chaos.campaign import Round, Task, play_all
from chaos.faults import FAULTS

# one process plays them all; and they take longer than a test may
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
_IN_ONE_WORLD = 6  # rounds
_WORLDS = 4


def _tasks() -> Iterator[Task]:
    """Have faults of worlds that are made alike share one."""
    faults = sorted(FAULTS.values(), key=lambda fault: (str(fault.world), -fault.patience))
    for _, alike in groupby(faults, lambda fault: str(fault.world)):
        names = [name for f in alike for name in [f.name] * (3 if f.name == "at random" else 1)]
        for start in range(0, len(names), _IN_ONE_WORLD):
            yield Task(tuple(names[start : start + _IN_ONE_WORLD]), seed=start)


@pytest.fixture(scope="module")
def played() -> dict[str, list[Round]]:
    """The rounds of each fault, all played at once."""
    rounds: dict[str, list[Round]] = {name: [] for name in FAULTS}
    longest_first = sorted(
        _tasks(), key=lambda task: ("frozen 30 s" in task.faults, len(task.faults))
    )
    for some in play_all(reversed(longest_first), _WORLDS):
        for each in some:
            rounds[each.fault].append(each)
    return rounds


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_lies(played, name):
    assert played[name]
    assert [problem for each in played[name] for problem in each.verdict.problems] == []
    assert all(each.verdict.jobs for each in played[name])
