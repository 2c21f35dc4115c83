"""A relay that takes a second for each message, and never answers one in a hundred."""

import statistics
import time

from contenders.ours import LAYOUT, workers
from messages import MAIN
from results import Found, Row, Series
from session import Session
from stage import Stage, Stuck, stage, until

from mailer import Mailer

NAME = "slow"
CONNECTIONS = 100  # of each worker
DELAY, HANGING = 1.0, 0.01
DELIVERED, BOUND, SHARE = "delivered/s", "connections x rate/s", "share of it"
_SECONDS, _LOOK_EVERY = 15.0, 0.02
_SETTLED_SECONDS = 30.0  # by then a third of all connections would hang, if they held up the others


def measure(session: Session) -> Found:
    """Deliver for a while, once many messages hang, and count."""
    bound = LAYOUT * CONNECTIONS / DELAY
    quick = session.rounds == 1
    settled, seconds = (5.0, 5.0) if quick else (_SETTLED_SECONDS, _SECONDS)
    count = int(bound * (settled + seconds) * 1.5)
    every = session.track(range(session.rounds), NAME)
    rates = [session.trial(lambda: _rate(count, settled, seconds), NAME) for _ in every]
    delivered, most = Series.of(rates), Series.of([bound] * len(rates))
    row = Row(
        "ours",
        f"this mailer, {LAYOUT} x {CONNECTIONS} connections",
        {DELIVERED: delivered, BOUND: most, SHARE: delivered / most},
    )
    note = (
        "A message that hangs keeps its connection for the 600 s of RFC 5321, and others have a "
        f"new one meanwhile. Counted for {seconds:g} s, after {settled:g}."
    )
    return Found(NAME, (row,), (note,))


def _rate(count: int, settled: float, seconds: float) -> float:
    told = {
        "connections": str(CONNECTIONS),
        "shutdown_seconds": "1",
    }  # the hanging are cut off then
    with stage(MAIN, delay=DELAY, hanging=HANGING) as here:
        with Mailer(here.redis.url) as mailer:
            mailer.enqueue_many(MAIN.email(i) for i in range(count))
        with workers(here, **told):
            until(here.sink.messages, 1, "the first email to a slow relay")
            time.sleep(settled)
            slope = _slope(here, seconds)
            if here.sink.messages() >= count * (1 - 2 * HANGING):
                raise Stuck("the queue for the slow relay ran empty while it was measured")
    return slope


def _slope(here: Stage, seconds: float) -> float:
    """Return how many come a second: in bursts, for all connections began at once.

    So it is the slope of a line through all that was seen; a mere difference would depend on
    whether a burst more or less falls into the time.
    """
    times, counts, begin = [], [], time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds:
        times.append(now)
        counts.append(here.sink.messages())
        time.sleep(_LOOK_EVERY)
    return statistics.linear_regression(times, counts).slope
