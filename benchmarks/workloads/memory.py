"""The memory of a worker while it delivers very many emails."""

import time

import psutil
from contenders.ours import workers
from messages import SMALL
from results import Curve, Found, Row, Series
from session import Session
from stage import PATIENCE, Stage, Stuck, stage

from mailer import Mailer

NAME = "memory"
EARLY_SHARE = 50  # the earlier look is after a 50th of all emails: 10,000 of 500,000
EARLY, LATE, GROWTH = "RSS after the first, MB", "RSS after all, MB", "growth, MB"
_MB, _QUEUED, _CHUNK = 1e6, 5000, 1000
_LOOK_EVERY = 0.05


def measure(session: Session) -> Found:
    """Let one worker deliver half as many as the largest backlog has, and look at it."""
    total = session.most // 2
    with stage(SMALL) as here, workers(here, 1) as (worker,), Mailer(here.redis.url) as mailer:
        points = _watch(session, here, mailer, psutil.Process(worker.pid), total)
    early = next(rss for sent, rss in points if sent >= total / EARLY_SHARE)
    late = points[-1][1]
    values = {EARLY: early, LATE: late, GROWTH: late - early}
    row = Row(
        "ours",
        f"one worker process, {total // EARLY_SHARE:,} and {total:,} emails",
        {name: Series.of([value]) for name, value in values.items()},
    )
    sent, used = zip(*points, strict=True)
    return Found(NAME, (row,), curves=(Curve("one worker process", sent, used),))


def _watch(
    session: Session, here: Stage, mailer: Mailer, worker: psutil.Process, total: int
) -> list[tuple[float, float]]:
    """Keep the queue filled until all is sent; return how many were sent, and the memory (MB)."""
    points: list[tuple[float, float]] = []
    queued, before, since = 0, 0, time.monotonic()
    with session.doing(NAME) as task:
        while (sent := here.sink.messages()) < total:
            if sent > before:
                before, since = sent, time.monotonic()
                session.progress.update(task, total=total, completed=sent)
            elif time.monotonic() - since > PATIENCE:
                raise Stuck(f"a worker has sent {sent:,} of {total:,}, and goes no further")
            while queued < min(total, sent + _QUEUED):
                end = min(queued + _CHUNK, total)
                mailer.enqueue_many(SMALL.email(i) for i in range(queued, end))
                queued = end
            points.append((sent, worker.memory_info().rss / _MB))
            time.sleep(_LOOK_EVERY)
        time.sleep(1.0)  # results are recorded
        points.append((total, worker.memory_info().rss / _MB))
    return points
