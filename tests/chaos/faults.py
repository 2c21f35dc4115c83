"""The table of faults: what is done, how often, and whether copies may come of it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from chaos import strikes
from chaos.strikes import Strike, at_phase, at_step
from chaos.tap import Moment
from chaos.world import CONNECTIONS
from mailer.testing import Action

IN_WINDOW = 4 * CONNECTIONS
NOTHING: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen
class Fault:
    """One row of the table.

    Attributes:
        name: by which it is asked for, and known in the table.
        group: its heading there.
        what: is done, in words.
        may_double: how many emails may come twice of one strike: those between the final dot and
            our record of it at that moment, of which there are as many as connections, and as many
            again as their results wait to be recorded. Of those to be sent at most once, none may.
        rounds: of a full campaign.
        world: arguments of `chaos.world.world`.
        patience: seconds until all must have ended.
    """

    name: str
    group: str
    what: str
    strike: Strike
    may_double: int = 0
    rounds: int = 50
    world: Mapping[str, Any] = NOTHING
    patience: float = 30.0


POISON = """
from workers import building
import os, signal

build = building.Builder.build

async def poisonous(self, job, message, *args, **kwargs):
    if message.subject == "kills":
        os.kill(os.getpid(), signal.SIGKILL)
    if message.subject == "raises":
        raise ZeroDivisionError
    return await build(self, job, message, *args, **kwargs)

building.Builder.build = poisonous
"""


def _clocks(*hours: int) -> Mapping[str, Any]:
    """Have each worker's clock (CLOCK_REALTIME) wrong by so many hours."""
    package = find_spec("libfaketime")
    assert package is not None, "make setup installs libfaketime"
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0])
    (library,) = folder.rglob("libfaketime.so.1")
    return {
        "environments": tuple(
            {
                "LD_PRELOAD": str(library),
                "FAKETIME": f"{hour:+}h",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            for hour in hours
        )
    }


_KILLS = "SIGKILL of a worker"
_ENDS = "Other ends and stops of workers"
_PRODUCERS = "Producers"
_REDIS = "Redis"
_RELAYS = "Relays"

_TABLE = (
    Fault(
        *("claimed", _KILLS, "after it claimed jobs, before their batch is in the broker"),
        *(at_step("claim", Moment.REPLY), IN_WINDOW, 100),
    ),
    Fault(
        *("dispatched", _KILLS, "after dispatch: it has taken a batch, and not begun it"),
        *(at_step("begin", Moment.REQUEST), IN_WINDOW, 300),
    ),
    Fault(
        *("begun", _KILLS, "after begin: the leases are recorded, and it never hears of them"),
        *(at_step("begin", Moment.REPLY), IN_WINDOW, 300),
    ),
    Fault(
        *("before the dot", _KILLS, "before the final dot, at DATA"),
        *(at_phase("data", Action.CLOSE), IN_WINDOW, 300, {"chunking": False}),
    ),
    Fault(
        *("noted", _KILLS, "before the final dot of an at-most-once email, once it is noted"),
        *(at_step("commit", Moment.REPLY), IN_WINDOW, 100),
    ),
    Fault(
        *("after the dot", _KILLS, "between the final dot and the 250; the relay accepts"),
        *(at_phase("dot", Action.LOSE_REPLY), IN_WINDOW, 300),
    ),
    Fault(
        *("after the 250", _KILLS, "between the 250 and the record"),
        *(at_step("finish", Moment.REQUEST, 6), IN_WINDOW, 300),
    ),
    Fault(
        *("half a record", _KILLS, "while it records a group: Redis hears half of it"),
        *(at_step("finish", Moment.HALF, 6), IN_WINDOW, 300),
    ),
    Fault(
        *("recorded", _KILLS, "after a group is recorded, before it hears of that"),
        *(at_step("finish", Moment.REPLY, 6), IN_WINDOW, 100),
    ),
    Fault("at random", _KILLS, "at any time", strikes.at_random, IN_WINDOW, 1000),
    Fault(
        *("all workers", _ENDS, "SIGKILL of all workers at once"),
        *(strikes.kill_all, 2 * IN_WINDOW),
    ),
    Fault("SIGTERM", _ENDS, "SIGTERM under load", strikes.terminate),
    Fault(
        *("frozen", _ENDS, "SIGSTOP for longer than its leases, then SIGCONT"),
        *(strikes.freeze, IN_WINDOW, 50, {"chunking": False}),
    ),
    Fault(
        *("out of memory", _ENDS, "no more memory for a worker (RLIMIT_DATA)"),
        *(strikes.out_of_memory, IN_WINDOW, 25),
    ),
    Fault(
        *("wrong clocks", _ENDS, "clocks an hour before and behind, and SIGKILL at any time"),
        *(strikes.wrong_clocks, IN_WINDOW, 25, _clocks(+1, -1)),
    ),
    Fault(
        *("poison", _ENDS, "emails that end whatever process sends them"),
        *(strikes.poison, 4 * IN_WINDOW, 25, {"sitecustomize": POISON}, 60),
    ),
    Fault(
        *("producer", _PRODUCERS, "SIGKILL within enqueue_many, which is then repeated"),
        strikes.kill_producer,
    ),
    Fault(
        *("restart, always", _REDIS, "SIGKILL and restart, appendfsync always"),
        *(strikes.restart_redis, 0, 50, {"appendfsync": "always"}),
    ),
    Fault(
        *("restart, everysec", _REDIS, "SIGKILL and restart, appendfsync everysec"),
        strikes.restart_redis,
    ),
    Fault("frozen 1 s", _REDIS, "no answer for 1 s", strikes.freeze_redis(1)),
    Fault(
        *("frozen 30 s", _REDIS, "no answer for 30 s, which is longer than any lease"),
        *(strikes.freeze_redis(30), 2 * IN_WINDOW, 10),
    ),
    Fault("full", _REDIS, "no memory left (noeviction)", strikes.fill_redis),
    Fault("read-only", _REDIS, "refuses writes (READONLY)", strikes.read_only_redis),
    Fault("cut", _REDIS, "connections cut, again and again", strikes.cut_wires),
    Fault("broker emptied", _REDIS, "all of Celery's keys deleted", strikes.empty_broker),
    Fault(
        *("down", _RELAYS, "nothing listens for a while"),
        *(strikes.relay_down, 2 * CONNECTIONS),
    ),
    Fault(
        *("flapping", _RELAYS, "421 and closed connections, on and off"),
        *(strikes.relay_flaps, 12 * CONNECTIONS),
    ),
    Fault(
        *("dropping", _RELAYS, "accepts messages, and closes before it says so"),
        *(strikes.relay_drops, CONNECTIONS),
    ),
)

FAULTS = {fault.name: fault for fault in _TABLE}
