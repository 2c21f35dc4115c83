"""The benchmark runs, and says what is wrong with what it was asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench(*arguments, timeout=60):
    """Run it as ``make bench`` does; the project of this folder, wherever another is installed."""
    return subprocess.run(
        [sys.executable, "benchmarks", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
def test_a_short_look_measures_and_judges_what_it_measured(tmp_path):
    file = tmp_path / "found.json"
    names = ("--workload", "main", "loop", "--contender", "ours", "bare")
    done = bench("--quick", "--emails", "200", *names, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    main, loop = found["founds"]
    assert [row["name"] for row in main["rows"]] == ["ours", "bare"]
    for row in main["rows"]:
        (delivered,) = row["figures"]["delivered/s"]["values"]
        assert delivered > 0
    judged = {verdict["figure"] for verdict in found["verdicts"] if verdict["holds"] is not None}
    assert judged == {
        "Lag of an event loop that enqueues 1,000/s, p99",
        "Enqueued/s by that loop, of what was offered",
    }
    assert loop["rows"][0]["name"] == "busy"
    assert "What was promised" in bench("--read", str(file)).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--write", "--quick"], "--write takes all of it"),
        (["--workload", "nothing"], "invalid choice"),
        (["--rounds", "0"], "must be 1 or more"),
        (["--workload", "latency", "--contender", "bare"], "name ours too"),
        (["--read", "/nowhere.json"], "not what --json has kept"),
        (["--json", "/nowhere/found.json", "--workload", "loop"], "no folder"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments, words):
    done = bench(*arguments)
    assert done.returncode == 2
    assert words in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
