"""The plots of docs/: for what a person would rather look at than read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from results import Found, Results, Series
from workloads import BY_NAME, backlog, latency, memory
from workloads.delivery import DELIVERED, USUAL

_COLORS = {"ours": "#1f77b4", "peer": "#9aa5b1", "limit": "#e3d9c6"}
_WORDS = {
    "ours": "this mailer",
    "peer": "what users pick instead",
    "limit": "limits: no email queue",
}
_GRID = {"alpha": 0.3, "linewidth": 0.6}
_DOTS = 110  # an inch


def throughput(axes: Any, results: Results) -> None:
    """Draw who delivers how much, with the spread of the rounds."""
    found = _main(results)
    rows = sorted(
        (row for row in found.rows if not row.name.endswith("_on_postfix")),
        key=lambda row: row.figures[DELIVERED].median,
    )
    medians = [row.figures[DELIVERED].median for row in rows]
    bars = axes.barh(
        [row.label for row in rows],
        medians,
        color=[_COLORS[row.kind] for row in rows],
        xerr=_spread([row.figures[DELIVERED] for row in rows]),
        error_kw={"elinewidth": 1, "capsize": 3, "ecolor": "#333333"},
    )
    most = max(row.figures[DELIVERED].highest for row in rows if row.name != "bare")
    for row, bar in zip(rows, bars, strict=True):
        series = row.figures[DELIVERED]
        beyond = series.highest > most  # its bar would make all others too short to be compared
        axes.annotate(
            f"{series.median:,.0f}" + (" →" if beyond else ""),
            (min(series.highest, most) + most * 0.012, bar.get_y() + bar.get_height() / 2),
            va="center",
            fontsize=9,
            fontweight="bold" if row.kind == "ours" else "normal",
        )
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.kind == "ours" else "normal")
    _legend(axes, {row.kind for row in rows})
    axes.set_xlim(0, most * 1.1)
    axes.xaxis.set_major_formatter(_commas)
    axes.set_xlabel(
        f"emails of 4 KB delivered a second; median, lowest and highest of {results.rounds} rounds"
    )
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)


def _legend(axes: Any, kinds: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=color, label=_WORDS[kind]) for kind, color in _COLORS.items() if kind in kinds
    ]
    axes.legend(handles=handles, loc="lower right", fontsize=9)


def latencies(axes: Any, results: Results) -> None:
    """Draw which share of the emails was delivered within what time."""
    found = results.found(latency.NAME)
    assert found
    for curve, color in zip(found.curves, ("#1f77b4", "#d1495b"), strict=False):
        axes.plot(curve.x, [100 * y for y in curve.y], label=curve.label, color=color)
    for bound, what in ((15, "p50 at 50/s"), (60, "p99 at 50/s"), (250, "p99 at half")):
        axes.axvline(bound, linestyle="--", linewidth=0.8, color="#666666")
        axes.annotate(
            f"{what}: {bound} ms", (bound, 4), rotation=90, fontsize=8, ha="right", color="#666666"
        ).set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axes.set_xscale("log")
    axes.set_ylim(0, 101)
    axes.xaxis.set_major_formatter(_commas)
    axes.set_xlabel("milliseconds from when an email was due to be enqueued until the relay's 250")
    axes.set_ylabel("% of the emails; dashed: what was promised")
    axes.grid(**_GRID)
    axes.legend(loc="lower right")


def flatness(axes: Any, results: Results) -> None:
    """Draw what an email costs beside backlogs, and a worker's memory while it sends."""
    left, right = axes
    beside, used = results.found(backlog.NAME), results.found(memory.NAME)
    assert beside
    assert used
    sizes = [int(row.name) for row in beside.rows]
    for figure, color in ((backlog.WORKER, "#1f77b4"), (backlog.REDIS, "#d1495b")):
        series = [row.figures[figure] for row in beside.rows]
        left.errorbar(
            sizes,
            [one.median for one in series],
            yerr=_spread(series),
            marker="o",
            capsize=3,
            color=color,
            label=figure.split(",")[0],
        )
    left.set_xscale("log")
    left.xaxis.set_major_formatter(_commas)
    left.set_xlabel("emails that wait")
    left.set_ylabel("µs of CPU per email")
    for curve in used.curves:
        right.plot(curve.x, curve.y, color="#1f77b4", label=curve.label)
    right.xaxis.set_major_formatter(_commas)
    right.set_xlabel("emails that it has sent")
    right.set_ylabel("MB of memory (RSS)")
    for each in axes:
        each.set_ylim(0, each.get_ylim()[1] * 1.1)
        each.grid(**_GRID)
        each.legend(loc="lower right")


def workloads(axes: Any, results: Results) -> None:
    """Draw how many times as fast as two usual ways this mailer is, workload by workload."""
    from matplotlib.ticker import LogLocator

    compared = [found for found in results.founds if _others(found)]
    names = [name for name in USUAL if name != "ours"]
    height = 0.8 / len(names)
    for n, (name, color) in enumerate(zip(names, ("#9aa5b1", "#c9b458"), strict=True)):
        points = [(i, _times(found, name)) for i, found in enumerate(compared)]
        drawn = [(i + (n - 0.5) * height, times) for i, times in points if times]
        labels = [row.label for found in compared if (row := found.row(name))]
        axes.barh(
            [at for at, _ in drawn],
            [times.median for _, times in drawn],
            height=height * 0.9,
            xerr=_spread([times for _, times in drawn]),
            error_kw={"elinewidth": 1, "capsize": 2},
            color=color,
            label=f"of {labels[0]}" if labels else None,
        )
        for at, times in drawn:
            axes.annotate(f" {times.median:,.1f}", (times.highest, at), va="center", fontsize=8)
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(compared)), [BY_NAME[f.workload].title for f in compared])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} x")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("this mailer's rate, as a multiple of the others'")
    axes.grid(axis="x", **_GRID)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=9)


def _others(found: Found) -> bool:
    return any(found.row(name) for name in USUAL if name != "ours") and bool(found.row("ours"))


def _times(found: Found, name: str) -> Series | None:
    ours, theirs = found.row("ours"), found.row(name)
    if not ours or not theirs:
        return None
    figure = next(iter(ours.figures))
    return ours.figures[figure] / theirs.figures[figure]


def _commas(value: float, _: object) -> str:
    return f"{value:,.0f}"


def _main(results: Results) -> Found:
    found = results.found("main")
    assert found
    return found


def _spread(series: list[Series]) -> list[list[float]]:
    return [[s.median - s.lowest for s in series], [s.highest - s.median for s in series]]


# the file → what draws it, how many plots side by side, and the size in inches
PLOTS: Mapping[str, tuple[Callable[[Any, Results], None], int, tuple[float, float]]] = {
    "throughput.png": (throughput, 1, (10, 5)),
    "workloads.png": (workloads, 1, (10, 6)),
    "latency.png": (latencies, 1, (10, 4.5)),
    "flat.png": (flatness, 2, (11, 4)),
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all of them; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    files = []
    for name, (plot, side_by_side, size) in PLOTS.items():
        figure, axes = plt.subplots(1, side_by_side, figsize=size, layout="constrained")
        plot(axes, results)
        figure.savefig(folder / name, dpi=_DOTS)
        plt.close(figure)
        files.append(folder / name)
    return files
