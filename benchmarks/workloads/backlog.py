"""What an email costs a worker and Redis, beside few jobs that wait and beside a million."""

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from backlog import Backlog
from results import Found, Row, Series
from session import Session
from sinks import our_sink

NAME = "backlog"
FEWEST, BETWEEN = 1000, 100_000
DELIVERED, WORKER, REDIS = "delivered/s", "worker's CPU, µs/email", "Redis's CPU, µs/email"
BOTH, RSS = "CPU, µs/email", "worker's RSS, MB"
_FIGURES = {
    DELIVERED: "delivered",
    WORKER: "worker's CPU",
    REDIS: "Redis's CPU",
    RSS: "worker's RSS",
}


def measure(session: Session) -> Found:
    """Fill a server for each size, then let one worker after another deliver from each in turn."""
    sizes = [FEWEST, *(size for size in (BETWEEN,) if size < session.most), session.most]
    backlogs = [Backlog(f"{size:,}", size) for size in sizes]
    emails = max(500, session.emails // 5)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailer-bench-")))
        relay = stack.enter_context(our_sink()).url
        for one in backlogs:
            one.open(stack)
            one.fill(session.progress)
        for one in session.interleaved(backlogs, NAME):
            session.trial(partial(one.work, relay, folder, emails), f"beside {one.name}")
    return Found(NAME, tuple(map(_row, backlogs)), notes=("One worker process.",))


def _row(one: Backlog) -> Row:
    figures = {title: Series.of(one.figures[name]) for title, name in _FIGURES.items()}
    pairs = zip(figures[WORKER].values, figures[REDIS].values, strict=True)
    figures[BOTH] = Series.of(map(sum, pairs))
    return Row(str(one.size), f"{one.name} that wait", figures)
