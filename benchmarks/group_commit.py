"""Recording results one by one against recording them in groups: ``finish`` on a real Redis.

Alternately, several rounds each; jobs are enqueued and begun outside of the measured time.
See docs/decisions/0006. Takes some 20 s.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime

import msgspec

from mailer import Email, JobState, RecipientState, load_settings
from mailer.enqueueing import new_job
from mailer.job import Attempt, Decision
from mailer.store.agenda import ENDED, Agenda, Result
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys
from mailer.store.runners import AsyncRunner
from mailer.testing import EmbeddedRedis

JOBS, ROUNDS, SIZES = 1000, 5, (1, 10, 50, 200)


async def results(runner: AsyncRunner, jobs: Jobs, agenda: Agenda) -> list[Result]:
    """Enqueue and begin jobs; return a good end for each."""
    settings = load_settings()
    email = Email(from_email="shop@example.com", to="jm@example.org", text="Hi\n" * 1000)
    ended = []
    for _ in range(JOBS // 100):
        new = [new_job(email, settings) for _ in range(100)]
        receipts = await runner.run(jobs.enqueue(new))
        for job in await runner.run(agenda.begin([r.id for r in receipts], "bench", 60)):
            people = tuple(
                msgspec.structs.replace(r, state=RecipientState.ACCEPTED, reply="250 2.0.0 OK")
                for r in job.recipients
            )
            attempt = Attempt(1, datetime.now(UTC), Decision.SENT, reply="250 2.0.0 OK")
            ended.append(Result(job.lease, JobState.SENT, ENDED, 1, people, attempt))
    return ended


async def measure(url: str) -> None:
    """Print results per second for each size of groups."""
    keys = Keys("bench")
    runner, agenda = AsyncRunner.connect(url, 5), Agenda(keys)
    jobs = Jobs(keys, idempotency_seconds=60)
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            ready = await results(runner, jobs, agenda)
            begin = time.perf_counter()
            for start in range(0, JOBS, size):
                assert all(await runner.run(agenda.finish(ready[start : start + size])))
            rates[size].append(JOBS / (time.perf_counter() - begin))
    alone = statistics.median(rates[1])
    for size in SIZES:
        rate = statistics.median(rates[size])
        print(f"groups of {size:3}: {rate:8,.0f} results/s  x{rate / alone:.1f}")
    await runner.close()


if __name__ == "__main__":
    with EmbeddedRedis() as redis:
        asyncio.run(measure(redis.url))
