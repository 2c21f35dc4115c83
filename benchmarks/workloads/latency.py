"""How long an email takes from when it was due to be enqueued until the relay's 250.

At a rate that does not depend on how the system gets on, so that waiting counts: 50 a second on an
idle system; and half of what was delivered in the main workload, enqueued every 10 ms by one call.
"""

import json
from functools import partial
from pathlib import Path

from attrs import frozen
from contenders.ours import workers
from messages import MAIN
from results import Curve, Found, Row, Series
from scripts import run
from session import Session
from stage import Stage, stage, until

from workloads.delivery import DELIVERED, MAIN_DELIVERY

NAME = "latency"
P50, P90, P99, WORST = "p50 ms", "p90 ms", "p99 ms", "worst ms"
OFFERED, REACHED = "offered/s", "reached/s"
IDLE_RATE, TICK = 50.0, 0.01
_SECONDS, _WARM_SECONDS = 8.0, 1.0
_SCRIPT = Path(__file__).parents[1] / "offer.py"
_SHARES = ((P50, 0.5), (P90, 0.9), (P99, 0.99), (WORST, 1.0))
_POINTS = 400  # of a curve


@frozen
class _Offer:
    """What came of an offer: the latencies in order (ms), and the rate that was reached."""

    took: list[float]
    reached: float


def measure(session: Session) -> Found:
    """Offer at both rates in turn."""
    half = _maximum(session) / 2
    seconds = _SECONDS if session.rounds > 1 else 2.0
    cases = {"idle": (IDLE_RATE, 0.0), "half": (half, TICK)}
    found: dict[str, list[_Offer]] = {name: [] for name in cases}
    for name in session.interleaved(cases, NAME):
        once = partial(_offer, *cases[name], seconds)
        found[name].append(session.trial(once, f"{NAME}, {name}"))
    labels = {"idle": f"{IDLE_RATE:g}/s, idle", "half": f"{half:,.0f}/s, half the maximum"}
    rows = tuple(_row(name, labels[name], cases[name][0], found[name]) for name in cases)
    curves = tuple(_curve(labels[name], found[name]) for name in cases)
    return Found(NAME, rows, curves=curves)


def _maximum(session: Session) -> float:
    """Return what is delivered at most, from the main workload or a short one of the same kind."""
    main = session.found.get(MAIN_DELIVERY.name)
    series = main.series("ours", DELIVERED) if main else None
    if series:
        return series.median
    (ours,) = session.only("ours")
    with stage(MAIN) as here, session.doing("latency: the maximum rate"):
        return ours.play(here, session.emails).delivered


def _offer(rate: float, tick: float, seconds: float) -> _Offer:
    warm, count = int(rate * _WARM_SECONDS), int(rate * seconds)
    with stage(MAIN, times=warm + count) as here, workers(here):
        return _offered(here, warm, count, rate, tick)


def _offered(here: Stage, warm: int, count: int, rate: float, tick: float) -> _Offer:
    assert here.sink.times
    run(_SCRIPT, here.redis.url, 0, warm, rate, tick)
    until(here.sink.messages, warm, "emails to warm up")
    told = json.loads(run(_SCRIPT, here.redis.url, warm, count, rate, tick))
    until(here.sink.messages, warm + count, "emails at a steady rate")
    came = [here.sink.times[warm + i] for i in range(count)]
    took = sorted((came[i] - due) / 1e6 for i, due in enumerate(told["due"]))
    return _Offer(took, told["reached"])


def _row(name: str, label: str, rate: float, offers: list[_Offer]) -> Row:
    figures = {
        title: Series.of(offer.took[int(share * (len(offer.took) - 1))] for offer in offers)
        for title, share in _SHARES
    }
    figures[OFFERED] = Series.of([rate] * len(offers))
    figures[REACHED] = Series.of(offer.reached for offer in offers)
    return Row(name, label, figures)


def _curve(label: str, offers: list[_Offer]) -> Curve:
    """Return the distribution over all rounds: milliseconds, and the share that took no longer."""
    took = sorted(one for offer in offers for one in offer.took)
    last = len(took) - 1
    at = sorted({round(i * last / _POINTS) for i in range(_POINTS + 1)})
    return Curve(label, tuple(took[i] for i in at), tuple((i + 1) / len(took) for i in at))
