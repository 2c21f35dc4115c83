"""Single enqueues from eight web processes at once, and no worker beside them."""

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from contenders import Contender
from messages import MAIN
from peers import Enqueued
from results import Found, Row, Series
from session import Session
from stage import Stage, Stuck, stage

NAME = "web"
PROCESSES = 8
RATE = f"enqueued by {PROCESSES} processes/s"
_READY_SECONDS = 60.0


def measure(session: Session) -> Found:
    """Measure from the opening of a gate, before which all processes wait, to the last enqueue."""
    contenders = [
        contender
        for contender in session.only("ours", "celery_smtplib", "post_office")
        if contender.produce
    ]
    rates: dict[str, list[float]] = defaultdict(list)
    for contender in session.interleaved(contenders, NAME):
        each = max(25, int(session.emails * (0.05 if contender.kind == "ours" else 0.02)))
        once = partial(_together, contender, each)
        rates[contender.name].append(session.trial(once, contender.label))
    rows = (Row(c.name, c.label, {RATE: Series.of(rates[c.name])}, c.kind) for c in contenders)
    return Found(NAME, tuple(rows))


def _together(contender: Contender, each: int) -> float:
    with stage(MAIN) as here:
        contender.produce(here, 1)  # type: ignore[misc]  # the first one makes the database
        return _at_once(contender, here, each)


def _at_once(contender: Contender, here: Stage, each: int) -> float:
    gate = here.folder / "gate"
    gate.mkdir()

    def produce(number: int) -> Enqueued:
        return contender.produce(here, each, first=number * (each + 1), gate=gate)  # type: ignore[misc]

    with ThreadPoolExecutor(PROCESSES) as pool:
        running = [pool.submit(produce, number) for number in range(PROCESSES)]
        deadline = time.monotonic() + _READY_SECONDS
        while len(list(gate.iterdir())) < PROCESSES and not any(one.done() for one in running):
            if time.monotonic() > deadline:
                raise Stuck(f"{contender.label}: no {PROCESSES} producers got ready")
            time.sleep(0.01)
        (gate / "go").touch()
        done = [one.result() for one in running]
    ended = max(one.began + one.seconds for one in done)
    return sum(one.count for one in done) / (ended - min(one.began for one in done))
