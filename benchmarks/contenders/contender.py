"""A contender as a value: what it is called, and how it plays."""

from collections.abc import Callable, Mapping
from typing import Literal

from attrs import field, frozen
from peers import Enqueued
from results import Kind
from stage import Stage


class Unavailable(Exception):
    """A contender can't be measured on this machine; the text says why."""


@frozen
class Trial:
    """What came of one trial, in emails per second.

    Attributes:
        delivered: from a queue that was filled before the workers started.
        single: enqueued one by one.
        bulk: enqueued by the call for many, where there is one.
    """

    delivered: float
    single: float | None = None
    bulk: float | None = None


def _ready() -> Mapping[str, str]:
    return {}


@frozen
class Contender:
    """Something that delivers email.

    Attributes:
        share: how many emails it is given, as a share of ours, so that all trials take alike long.
        play: queue so many emails and have them delivered, with more settings where given.
        live: the same while the workers run already; returns emails per second from the beginning
            of the enqueueing to the last 250.
        produce: queue so many in a process of its own, and no more; None where there is no queue.
        prepare: make it ready; returns the versions of its parts, or raises `Unavailable`.
        installed: whether `prepare` has nothing left to do.
    """

    name: str
    label: str
    kind: Kind
    play: Callable[..., Trial]
    live: Callable[[Stage, int], float] | None = None
    produce: Callable[..., Enqueued] | None = None
    share: float = 1.0
    note: str = ""
    sink: Literal["ours", "postfix"] = "ours"
    prepare: Callable[[], Mapping[str, str]] = field(default=_ready)
    installed: Callable[[], bool] = field(default=lambda: True)
