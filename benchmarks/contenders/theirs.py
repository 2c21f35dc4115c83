"""What users pick instead: each of the peers as a contender."""

import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import redis
from attrs import evolve
from peers import Enqueued, Peer, PeerFailed, enqueue, environment, installed, versions, workers
from stage import Stage, Stuck, rate, until

from contenders.contender import Contender, Trial, Unavailable

SINGLES = 0.5  # the share that is enqueued one by one, where there is a call for many too
_QUEUE, _UNACKED = "celery", "unacked"  # keys of kombu, the latter for what workers have fetched
# How many emails each is given, as a share of ours; roughly how fast they are.
_SHARES = {
    "post_office": 0.4,  # it reads and records a thousand at a time: fewer would flatter it
    "celery_email_bulk": 0.2,
    "celery_smtplib": 0.06,
    "celery_aiosmtplib": 0.06,
    "celery_empty": 0.2,
}
_USUAL_SHARE = 0.1
_EMPTY = "celery_empty"


def contender_of(peer: Peer) -> Contender:
    """Make a contender of a peer; Celery's empty task is a limit."""
    live = peer.worker and not peer.ends and peer.counted_by == "sink"
    return Contender(
        name=peer.name,
        label=peer.label,
        kind="limit" if peer.name == _EMPTY else "peer",
        play=partial(_play, peer),
        live=partial(_live, peer) if live else None,
        produce=partial(_produce, peer) if peer.worker else None,
        share=_SHARES.get(peer.name, _USUAL_SHARE),
        note=peer.layout,
        prepare=partial(_prepare, peer),
        installed=partial(installed, peer),
    )


def _prepare(peer: Peer) -> Mapping[str, str]:
    try:
        environment(peer)
        return versions(peer)
    except subprocess.CalledProcessError as error:
        raise Unavailable(
            f"{peer.label} could not be installed: {Path(error.cmd[0]).name} ended with "
            f"{error.returncode}; is there a package index?"
        ) from error


def _produce(
    peer: Peer,
    stage: Stage,
    count: int,
    *,
    many: bool = False,
    first: int = 0,
    gate: Path | None = None,
) -> Enqueued:
    told = {"BENCH_FIRST": str(first), **({"BENCH_GATE": str(gate)} if gate else {})}
    # the name is that of the logs, and several may run at once
    own = evolve(peer, name=f"{peer.name}-{first}", settings={**peer.settings, **told})
    try:
        return enqueue(own, stage.bench, count, many=many)
    except (PeerFailed, subprocess.TimeoutExpired) as error:
        raise Stuck(str(error)) from error


def _play(
    peer: Peer, stage: Stage, count: int, processes: str | None = None, **settings: str
) -> Trial:
    """Queue all, then have the workers deliver them; without a queue, enqueueing is delivering.

    Args:
        processes: how many send, where that is not as usual.
        settings: more of ``BENCH_…``, by their names in lower case.
    """
    more = {f"BENCH_{name.upper()}": value for name, value in settings.items()}
    peer = evolve(
        peer,
        processes=int(processes or peer.processes),
        settings={**peer.settings, **more},
    )
    if peer.worker is None:
        queued = _produce(peer, stage, count)
        until(stage.sink.messages, queued.queued, peer.label)
        return Trial(delivered=queued.rate)
    singles = max(1, int(count * SINGLES)) if peer.enqueue_many else count
    single, bulk = _produce(peer, stage, singles), None
    total = single.queued
    if peer.enqueue_many:
        bulk = _produce(peer, stage, count - singles, many=True, first=total)
        total += bulk.queued
    with workers(peer, stage.bench):
        delivered = rate(_done(peer, stage, total), total, peer.label)
    if "--many" in peer.enqueue:
        return Trial(delivered, None, single.rate)
    return Trial(delivered, single.rate, bulk.rate if bulk else None)


def _live(peer: Peer, stage: Stage, count: int) -> float:
    """Queue all, in bulk where there is a call for it, while workers wait for them."""
    with workers(peer, stage.bench):
        warm = _produce(peer, stage, 1).queued
        until(stage.sink.messages, warm, f"{peer.label}, the first emails")
        queued = _produce(peer, stage, count, many=True, first=warm)
        until(stage.sink.messages, warm + queued.queued, peer.label)
        return count / (time.monotonic() - queued.began)


def _done(peer: Peer, stage: Stage, total: int) -> Callable[[], int]:
    if peer.counted_by == "sink":
        return stage.sink.messages
    broker = redis.Redis.from_url(stage.redis.url)
    return lambda: total - broker.llen(_QUEUE) - broker.hlen(_UNACKED)
