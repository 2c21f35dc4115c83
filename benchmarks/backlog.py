"""What a backlog costs: Redis's steps, and a worker, beside 1,000 to 1,000,000 jobs that wait.

Each backlog has a Redis server of its own, and all are measured in turn, several rounds, so that
other work on the machine meets all alike: compare the ratios. The steps are timed by the server
itself (``INFO commandstats``) and by the clock around the call; claimed and begun jobs are put
back, and a backlog that a worker delivers from is filled up as it goes. About five minutes, 4 GB.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import attrs
import psutil
import redis
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from sinks import our_sink

from mailer import Email, JobState, Mailer, Priority, load_settings
from mailer.store.agenda import NOW, Agenda, Result
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys
from mailer.store.runners import SyncRunner
from mailer.testing import EmbeddedRedis
from mailer.testing.processes import WorkerProcess

BATCH, CLAIMS, SINGLES, HOUR = 100, 4, 10, 3600.0
FEW = 1000  # that are due where all others wait for their time
PATIENCE = 120.0  # seconds for one round of a worker
US, MB = 1e6, 2**20
ROWS = {
    **{
        f"{step}, {where}": "µs"
        for step in ("claim 100", "begin 100", "enqueue 1", "enqueue 100")
        for where in ("Redis", "call")
    },
    "memory": "bytes per job",
    "delivered": "per second",
    "worker's CPU": "µs per email",
    "Redis's CPU": "µs per email",
    "worker's RSS": "MB",
}
console = Console(width=None if os.isatty(1) else 120)


def email(**fields: Any) -> Email:
    ours = {"from_email": "shop@example.com", "subject": "Your order", "text": "Thank you.\n"}
    return Email(**ours, to="ann@example.org", **fields)


def due() -> list[Email]:
    return [email()]


def in_lanes() -> list[Email]:
    return [email(priority=priority) for priority in Priority]


def scheduled() -> list[Email]:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return [email(scheduled_at=tomorrow + timedelta(seconds=i * 617 % 1000)) for i in range(1000)]


@attrs.define(slots=False)
class Backlog:
    """A server with so many jobs that wait, and what was measured there.

    Attributes:
        base: the backlog with which it is compared, or None for itself.
    """

    name: str
    size: int
    emails: Callable[[], list[Email]] = due
    base: "Backlog | None" = None
    server: EmbeddedRedis = attrs.field(factory=EmbeddedRedis)
    figures: dict[str, list[float]] = attrs.field(factory=lambda: {row: [] for row in ROWS})
    claimed: list[str] = attrs.field(factory=list)

    @property
    def ready(self) -> int:
        """How many are due."""
        return FEW if self.emails is scheduled else self.size

    def open(self, stack: ExitStack) -> None:
        """Start the server, and connect to it."""
        stack.enter_context(self.server)
        self.raw = stack.enter_context(redis.Redis.from_url(self.server.url))
        settings = load_settings(redis_url=self.server.url)
        self.mailer = stack.enter_context(Mailer(settings=settings))
        self.runner = SyncRunner.connect(self.server.url, 5)
        stack.callback(self.runner.close)
        keys = Keys(settings.key_prefix)
        self.agenda, self.jobs = Agenda(keys), Jobs(keys, idempotency_seconds=1)

    def fill(self, progress: Progress) -> None:
        """Enqueue all, by the public call; to those for tomorrow, add 1,000 that are due."""
        before = self.raw.info("memory")["used_memory"]
        task = progress.add_task(f"enqueue {self.name}", total=self.size)

        def told() -> Iterator[Email]:
            for i, one in enumerate(islice(cycle(self.emails()), self.size)):
                if i % 1000 == 0:
                    progress.update(task, completed=i)
                yield one

        self.mailer.enqueue_many(told())
        progress.update(task, completed=self.size)
        used = self.raw.info("memory")["used_memory"] - before
        if self.emails is scheduled:
            self.mailer.enqueue_many([email()] * FEW)
        self.steps()  # not counted: the server learns the scripts
        self.figures = {row: [] for row in ROWS} | {"memory": [used / self.size]}

    def timed(self, what: str, repeat: int, call: Callable[[], Any]) -> list[Any]:
        """Time a step that is one script, as the server counts it and by our clock."""
        self.raw.config_resetstat()
        answers = []
        for _ in range(repeat):
            begin = time.perf_counter()
            answers.append(call())
            self.figures[f"{what}, call"].append((time.perf_counter() - begin) * US)
        took = self.raw.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
        self.figures[f"{what}, Redis"].append(took)
        return answers

    def steps(self) -> None:
        """Time each step, and leave as many jobs that wait as there were."""
        claim = self.agenda.claim(BATCH, BATCH // 3, HOUR)
        claims = self.timed("claim 100", CLAIMS, lambda: self.runner.run(claim))
        ids = [job_id for claim in claims for lane in claim.ids.values() for job_id in lane]
        batch, self.claimed = ids[:BATCH], self.claimed + ids[BATCH:]
        begin = self.agenda.begin(batch, "bench", HOUR)
        (begun,) = self.timed("begin 100", 1, lambda: self.runner.run(begin))
        back = [Result(b.lease, JobState.QUEUED, NOW, 0, b.recipients, None) for b in begun]
        if len(begun) != BATCH or not all(self.runner.run(self.agenda.finish(back))):
            raise RuntimeError("claimed jobs could not be begun, or not be put back")
        if len(self.claimed) + CLAIMS * BATCH > self.ready // 2:
            self.undispatch()  # until then claims go on to jobs that no cache knows
        one, many = email(), [email()] * BATCH
        receipts = self.timed("enqueue 1", SINGLES, lambda: [self.mailer.enqueue(one)])
        receipts += self.timed("enqueue 100", 1, lambda: self.mailer.enqueue_many(many))
        self.forget([receipt.id for some in receipts for receipt in some])

    def undispatch(self) -> None:
        """Put back what was claimed."""
        for start in range(0, len(self.claimed), 1000):
            self.runner.run(self.agenda.undispatch(self.claimed[start : start + 1000]))
        self.claimed = []

    def forget(self, ids: list[str]) -> None:
        self.runner.run_many([self.jobs.cancel(job_id) for job_id in ids])
        after = (self.raw.time()[0] + 1) * 1000
        self.runner.run(self.agenda.retire(JobState.CANCELED, after, ids))

    def work(self, relay: str, folder: Path, count: int) -> None:
        """Let a new worker deliver so many while the backlog is kept at its size."""
        own = {"MAILER_REDIS_URL": self.server.url, "MAILER_RELAY_URL": relay}
        with WorkerProcess(own, folder / "worker.log") as worker:
            process, store = psutil.Process(worker.pid), psutil.Process(self.server.pid)
            self.deliver(count // 3)  # it is warm now
            begin, already = time.perf_counter(), self.sent()
            cpu, store_cpu = cpu_of(process), cpu_of(store)
            self.deliver(count)
            done, took = self.sent() - already, time.perf_counter() - begin
            self.figures["delivered"].append(done / took)
            self.figures["worker's CPU"].append((cpu_of(process) - cpu) / done * US)
            self.figures["Redis's CPU"].append((cpu_of(store) - store_cpu) / done * US)
            self.figures["worker's RSS"].append(process.memory_info().rss / MB)

    def deliver(self, count: int) -> None:
        """Wait until so many are delivered; what leaves is replaced."""
        deadline, already = time.monotonic() + PATIENCE, self.sent()
        while (counts := self.mailer.counts())[JobState.SENT] < already + count:
            if (gone := self.ready - counts[JobState.QUEUED]) >= BATCH:
                kinds = due() if self.emails is scheduled else self.emails()
                self.mailer.enqueue_many(islice(cycle(kinds), gone))
            elif time.monotonic() > deadline:
                raise TimeoutError(f"only {counts} after {PATIENCE:g} s")
            time.sleep(0.01)

    def sent(self) -> int:
        return self.mailer.counts()[JobState.SENT]


def cpu_of(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])  # user and system


def table(backlogs: list[Backlog]) -> Table:
    """Put medians, quartiles and ratios to the backlog of 1,000 side by side."""
    found = Table("median xratio\nquartiles", *(backlog.name for backlog in backlogs))
    for row, unit in ROWS.items():
        cells = []
        for backlog in backlogs:
            low, median, high = statistics.quantiles(backlog.figures[row] * 3, n=4)  # of one too
            ratio = median / statistics.median((backlog.base or backlog).figures[row])
            cells.append(f"{median:,.0f} x{ratio:.2f}\n[dim]{low:,.0f} to {high:,.0f}")
        found.add_row(f"{row}\n[dim]{unit}", *cells)
    return found


def main() -> None:
    """Fill, measure in turn, print."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example: python benchmarks/backlog.py --most 100000 --rounds 50",
    )
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest backlog")
    parser.add_argument("--rounds", type=int, default=200, help="of the steps, 4 claims in each")
    parser.add_argument("--worker-rounds", type=int, default=3)
    parser.add_argument("--emails", type=int, default=3000, help="for a worker, in each round")
    given = parser.parse_args()
    most, few = given.most, Backlog(f"{FEW:,}", FEW)
    sizes = [size for size in (10_000, 100_000) if size < most] + [most]
    backlogs = [few, *(Backlog(f"{size:,}", size, base=few) for size in sizes)]
    backlogs.append(Backlog(f"{most:,} for later, {FEW:,} due", most, scheduled, few))
    backlogs.append(lanes := Backlog(f"{FEW:,} in three lanes", FEW, in_lanes))
    backlogs.append(Backlog(f"{most:,} in three lanes", most, in_lanes, lanes))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        relay = stack.enter_context(our_sink()).url
        for backlog in backlogs:
            backlog.open(stack)
        with Progress(console=console) as progress:
            for backlog in backlogs:
                backlog.fill(progress)
        for _ in track(range(given.rounds), "steps", console=console):
            for backlog in backlogs:
                backlog.steps()
        for backlog in backlogs:
            backlog.undispatch()
        for _ in track(range(given.worker_rounds), "workers", console=console):
            for backlog in backlogs:
                backlog.work(relay, folder, given.emails)
    console.print(table(backlogs))


if __name__ == "__main__":
    main()
