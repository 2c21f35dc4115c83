"""How fast one worker delivers, how long an email takes, and whether urgent ones overtake.

All on loopback: Redis, one worker process, and an SMTP server that accepts everything, each a
process of its own. Figures differ from machine to machine and from minute to minute; compare only
those of one run. Bounded: some 150,000 emails of 4 KB, and at most about two minutes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track

from mailer import Email, JobState, Mailer, Priority, load_settings
from mailer.testing import EmbeddedRedis
from mailer.testing.processes import WorkerProcess

TEXT = "\n".join(f"Line {i} of a letter, as they are." for i in range(50))
HTML = "<html>" + "".join(f"<p>Absatz {i}: schöne Grüße</p>" for i in range(60)) + "</html>"
PATIENCE = 300.0  # seconds for any one part

console = Console()


def email(i: int, priority: Priority = Priority.NORMAL) -> Email:
    """Write a 4 KB email with text, HTML and a subject that is not ASCII."""
    return Email(
        from_email="Shop <shop@example.com>",
        to=f"Jörg Müller <jm{i}@example.org>",
        subject=f"Bestellung {i} ✓",
        text=TEXT,
        html=HTML,
        priority=priority,
    )


@contextmanager
def smtp_sink() -> Iterator[str]:
    """Run the SMTP server as a process; yield its URL."""
    arguments = [sys.executable, "-m", "mailer.testing"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout
        port = json.loads(process.stdout.readline())["port"]
        try:
            yield f"smtp://127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_for(mailer: Mailer, sent: int) -> None:
    """Wait until that many emails were sent."""
    deadline = time.monotonic() + PATIENCE
    while mailer.counts()[JobState.SENT] < sent:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {mailer.counts()} after {PATIENCE:g} s")
        time.sleep(0.01)


def throughput(mailer: Mailer, worker: WorkerProcess, count: int, rounds: int) -> list[float]:
    """Measure emails per second, from a backlog that was enqueued before the worker started."""
    rates = []
    for _ in track(range(rounds), "throughput", console=console):
        before = mailer.counts()[JobState.SENT]
        mailer.enqueue_many(email(i) for i in range(count))
        with worker:
            wait_for(mailer, before + count // 10)  # it is warm now
            begin, already = time.perf_counter(), mailer.counts()[JobState.SENT]
            wait_for(mailer, before + count)
            rates.append((before + count - already) / (time.perf_counter() - begin))
    return rates


def latency(mailer: Mailer, count: int) -> list[float]:
    """Measure seconds from enqueue until the job is recorded as sent, one at a time."""
    took = []
    for i in track(range(count), "latency", console=console):
        begin = time.perf_counter()
        job_id = mailer.enqueue(email(i)).id
        while mailer.get(job_id).state is not JobState.SENT:
            time.sleep(0.0005)
        took.append(time.perf_counter() - begin)
        time.sleep(0.02)  # an idle system: some 40 a second
    return took


def urgent(mailer: Mailer, worker: WorkerProcess, backlog: int, count: int) -> list[float]:
    """Measure how long urgent emails take that come behind a backlog of bulk mail."""
    mailer.enqueue_many(email(i, Priority.LOW) for i in track(range(backlog), "backlog"))
    took = []
    with worker:
        for i in track(range(count), "urgent", console=console):
            begin = time.perf_counter()
            job_id = mailer.enqueue(email(i, Priority.HIGH)).id
            while mailer.get(job_id).state is not JobState.SENT:
                time.sleep(0.002)
            took.append(time.perf_counter() - begin)
        if mailer.counts()[JobState.QUEUED] == 0:
            raise RuntimeError("the backlog was gone before the last urgent email was sent")
    return took


def main() -> None:
    """Run all parts and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emails", type=int, default=10_000, help="per round of throughput")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=100_000, help="low ones behind which …")
    parser.add_argument("--json", action="store_true", help="print figures as JSON, for scripts")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mailer-bench-"))
    with EmbeddedRedis() as redis, smtp_sink() as relay:
        settings = {"MAILER_REDIS_URL": redis.url, "MAILER_RELAY_URL": relay}
        worker = WorkerProcess(settings, folder / "worker.log")
        with Mailer(settings=load_settings(redis_url=redis.url)) as mailer:
            rates = throughput(mailer, worker, given.emails, given.rounds)
            with worker:
                latency(mailer, 20)
                times = latency(mailer, 200)
            urgent_times = urgent(mailer, worker, given.backlog, 20)
    figures = {
        "delivered/s, one worker process (median)": round(statistics.median(rates)),
        "delivered/s (lowest, highest)": [round(min(rates)), round(max(rates))],
        "idle, enqueue to recorded, p50 ms": round(statistics.median(times) * 1000, 1),
        "idle, enqueue to recorded, p99 ms": round(
            statistics.quantiles(times, n=100)[98] * 1000, 1
        ),
        f"urgent behind {given.backlog:,}, worst ms": round(max(urgent_times) * 1000),
    }
    if given.json:
        print(json.dumps(figures))
    else:
        for name, figure in figures.items():
            console.print(f"{name:45} {figure}")


if __name__ == "__main__":
    main()
