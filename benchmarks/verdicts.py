"""What is promised of the figures, in one table, and whether a run has kept it.

A ratio is that of each round, and its median counts. What was not measured is not judged.
"""

from collections.abc import Callable
from functools import partial

from attrs import evolve, frozen
from contenders.limits import OURS_ON_POSTFIX, SMTP_SOURCE_ON_POSTFIX
from results import Found, Results, Row, Series, Verdict
from workloads import backlog, latency, loop_lag, memory, redis_cost, slow_relay
from workloads.delivery import BULK, DELIVERED, SINGLE

TASK = "celery_smtplib"  # whose `.delay()` takes the same email


@frozen
class Bound:
    """A figure that was promised.

    Attributes:
        find: takes it from the results; None where it was not measured.
        least: it must be at least this; else at most ``most``.
        aim: what would be better yet.
    """

    figure: str
    find: Callable[[Results], Series | None]
    least: float | None = None
    most: float | None = None
    aim: float | None = None
    unit: str = ""

    def judge(self, results: Results) -> Verdict:
        """Compare the median with the bound."""
        sign, bound = ("≥", self.least) if self.least is not None else ("≤", self.most)
        assert bound is not None
        found = self.find(results)
        holds = None
        if found:
            holds = found.median >= bound if sign == "≥" else found.median <= bound
        aim = "" if self.aim is None else f"{sign} {self.aim:,g}{self.unit}"
        return Verdict(self.figure, f"{sign} {bound:,g}{self.unit}", aim, found, holds)


def judge(results: Results) -> tuple[Verdict, ...]:
    """Judge all figures that were promised; the best peer is named."""
    found = results.found("main")
    best = best_peer(found) if found else None
    name = f" ({best.label})" if best else ""
    verdicts = [bound.judge(results) for bound in BOUNDS]
    return tuple(evolve(one, figure=one.figure.replace("{best}", name)) for one in verdicts)


def best_peer(found: Found) -> Row | None:
    """Return the peer that delivered most, by its median."""
    peers = [row for row in found.rows if row.kind == "peer" and DELIVERED in row.figures]
    return max(peers, key=lambda row: row.figures[DELIVERED].median, default=None)


def _to_best_peer(results: Results) -> Series | None:
    found = results.found("main")
    best = best_peer(found) if found else None
    ours = results.series("main", "ours", DELIVERED)
    return ours / best.figures[DELIVERED] if ours and best else None


def _ratio(
    figure: str, other: str, results: Results, *, ours: str = "ours", theirs: str = ""
) -> Series | None:
    mine = results.series("main", ours, figure)
    other_one = results.series("main", other, theirs or figure)
    return mine / other_one if mine and other_one else None


def _flat(results: Results) -> Series | None:
    found = results.found(backlog.NAME)
    if not found:
        return None
    return found.rows[-1].figures[backlog.BOTH] / found.rows[0].figures[backlog.BOTH]


def _of(workload: str, row: str, figure: str) -> Callable[[Results], Series | None]:
    return lambda results: results.series(workload, row, figure)


BOUNDS = (
    Bound("Delivered/s, to the best peer's{best}", _to_best_peer, least=5, aim=8, unit=" x"),
    Bound(
        "Delivered/s, to a Celery task's with smtplib",
        partial(_ratio, DELIVERED, TASK),
        least=15,
        unit=" x",
    ),
    Bound(
        "Delivered/s, to smtp-source's with reused sessions, both to our sink",
        partial(_ratio, DELIVERED, "smtp_source"),
        least=0.35,
        aim=0.5,
        unit=" x",
    ),
    Bound(
        "The same, both to smtp-sink",
        partial(_ratio, DELIVERED, SMTP_SOURCE_ON_POSTFIX.name, ours=OURS_ON_POSTFIX.name),
        least=0.35,
        aim=0.5,
        unit=" x",
    ),
    Bound(
        "Delivered/s, to the rate of Celery's empty task",
        partial(_ratio, DELIVERED, "celery_empty"),
        least=5,
        unit=" x",
    ),
    Bound(
        "Single enqueues/s, to those of `.delay()`",
        partial(_ratio, SINGLE, TASK),
        least=4,
        unit=" x",
    ),
    Bound(
        "Bulk enqueues/s, to those of `.delay()`",
        partial(_ratio, BULK, TASK, theirs=SINGLE),
        least=15,
        unit=" x",
    ),
    Bound(
        "Lag of an event loop that enqueues 1,000/s, p99",
        _of(loop_lag.NAME, "busy", loop_lag.P99),
        most=5,
        unit=" ms",
    ),
    Bound(
        "Enqueued/s by that loop, of what was offered",
        _of(loop_lag.NAME, "busy", loop_lag.OF_OFFER),
        least=0.99,
        unit=" x",
    ),
    Bound(
        "Enqueue to 250 at 50/s, p50", _of(latency.NAME, "idle", latency.P50), most=15, unit=" ms"
    ),
    Bound("The same, p99", _of(latency.NAME, "idle", latency.P99), most=60, unit=" ms"),
    Bound(
        "Enqueue to 250 at half the maximum, p99",
        _of(latency.NAME, "half", latency.P99),
        most=250,
        unit=" ms",
    ),
    Bound(
        "Slow relay: delivered/s, of connections x rate",
        _of(slow_relay.NAME, "ours", slow_relay.SHARE),
        least=0.9,
        unit=" x",
    ),
    Bound("CPU per email beside the largest backlog, to beside 1,000", _flat, most=1.2, unit=" x"),
    Bound(
        "Growth of a worker's memory, 10,000 to 500,000 emails",
        _of(memory.NAME, "ours", memory.GROWTH),
        most=20,
        unit=" MB",
    ),
    Bound(
        "Redis: beyond the payload while queued",
        _of(redis_cost.NAME, "ours", redis_cost.QUEUED),
        most=1200,
        unit=" bytes",
    ),
    Bound(
        "Redis: after it was sent",
        _of(redis_cost.NAME, "ours", redis_cost.SENT),
        most=600,
        unit=" bytes",
    ),
    Bound(
        "Round trips of workers per email, in batches",
        _of(redis_cost.NAME, "ours", redis_cost.WORKER_TRIPS),
        most=0.1,
    ),
)
