"""The whole table, and how the documentation shows it."""

from sabotage import agenda, leases, processes
from sabotage.step import Step

STEPS: tuple[Step, ...] = (*leases.STEPS, *agenda.STEPS, *processes.STEPS)


def markdown() -> str:
    """Write it as a table: between its markers the documentation has just this."""
    lines = ["| What is removed | What would happen | The test that fails |", "|---|---|---|"]
    for step in STEPS:
        tests = "<br>".join(f"`{_sentence(test)}`" for test in step.tests)
        lines.append(f"| {step.name} | {step.without} | {tests} |")
    return "\n".join(lines)


def _sentence(test: str) -> str:
    """Shorten a node id to the file's and the test's name."""
    file, _, name = test.partition("::")
    return f"{file.rpartition('/')[2].removesuffix('.py')}::{name.rpartition('::')[2]}"
