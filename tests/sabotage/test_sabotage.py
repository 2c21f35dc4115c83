"""Some steps are taken out here, and all are looked for; ``make sabotage`` takes out every one."""

import re

import attrs
import pytest

from sabotage.step import FAIR_WEATHER, ROOT, Stale, Step
from sabotage.table import STEPS
from sabotage.trial import Verdict, copy_of, tried, verdict

SAMPLE = STEPS[::6]  # they take about a second each


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A copy of the project with nothing removed."""
    return copy_of(ROOT, tmp_path_factory.mktemp("sabotage") / "whole")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_the_code_has_each_step_once_as_its_entry_says(step):
    assert step.removed() != (ROOT / step.file).read_text()
    assert step.tests


def test_each_entry_has_a_name_of_its_own():
    assert len({step.name for step in STEPS}) == len(STEPS)


def test_all_tests_that_entries_name_are_there_and_test_the_copy(whole):
    tests = sorted({test for step in STEPS for test in step.tests})
    found = verdict(whole, tests, "--collect-only")
    assert found.code == 0, found.output
    assert all(place.startswith(f"{whole}/") for place in found.packages), found.packages


@pytest.mark.parametrize("step", SAMPLE, ids=lambda step: step.name)
def test_a_step_that_is_removed_is_missed(step, whole, tmp_path):
    assert tried(step, whole, tmp_path / "without").missed(step) == ""


# what counts as noticed

A, B = "tests/test_a.py::test_a", "tests/test_a.py::test_b"
STEP = Step("", "", "step.py", "step()", "pass", (A, B))
NOTICED = Verdict(1, {FAIR_WEATHER: True, f"{A}[1]": False, f"{A}[2]": False, B: False})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({FAIR_WEATHER: False}, "the program is broken"),
        ({f"{A}[2]": True}, r"do not fail: .*test_a\[2\]"),
        ({B: True}, "do not fail: .*test_b"),
    ],
)
def test_a_step_is_missed_where_all_its_tests_fail_and_fair_weather_does_not(changes, why):
    found = attrs.evolve(NOTICED, outcomes=NOTICED.outcomes | changes)
    said = found.missed(STEP)
    assert re.search(why, said) if why else said == ""


@pytest.mark.parametrize("code", [None, 0, 2, 3, 4, 5])
def test_a_run_that_pytest_did_not_end_as_failed_proves_nothing(code):
    assert attrs.evolve(NOTICED, code=code).missed(STEP)
    assert Verdict(code, {}).missed(STEP)


@pytest.mark.parametrize("text", ["", "step()\nstep()\n"])
def test_an_entry_that_does_not_fit_the_code_says_so(tmp_path, text):
    (tmp_path / "step.py").write_text(text)
    with pytest.raises(Stale, match=r"in step\.py, and should once; mend its entry"):
        STEP.removed(tmp_path)
