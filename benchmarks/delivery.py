"""What ways to deliver cost: DATA and CHUNKING, at least and at most once, with and without limits.

One worker on loopback, each way in turn, several rounds; and one session through a link of 50 ms.
Compare only figures of one run. Some 40,000 emails of 4 KB; takes about two minutes.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
from messages import MAIN
from sinks import our_sink

from mailer import Mailer, load_settings
from mailer.testing import EmbeddedRedis, SmtpServerThread
from mailer.testing.link import SlowLink
from mailer.testing.processes import WorkerProcess
from workers.relays.relay import Relay
from workers.smtp.connector import Connector
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Envelope

EMAILS, ROUNDS, MESSAGES = 2000, 5, 100
MESSAGE = b"Subject: Hi\r\n\r\n" + b"A line of a letter, as they are, with a few words.\r\n" * 80
# the name of a way → what the worker is told more, and the fields of its emails
WAYS: Mapping[str, tuple[str, dict[str, str]]] = {
    "CHUNKING": ("", {}),
    "DATA": ('without = ["CHUNKING"]', {}),
    "at most once": ("", {"delivery": "at-most-once"}),
    "with a limit that is never reached": ('rate = "100000/s"\nmax_connections = 100', {}),
}


def delivered(redis: EmbeddedRedis, sink: str, way: str, folder: Path) -> float:
    """Send all emails; return how many a second."""
    more, fields = WAYS[way]
    config = folder / "mailer.toml"
    config.write_text(f'[relays.main]\nurl = "{sink}"\n{more}\n')
    prefix = f"bench-{time.monotonic_ns()}"
    settings = load_settings(redis_url=redis.url, key_prefix=prefix)
    own = {
        "MAILER_REDIS_URL": redis.url,
        "MAILER_KEY_PREFIX": prefix,
        "MAILER_CONFIG": str(config),
    }
    with Mailer(settings=settings) as mailer, WorkerProcess(own, folder / "worker.log"):
        warm = mailer.enqueue(MAIN.email(0))
        mailer.wait(warm.id)
        begin = time.perf_counter()
        mailer.enqueue_many(attrs.evolve(MAIN.email(i), **fields) for i in range(EMAILS))
        while mailer.counts()["sent"] <= EMAILS:
            time.sleep(0.01)
        return EMAILS / (time.perf_counter() - begin)


async def through(port: int, *, without: str = "") -> float:
    """Send on one session; return messages per second."""
    relay = attrs.evolve(Relay.parse(f"smtp://127.0.0.1:{port}"), without=frozenset({without}))
    session = await Connector(relay, "bench", 10.0, Timeouts())()
    await session.transact(Envelope("a@example.com", ["b@example.org"]), MESSAGE)
    begin = time.perf_counter()
    for _ in range(MESSAGES):
        await session.transact(Envelope("a@example.com", ["b@example.org"]), MESSAGE)
    rate = MESSAGES / (time.perf_counter() - begin)
    session.close()
    return rate


def main() -> None:
    """Measure, and print medians."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(appendonly=True) as redis,
        our_sink() as sink,
    ):
        for _ in range(ROUNDS):
            for way in WAYS:
                rates[way].append(delivered(redis, sink.url, way, Path(folder)))
    base = statistics.median(rates["CHUNKING"])
    for way, found in rates.items():
        rate = statistics.median(found)
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"{way:36} {rate:8,.0f}/s  ratio {rate / base:.2f}  ({spread})")
    with SmtpServerThread(keep=False) as smtp, SlowLink(smtp.port, 0.05) as link:
        for without in ("", "chunking"):
            name = f"one session through 50 ms, {'DATA' if without else 'CHUNKING'}"
            print(f"{name:36} {asyncio.run(through(link.port, without=without)):8.1f}/s")


if __name__ == "__main__":
    main()
