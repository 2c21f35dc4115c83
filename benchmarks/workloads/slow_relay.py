"""A relay that takes a second for each message, and never answers one in a hundred."""

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
FINAL_SECONDS = 5.0  # after which a message that hangs is given up; RFC 5321 says 10 minutes
DELIVERED, BOUND, SHARE = "delivered/s", "connections x rate/s", "share of it"
_SECONDS = 15.0
_SETTLED_SECONDS = 2 * FINAL_SECONDS  # until as many messages hang as ever will


def measure(session: Session) -> Found:
    """Deliver for a while, once as many messages hang as ever will, and count."""
    bound = LAYOUT * CONNECTIONS / DELAY
    quick = session.rounds == 1
    settled, seconds = (2.0, 3.0) if quick else (_SETTLED_SECONDS, _SECONDS)
    count = int(bound * (settled + seconds) * 1.5)
    rates = []
    for _ in session.track(range(session.rounds), NAME):
        with stage(MAIN, delay=DELAY, hanging=HANGING) as here:
            rates.append(_rate(here, count, settled, seconds))
    delivered, most = Series.of(rates), Series.of([bound] * len(rates))
    row = Row(
        "ours",
        f"this mailer, {LAYOUT} x {CONNECTIONS} connections",
        {DELIVERED: delivered, BOUND: most, SHARE: delivered / most},
    )
    note = (
        f"`MAILER_SMTP_FINAL_SECONDS` is {FINAL_SECONDS:g}. A message that hangs keeps its "
        "connection for so long, and with the 600 s of RFC 5321 more and more connections would hang."
    )
    return Found(NAME, (row,), (note,))


def _rate(here: Stage, count: int, settled: float, seconds: float) -> float:
    with Mailer(here.redis.url) as mailer:
        mailer.enqueue_many(MAIN.email(i) for i in range(count))
    told = {"connections": str(CONNECTIONS), "smtp_final_seconds": str(FINAL_SECONDS)}
    with workers(here, **told):
        until(here.sink.messages, 1, "the first email to a slow relay")
        time.sleep(settled)
        begin, already = time.perf_counter(), here.sink.messages()
        time.sleep(seconds)
        done, took = here.sink.messages() - already, time.perf_counter() - begin
        if here.sink.messages() >= count * (1 - 2 * HANGING):
            raise Stuck("the queue for the slow relay ran empty while it was measured")
    return done / took
