"""This mailer: its producer, its workers, and how they play."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from peers import Enqueued, workload_folder
from scripts import run
from stage import Stage, Stuck, rate, until

from contenders.contender import Contender, Trial
from mailer.testing.processes import ProcessFailed, WorkerProcess

LAYOUT = 2  # worker processes; what delivers most on two cores
BATCH = 1000  # jobs in one Celery task; the default of 100 delivers some 12 % less
SINGLES = 0.25  # the share of the emails that are enqueued one by one
_SCRIPT = Path(__file__).parents[1] / "producer.py"


def produce(
    stage: Stage, count: int, *, many: bool = False, first: int = 0, gate: Path | None = None
) -> Enqueued:
    """Queue letters in a process of its own, as peers do."""
    path = os.pathsep.join(filter(None, [workload_folder(), os.environ.get("PYTHONPATH")]))
    environment = {**stage.bench.variables(), "PYTHONPATH": path, "BENCH_FIRST": str(first)}
    if gate:
        environment["BENCH_GATE"] = str(gate)
    told = run(_SCRIPT, *(["--many"] if many else []), count, environment=environment)
    return Enqueued(**json.loads(told))


@contextmanager
def workers(
    stage: Stage, count: int = LAYOUT, *, ready: bool = True, redis_url: str = "", **settings: str
) -> Iterator[list[WorkerProcess]]:
    """Run workers for the length of the block, all started at once.

    Args:
        ready: wait until they work.
        redis_url: another way to the server, such as a link that counts.
        settings: more of ``MAILER_…``, by their names in lower case.
    """
    environment = {
        "MAILER_REDIS_URL": redis_url or stage.redis.url,
        "MAILER_RELAY_URL": stage.sink.url,
        "MAILER_BATCH_SIZE": str(BATCH),
        **{f"MAILER_{name.upper()}": value for name, value in settings.items()},
    }
    started = [
        WorkerProcess(environment, stage.folder / f"worker-{i}.log", name=f"bench-{i}")
        for i in range(count)
    ]
    try:
        for worker in started:
            worker.start()
        for worker in started if ready else ():
            worker.wait_until_ready()
        yield started
    except ProcessFailed as error:
        raise Stuck(str(error)) from error
    finally:
        with ThreadPoolExecutor() as side_by_side:
            list(side_by_side.map(WorkerProcess.stop, started))


def play(stage: Stage, count: int, **settings: str) -> Trial:
    """Queue some one by one and the others in bulk, then deliver all."""
    singles = max(1, int(count * SINGLES))
    single = produce(stage, singles)
    bulk = produce(stage, count - singles, many=True, first=single.queued)
    with workers(stage, ready=False, **settings):
        delivered = rate(stage.sink.messages, single.queued + bulk.queued, "this mailer")
    return Trial(delivered, single.rate, bulk.rate)


def live(stage: Stage, count: int) -> float:
    """Queue all in bulk while workers wait for them."""
    with workers(stage):
        warm = produce(stage, 1).queued
        until(stage.sink.messages, warm, "this mailer, the first emails")
        queued = produce(stage, count, many=True, first=warm)
        until(stage.sink.messages, warm + queued.queued, "this mailer")
        return count / (time.monotonic() - queued.began)


OURS = Contender(
    name="ours",
    label="this mailer",
    kind="ours",
    play=play,
    live=live,
    produce=produce,
    note=f"{LAYOUT} worker processes, MAILER_BATCH_SIZE={BATCH}",
)
