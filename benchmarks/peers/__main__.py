"""Run each peer once, to see that it works: ``python -m benchmarks.peers --help``.

With ``--processes`` and ``--set`` it compares layouts. All on loopback; compare only figures of one
run. Some 300 emails for each peer, and about a minute once the environments are there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import redis
from rich.console import Console
from rich.table import Table

from mailer.testing import EmbeddedRedis

from . import PEERS, Bench, Enqueued, Peer, enqueue, versions, worker_log, workers
from .sinks import sink

sys.path.insert(0, str(Path(__file__).parents[1]))
from throughput import HTML, TEXT  # a script beside this package

PATIENCE = 120.0  # seconds without the last email
QUEUE, UNACKED = "celery", "unacked"  # keys of kombu, the latter for what workers have fetched
MESSAGE = {
    "from": "Shop <shop@example.com>",
    "to": "Jörg Müller <jm{i}@example.org>",
    "subject": "Bestellung {i} ✓",
    "text": TEXT,
    "html": HTML,
}


def measure(peer: Peer, attachment: int, count: int) -> tuple[Enqueued, float]:
    """Queue letters, then start workers; return what came of the former, and letters per second.

    The rate counts from a tenth of them, when the workers are warm, to the last.
    """
    with (
        tempfile.TemporaryDirectory(prefix="peers-") as folder,
        EmbeddedRedis() as server,
        sink() as (port, received),
    ):
        message = Path(folder) / "message.json"
        message.write_text(json.dumps({**MESSAGE, "attachment": attachment}), encoding="utf-8")
        bench = Bench(server.url, port, Path(folder), message)
        queued = enqueue(peer, bench, count)
        if peer.worker is None:
            until(received, queued.queued)
            return queued, queued.rate
        done = received
        if peer.counted_by == "broker":
            broker = redis.Redis.from_url(server.url)
            done = lambda: queued.queued - broker.llen(QUEUE) - broker.hlen(UNACKED)  # noqa: E731
        try:
            with workers(peer, bench):
                until(done, queued.queued // 10)
                begin, already = time.perf_counter(), done()
                until(done, queued.queued)
                return queued, (queued.queued - already) / (time.perf_counter() - begin)
        except TimeoutError:
            sys.stderr.write(worker_log(peer, bench).read_text(errors="replace")[-4000:])
            raise


def until(done: Callable[[], int], count: int) -> None:
    """Wait until that many are done."""
    deadline = time.monotonic() + PATIENCE
    while (so_far := done()) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{so_far} of {count} after {PATIENCE:g} s")
        time.sleep(0.01)


def main() -> None:
    """Run the peers, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--peer", action="append", choices=[peer.name for peer in PEERS])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--attachment", type=int, default=0, help="bytes")
    parser.add_argument("--processes", type=int, nargs="+", default=[None], help="to compare")
    parser.add_argument("--set", action="append", default=[], metavar="BENCH_NAME=VALUE")
    given = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in given.set)
    console = Console()
    table = Table("peer", "layout", "enqueued/s", "delivered/s")
    for peer in PEERS:
        if given.peer and peer.name not in given.peer:
            continue
        has = ", ".join(f"{name} {version}" for name, version in versions(peer).items())
        console.print(f"{peer.label}: {has}", style="dim")
        for processes in given.processes:
            layout = attrs.evolve(
                peer,
                processes=processes or peer.processes,
                settings={**peer.settings, **settings},
            )
            queued, rate = measure(layout, given.attachment, given.count)
            table.add_row(peer.name, layout.layout, f"{queued.rate:,.0f}", f"{rate:,.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
