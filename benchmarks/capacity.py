"""What it costs to look, at every enqueue, whether there is room: no limit, memory, backlog, both.

Producers with different settings in turn, on one server and prefix; compare only figures of one
run. Takes some 20 s.
"""

import argparse
import statistics
import time

import redis

from mailer import Email, Mailer, load_settings
from mailer.testing import EmbeddedRedis

EMAIL = Email(from_email="shop@example.com", to="ann@example.org", text="Thank you.\n")
LIMITS = {
    "no limit": {"max_memory_share": 0},
    "memory": {"max_memory_share": 0.8},
    "backlog": {"max_memory_share": 0, "max_backlog": 10_000_000},
    "both": {"max_memory_share": 0.8, "max_backlog": 10_000_000},
}
REPEAT = {1: 50, 100: 3}  # calls of so many emails in each round


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python benchmarks/capacity.py --rounds 20"
    )
    parser.add_argument("--rounds", type=int, default=150)
    given = parser.parse_args()
    calls: dict[tuple[str, int], list[float]] = {(way, n): [] for way in LIMITS for n in REPEAT}
    inside: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as raw:
        url = server.url
        mailers = {
            way: Mailer(settings=load_settings(redis_url=url, **LIMITS[way])) for way in LIMITS
        }
        mailers["both"].enqueue(EMAIL)  # the server learns the script
        for _ in range(given.rounds):
            for (way, count), times in calls.items():
                raw.config_resetstat()
                begin = time.perf_counter()
                for _ in range(REPEAT[count]):
                    mailers[way].enqueue_many([EMAIL] * count)
                times.append((time.perf_counter() - begin) / REPEAT[count] * 1e6)
                took = raw.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
                inside[way, count].append(took)
        for mailer in mailers.values():
            mailer.close()
    for way, count in calls:
        figures = []
        for found in (inside, calls):
            low, median, high = statistics.quantiles(found[way, count], n=4)
            ratio = median / statistics.median(found["no limit", count])
            figures.append(f"{median:8,.1f} µs  x{ratio:.3f} ({low:,.0f} to {high:,.0f})")
        print(f"{way:9} {count:4} emails: Redis {figures[0]:38} call {figures[1]}")


if __name__ == "__main__":
    main()
