"""What is measured, one module for each kind of workload; here they are in their order."""

from collections.abc import Callable

from attrs import frozen
from results import Found
from session import Session

from workloads import (
    backlog,
    delivery,
    latency,
    loop_lag,
    memory,
    merge,
    redis_cost,
    slow_relay,
    web,
)


@frozen
class Workload:
    """A workload as the command line and the page know it.

    Attributes:
        what: sentences for whoever reads the figures.
        alone: whether only this mailer takes part.
    """

    name: str
    title: str
    what: str
    play: Callable[[Session], Found]
    alone: bool = False


_QUEUED = "The queue is filled before the workers start; timed from 10 % to 100 % of the emails."

WORKLOADS = (
    Workload(
        "main",
        "4 KB, text and HTML",
        f"Every email differs. {_QUEUED} Single enqueues are a loop in one process, bulk is the "
        "call for many where there is one. What has no queue sends while it is called.",
        delivery.MAIN_DELIVERY,
    ),
    Workload("small", "1 KB of text", _QUEUED, delivery.SMALL_DELIVERY),
    Workload("large", "100 KB, text and HTML", _QUEUED, delivery.LARGE_DELIVERY),
    Workload("attached", "1 MB attached, each its own", _QUEUED, delivery.ATTACHED_DELIVERY),
    Workload("shared", "1 MB attached, all the same", _QUEUED, delivery.SHARED_DELIVERY),
    Workload(
        "merge",
        "Mail merge",
        "4 KB to each customer by one call, while workers wait; timed from the beginning of the "
        "call to the last 250.",
        merge.measure,
    ),
    Workload(
        "distant",
        "A relay 50 ms away",
        f"4 KB; every answer of the relay comes 50 ms late. {_QUEUED}",
        delivery.DISTANT_DELIVERY,
    ),
    Workload(
        "greylisted",
        "Retry storm",
        "4 KB; the relay turns half of the recipients away once, and says to try again in 2 s. "
        f"`MAILER_RETRY_DELAYS` is 2. {_QUEUED}",
        delivery.GREYLISTED_DELIVERY,
    ),
    Workload(
        "slow",
        "A slow relay, with messages that hang",
        "4 KB; the relay takes 1 s for each message, and never answers one in a hundred.",
        slow_relay.measure,
        alone=True,
    ),
    Workload(
        "latency",
        "From enqueue to 250",
        "4 KB, at random times that do not depend on how the system gets on; timed from when an "
        "email was due to be enqueued until the relay says 250. 50 a second one by one; half of "
        "the maximum by one process that enqueues every 10 ms what is due, by one call.",
        latency.measure,
        alone=True,
    ),
    Workload(
        "loop",
        "An event loop that enqueues 1,000 a second",
        "4 KB, `AsyncMailer.enqueue` at regular times; how much later than asked a task wakes up "
        "that sleeps for 1 ms at a time. A plain asyncio loop.",
        loop_lag.measure,
        alone=True,
    ),
    Workload(
        "web",
        "Single enqueues from eight web processes",
        "4 KB; from when all are ready until the last has enqueued its last.",
        web.measure,
    ),
    Workload(
        "redis",
        "What Redis pays",
        "4 KB, enqueued in bulk and delivered; everything per email.",
        redis_cost.measure,
        alone=True,
    ),
    Workload(
        "backlog",
        "Beside a backlog",
        "A short email; what leaves is replaced, so that as many wait all the time.",
        backlog.measure,
        alone=True,
    ),
    Workload(
        "memory",
        "A worker's memory",
        "1 KB of text; the queue is kept filled.",
        memory.measure,
        alone=True,
    ),
)
BY_NAME = {workload.name: workload for workload in WORKLOADS}

__all__ = ["BY_NAME", "WORKLOADS", "Workload"]
