"""docs/benchmarks.md: its tables, between two marks; the sentences around them stay."""

from pathlib import Path

from results import Found, Results
from workloads import BY_NAME

from report.plots import draw
from report.tables import of_machine, of_verdicts, of_workload

_DOCS = Path(__file__).parents[2] / "docs"
PAGE = _DOCS / "benchmarks.md"
_BEGIN, _END = "<!-- bench -->\n", "<!-- end -->"
_PLOTS = {  # the workload below which a plot stands
    "main": ("Emails delivered a second", "throughput.png"),
    "greylisted": ("This mailer's rate as a multiple of others'", "workloads.png"),
    "latency": ("From enqueue to 250", "latency.png"),
    "memory": ("CPU beside a backlog, and a worker's memory", "flat.png"),
}


def write(results: Results) -> list[Path]:
    """Write the page and its plots; return the files."""
    before, rest = PAGE.read_text(encoding="utf-8").split(_BEGIN)
    _, after = rest.split(_END, 1)
    PAGE.write_text(before + _BEGIN + generated(results) + _END + after, encoding="utf-8")
    return [PAGE, *draw(results, _DOCS)]


def generated(results: Results) -> str:
    """Write what a run has found, in Markdown."""
    minutes = f"{results.seconds / 60:.0f} minutes"
    parts = [
        f"{results.when}, by `{results.command}`: {results.rounds} rounds, {minutes}.\n",
        of_machine(results).markdown(),
        *(f"Left out: {missing}\n" for missing in results.missing),
        "## What was promised\n",
        of_verdicts(results).markdown(),
        *map(_section, results.founds),
    ]
    return "\n".join(parts) + "\n"


def _section(found: Found) -> str:
    workload = BY_NAME[found.workload]
    parts = [f"## {workload.title}\n", f"{workload.what}\n"]
    if found.workload in _PLOTS:
        title, file = _PLOTS[found.workload]
        parts.append(f"![{title}]({file})\n")
    parts.append(of_workload(found).markdown())
    parts += [f"{note}\n" for note in found.notes]
    return "\n".join(parts)
