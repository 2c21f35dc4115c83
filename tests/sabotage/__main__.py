"""``python -m sabotage``: take every step out, one at a time, and tell which test notices."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from sabotage.step import FAIR_WEATHER, ROOT
from sabotage.table import STEPS
from sabotage.trial import copy_of, tried, verdict


def main() -> int:
    """Try all steps, or those whose names contain the words given; 1 where one was not noticed."""
    words = [word.casefold() for word in sys.argv[1:]]
    steps = [step for step in STEPS if all(word in step.name.casefold() for word in words)]
    console, began, missed = Console(highlight=False, soft_wrap=True), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        whole = copy_of(ROOT, Path(folder) / "whole")
        tests = {test: None for step in steps for test in step.tests}
        first = verdict(whole, [*tests, FAIR_WEATHER])
        if first.code != 0:
            console.print("[red]not all tests pass while nothing is removed[/]")
            console.print(first.output, markup=False)
            return 1
        for step in steps:
            found = tried(step, whole, Path(folder) / "without")
            if why := found.missed(step):
                missed += 1
                console.print(f"[red]missed[/]  {step.name}: ", end="")
                console.print(why, markup=False)
            else:
                console.print(f"[green]caught[/]  {step.name}: ", end="")
                console.print(", ".join(_name(test) for test in step.tests), markup=False)
    seconds = time.monotonic() - began
    console.print(f"{len(steps) - missed} of {len(steps)} caught in {seconds:.0f} s")
    return int(missed > 0)


def _name(test: str) -> str:
    return test.rpartition("::")[2]


if __name__ == "__main__":
    sys.exit(main())
