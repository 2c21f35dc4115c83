"""A relay that takes a second for each message, and never answers one in a hundred.

One worker process sends to ``sink.py``; every half minute a line says how many messages a second
the relay took, and how many connections it had seen. Without hanging messages that would be as
many messages as connections. See docs/decisions/0017. Runs as long as it is told to; it costs
little of the machine, for all it does is wait.
"""

import argparse
import tempfile
import time
from pathlib import Path

from sink import Counters
from sinks import our_sink

from mailer import Email, Mailer, load_settings
from mailer.testing import EmbeddedRedis
from mailer.testing.processes import WorkerProcess

_STEP = 30.0  # seconds of one line


def email(i: int) -> Email:
    """Write a short email; its recipient decides whether it is ever answered."""
    return Email(
        from_email="shop@example.com", to=f"jm{i}@example.org", subject="Hi", text="Hello!\n"
    )


def watch(counters: Counters, seconds: float, bound: float) -> None:
    """Print a line for each step."""
    while not counters["messages"]:
        time.sleep(0.05)
    begin = at = time.monotonic()
    before = first = counters["messages"]
    while at - begin < seconds:
        time.sleep(min(_STEP, begin + seconds - at))
        now, count = time.monotonic(), counters["messages"]
        rate, mean = (count - before) / (now - at), (count - first) / (now - begin)
        print(
            f"{now - begin:5.0f} s  {rate:6.2f}/s  {rate / bound:4.0%}  "
            f"so far {mean:6.2f}/s  {mean / bound:4.0%}  connections {counters['connections']}",
            flush=True,
        )
        at, before = now, count


def main() -> None:
    """Send, and watch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--hanging", type=float, default=0.01)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mailer-bench-"))
    bound = given.connections / given.delay
    with (
        EmbeddedRedis() as redis,
        our_sink(delay=given.delay, hanging=given.hanging) as relay,
    ):
        settings = {
            "MAILER_REDIS_URL": redis.url,
            "MAILER_RELAY_URL": relay.url,
            "MAILER_CONNECTIONS": str(given.connections),
            "MAILER_SHUTDOWN_SECONDS": "1",
        }
        with Mailer(settings=load_settings(redis_url=redis.url)) as mailer:
            mailer.enqueue_many(email(i) for i in range(round(1.2 * bound * given.seconds) + 100))
        with WorkerProcess(settings, folder / "worker.log"):
            watch(relay.counters, given.seconds, bound)
    print(f"the worker's log is {folder / 'worker.log'}")


if __name__ == "__main__":
    main()
