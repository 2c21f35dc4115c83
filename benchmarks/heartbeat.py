"""How late an event loop gets while it enqueues: ``heartbeat.py REDIS_URL RATE SECONDS``.

A task sleeps for a millisecond at a time and notes how much later it woke up: first alone, which
tells what the machine does to anybody, then beside `AsyncMailer.enqueue` at that rate, at regular
times and however long each takes. A plain asyncio loop, as Python has it.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

from messages import MAIN

from mailer import AsyncMailer

BEAT = 0.001  # seconds


async def lateness(late: list[float]) -> None:
    """Note how late each beat is, in seconds."""
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(BEAT)
        late.append(time.perf_counter() - begin - BEAT)


async def listen(seconds: float) -> list[float]:
    """Note the lateness of a loop that has nothing else to do."""
    late: list[float] = []
    with suppress(TimeoutError):
        await asyncio.wait_for(lateness(late), seconds)
    return late


async def offer(mailer: AsyncMailer, rate: float, seconds: float) -> float:
    """Enqueue at this rate; return the rate at which the enqueues were completed."""
    emails = [MAIN.email(i) for i in range(int(rate * seconds))]
    running: set[asyncio.Task[object]] = set()
    begin = time.perf_counter()
    for i, email in enumerate(emails):
        wait = begin + i / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(mailer.enqueue(email))
        running.add(task)
        if i % 100 == 0:
            running = {task for task in running if not task.done() or task.result() is None}
    await asyncio.gather(*running)
    return len(emails) / (time.perf_counter() - begin)


async def main(redis_url: str, rate: float, seconds: float) -> None:
    """Print the lateness of both, and the rate that was reached."""
    async with AsyncMailer(redis_url) as mailer:
        await mailer.enqueue(MAIN.email(0))
        alone = await listen(seconds / 2)
        late: list[float] = []
        beat = asyncio.create_task(lateness(late))
        reached = await offer(mailer, rate, seconds)
        beat.cancel()
    print(json.dumps({"reached": reached, "alone": alone, "late": late}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
