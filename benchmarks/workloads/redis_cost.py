"""What an email costs Redis: bytes while it waits and after it was sent, commands, round trips."""

import time
from collections.abc import Mapping
from contextlib import ExitStack

import redis
from contenders.ours import workers
from messages import MAIN
from results import Found, Row, Series
from session import Session
from stage import PATIENCE, Stage, stage, until

from mailer import JobState, Mailer
from mailer.testing.link import SlowLink

NAME = "redis"
QUEUED, SENT = "bytes beyond the payload while queued", "bytes after it was sent"
PRODUCER_TRIPS, WORKER_TRIPS = "producer's round trips", "workers' round trips"
PRODUCER_COMMANDS, WORKER_COMMANDS = "commands to enqueue", "commands to deliver"
_WARM = 100
PRODUCER_WIRE, WORKER_WIRE = "bytes on the wire to enqueue", "bytes on the wire to deliver"


def measure(session: Session) -> Found:
    """Enqueue in bulk, then deliver, both through links that count round trips."""
    count = max(500, session.emails // 2)
    every = session.track(range(session.rounds), NAME)
    rounds = [session.trial(lambda: _measure(count), NAME) for _ in every]
    figures = {name: Series.of(one[name] for one in rounds) for name in rounds[0]}
    payload = sum(map(MAIN.payload, range(count))) / count
    note = (
        f"Per email, {count:,} of them, with a payload of {payload:,.0f} bytes (addresses, "
        "subject, text, HTML). Commands include those that scripts run inside Redis; round trips "
        "were counted on the wire, those of Celery's broker included."
    )
    return Found(NAME, (Row("ours", "this mailer, in bulk", figures),), (note,))


def _measure(count: int) -> Mapping[str, float]:
    with ExitStack() as stack:
        here = stack.enter_context(stage(MAIN))
        raw = stack.enter_context(redis.Redis.from_url(here.redis.url))
        to_enqueue, to_deliver = (stack.enter_context(SlowLink(here.redis.port)) for _ in "ab")
        _enqueue(_through(here, to_enqueue), range(_WARM))  # the server learns the scripts
        _deliver(here, _through(here, to_deliver), _WARM)
        numbers = range(_WARM, _WARM + count)
        before, turns = _look(raw), to_enqueue.turns
        _enqueue(_through(here, to_enqueue), numbers)
        queued, turns = _look(raw), to_enqueue.turns - turns
        trips = _deliver(here, _through(here, to_deliver), numbers.stop, to_deliver)
        sent = _look(raw)
    payload = sum(map(MAIN.payload, numbers))
    return {
        QUEUED: (queued["memory"] - before["memory"] - payload) / count,
        SENT: (sent["memory"] - before["memory"]) / count,
        PRODUCER_TRIPS: turns / count,
        WORKER_TRIPS: trips,
        PRODUCER_COMMANDS: (queued["commands"] - before["commands"]) / count,
        WORKER_COMMANDS: (sent["commands"] - queued["commands"]) / count,
        PRODUCER_WIRE: (queued["wire"] - before["wire"]) / count,
        WORKER_WIRE: (sent["wire"] - queued["wire"]) / count,
    }


def _enqueue(url: str, numbers: range) -> None:
    with Mailer(url) as mailer:
        mailer.enqueue_many(MAIN.email(i) for i in numbers)


def _deliver(here: Stage, url: str, total: int, link: SlowLink | None = None) -> float:
    """Deliver until so many are recorded as sent; return round trips per email, once it is warm."""
    already = here.sink.messages()
    with workers(here, redis_url=url), Mailer(here.redis.url) as mailer:
        begun = until(here.sink.messages, already + (total - already) // 10, "the first emails")
        turns = link.turns if link else 0
        until(here.sink.messages, total, "emails through a link that counts")
        trips = ((link.turns if link else 0) - turns) / max(1, total - begun)
        deadline = time.monotonic() + PATIENCE
        while mailer.counts()[JobState.SENT] < total and time.monotonic() < deadline:
            time.sleep(0.2)  # these are commands too
    return trips


def _through(here: Stage, link: SlowLink) -> str:
    return here.redis.url.replace(f":{here.redis.port}/", f":{link.port}/")


def _look(raw: redis.Redis) -> Mapping[str, float]:
    found = raw.info()
    return {
        "memory": found["used_memory"],
        "commands": found["total_commands_processed"],
        "wire": found["total_net_input_bytes"] + found["total_net_output_bytes"],
    }
