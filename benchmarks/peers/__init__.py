"""What people pick instead of this mailer, ready to be measured side by side with it.

>>> enqueue(peer, bench, 1000)
>>> with workers(peer, bench): ...

Each peer is the smallest code that a good user would write, in a folder of its own, and runs in an
environment of its own (`environment`). ``python benchmarks/layouts.py`` compares their layouts.
"""

from .catalogue import PEERS
from .environments import environment, installed, versions
from .peer import Bench, Peer
from .processes import (
    Enqueued,
    PeerFailed,
    enqueue,
    group,
    worker_log,
    workers,
    workload_folder,
)

__all__ = [
    "PEERS",
    "Bench",
    "Enqueued",
    "Peer",
    "PeerFailed",
    "enqueue",
    "environment",
    "group",
    "installed",
    "versions",
    "worker_log",
    "workers",
    "workload_folder",
]
