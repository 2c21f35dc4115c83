"""Emails at a rate that nothing slows down: ``offer.py REDIS_URL FIRST COUNT RATE [TICK]``.

They are due at random times, as customers come. Whatever is due is enqueued in one call,
and between two calls lie at least TICK seconds. Prints when each was due (`time.monotonic_ns`), and
the rate that was reached; a producer that falls behind makes its emails late, and that counts.
"""

import json
import random
import sys
import time

from messages import MAIN

from mailer import Mailer

_LEAD = 0.05  # seconds before the first is due


def offer(mailer: Mailer, numbers: range, rate: float, tick: float) -> tuple[list[int], float]:
    """Enqueue them; return when each was due, and the rate that was reached."""
    chance = random.Random(0)
    emails = [MAIN.email(i) for i in numbers]
    length = len(emails) / rate
    begin = time.monotonic() + _LEAD
    due = [begin + after for after in sorted(chance.uniform(0, length) for _ in emails)]
    at = 0
    while at < len(emails):
        now = time.monotonic()
        end = at
        while end < len(emails) and due[end] <= now:
            end += 1
        if end > at + 1:
            mailer.enqueue_many(emails[at:end])
        elif end > at:
            mailer.enqueue(emails[at])
        at = end
        if at < len(emails):
            time.sleep(max(0.0, due[at] - time.monotonic(), now + tick - time.monotonic()))
    return [int(when * 1e9) for when in due], len(emails) / max(length, time.monotonic() - begin)


def main() -> None:
    """Offer, and tell."""
    url, first, count, rate = sys.argv[1], *map(float, sys.argv[2:5])
    tick = float(sys.argv[5]) if sys.argv[5:] else 0.0
    with Mailer(url) as mailer:
        mailer.counts()  # connected
        numbers = range(int(first), int(first + count))
        due, reached = offer(mailer, numbers, rate, tick)
    print(json.dumps({"due": due, "reached": reached}))


if __name__ == "__main__":
    main()
