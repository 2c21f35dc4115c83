"""Whether enqueueing blocks an event loop; see ``heartbeat.py``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from messages import MAIN
from results import Found, Row, Series
from scripts import run
from session import Session
from stage import stage

NAME = "loop"
RATE = 1000.0  # a second
P50, P99, MAX = "late p50 ms", "late p99 ms", "latest ms"
REACHED, OF_OFFER = "enqueued/s", "share of the offer"
_SECONDS = 5.0
_SCRIPT = Path(__file__).parents[1] / "heartbeat.py"


def measure(session: Session) -> Found:
    """Listen to the loop alone, and while it enqueues."""
    seconds = _SECONDS if session.rounds > 1 else 1.0
    every = session.track(range(session.rounds), NAME)
    rounds = [session.trial(lambda: _listen(seconds), NAME) for _ in every]
    reached = Series.of(each["reached"] for each in rounds)
    offered = Series.of([RATE] * len(rounds))
    busy = _figures([each["late"] for each in rounds])
    rows = (
        Row("busy", "AsyncMailer", {**busy, REACHED: reached, OF_OFFER: reached / offered}),
        Row("alone", "the loop alone", _figures([each["alone"] for each in rounds]), "limit"),
    )
    return Found(NAME, rows)


def _listen(seconds: float) -> Mapping[str, Any]:
    with stage(MAIN) as here:
        return json.loads(run(_SCRIPT, here.redis.url, RATE, seconds))


def _figures(lateness: list[list[float]]) -> dict[str, Series]:
    ordered = [sorted(late) for late in lateness]
    return {
        name: Series.of(late[int(share * (len(late) - 1))] * 1000 for late in ordered)
        for name, share in ((P50, 0.5), (P99, 0.99), (MAX, 1.0))
    }
