"""Every fault of the campaign: a generator that prepares it, yields, and then does it.

At the ``yield`` emails are enqueued, unless the fault does that itself.
"""

import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from chaos.stage import OTHER, VICTIM, Stage
from chaos.taps import Side, Trigger
from mailer.store.operation import script
from mailer.testing.faults import Action, Fault, lose_reply, slow
from mailer.testing.smtp_state import EXTENSIONS

Play = Callable[[Stage, random.Random], Iterator[None]]
IN_WINDOW = "in flight"  # between the final dot and our record of it
_PLAIN = tuple(name for name in EXTENSIONS if name not in {"PIPELINING", "CHUNKING"})
_HERE = Path(__file__).parent


@attrs.frozen
class Kind:
    """One fault.

    Attributes:
        title: for people.
        rounds: in the full campaign.
        copies: whether there may be second copies, and why; empty: there may be none.
        limit: seconds within which all emails must have ended.
        is_kill: it hits a named point of a worker's work.
        enqueues: it enqueues the emails itself.
        ends_workers: they end without being killed from here.
    """

    name: str
    title: str
    play: Play
    rounds: int
    copies: str = ""
    limit: float = 30.0
    is_kill: bool = False
    appendfsync: str = "everysec"
    enqueues: bool = False
    ends_workers: bool = False


KINDS: dict[str, Kind] = {}


def fault(title: str, rounds: int, **more: object) -> Callable[[Play], Play]:
    """Add a fault to the campaign, under its function's name."""

    def add(play: Play) -> Play:
        name = play.__name__.replace("_", "-")
        KINDS[name] = Kind(name, title, play, rounds, **more)  # type: ignore[arg-type]
        return play

    return add


# SIGKILL of a worker at a point of its work


def _killed_at_redis(step: str | bytes, side: Side, least: int = 0) -> Play:
    words = script(step).sha.encode() if isinstance(step, str) else step

    def play(stage: Stage, _: random.Random) -> Iterator[None]:
        tap = stage.taps[VICTIM]
        before = tap.hits
        tap.arm(Trigger(words, side, stage.kill, least))
        yield
        _until(stage, lambda: tap.hits > before)

    return play


def _until(stage: Stage, hit: Callable[[], bool]) -> None:
    """Enqueue until the victim has come to the point."""
    deadline = time.monotonic() + 20
    while not hit():
        if time.monotonic() > deadline:
            raise AssertionError("the worker did not come to the point at which it is to be killed")
        time.sleep(0.1)
        if not hit():
            stage.enqueue(10)


@attrs.define
class Killing(Fault):
    """Kills the victim when it happens first; what comes later fares as that did."""

    kill: Callable[[], None] = attrs.field(default=lambda: None)

    def applies(self, at, subjects) -> bool:
        applies = super().applies(at, subjects)
        if applies and self.happened == 1:
            self.kill()
        return applies


def _killed_at_relay(at: str, action: Action, extensions: tuple[str, ...] = EXTENSIONS) -> Play:
    def play(stage: Stage, _: random.Random) -> Iterator[None]:
        relay = stage.relays[VICTIM]
        # sessions that are open have been told of the extensions before
        if relay.state.options.extensions != extensions:
            relay.state.options.extensions = extensions
            relay.close_connections()
        killing = Killing(at, action, kill=stage.kill)
        relay.faults.append(killing)
        yield
        _until(stage, lambda: killing.happened > 0)

    return play


def _kill_point(name: str, title: str, play: Play, copies: str = "") -> None:
    KINDS[name] = Kind(name, f"SIGKILL of a worker {title}", play, 300, copies, is_kill=True)


_kill_point(
    "claimed",
    "that has claimed jobs, before it has published them",
    _killed_at_redis("claim", Side.REPLY, least=100),
)
_kill_point(
    "dispatched", "after dispatch", _killed_at_redis(b'"task": "mailer.deliver"', Side.REPLY)
)
_kill_point("begun", "after begin", _killed_at_redis("begin", Side.REPLY, least=100))
_kill_point("before-dot", "before the final dot", _killed_at_relay("data", Action.HANG, _PLAIN))
_kill_point(
    "dot-not-accepted",
    "after the final dot, the relay does not accept",
    _killed_at_relay("dot", Action.CLOSE),
)
_kill_point(
    "dot-accepted",
    "between the final dot and the 250",
    _killed_at_relay("dot", Action.LOSE_REPLY),
    IN_WINDOW,
)
_kill_point(
    "accepted",
    "between the 250 and the record of it",
    _killed_at_redis("finish", Side.REQUEST),
    IN_WINDOW,
)
_kill_point(
    "finished",
    "while it records a group of results",
    _killed_at_redis("finish", Side.REPLY),
    IN_WINDOW,
)
_kill_point(
    "committing",
    "before an at-most-once message is noted",
    _killed_at_redis("commit", Side.REQUEST),
    IN_WINDOW,
)
_kill_point(
    "committed",
    "after an at-most-once message was noted",
    _killed_at_redis("commit", Side.REPLY),
    IN_WINDOW,
)


# SIGKILL at any time


@fault("SIGKILL of a worker at a random time", 500, copies=IN_WINDOW)
def random_kill(stage: Stage, chance: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(slow(0.05))
    goal = stage.accepted + chance.randrange(30)
    yield
    stage.wait(lambda: stage.accepted >= goal)
    time.sleep(chance.uniform(0, 0.02))
    stage.kill(chance.choice(stage.names))


@fault("SIGKILL of all workers at a random time", 500, copies=IN_WINDOW)
def random_kill_of_all(stage: Stage, chance: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(slow(0.05))
    goal = stage.accepted + chance.randrange(30)
    yield
    stage.wait(lambda: stage.accepted >= goal)
    time.sleep(chance.uniform(0, 0.02))
    for name in stage.names:
        stage.kill(name)


# other signals


@fault("SIGTERM of a worker under load", 50)
def terminated(stage: Stage, chance: random.Random) -> Iterator[None]:
    stage.relays[VICTIM].faults.append(slow(0.05))
    goal = stage.relays[VICTIM].state.count + chance.randrange(1, 5)
    yield
    _until(stage, lambda: stage.relays[VICTIM].state.count >= goal)
    code = stage.stop()
    assert code == 0, f"the worker ended with exit code {code}"


@fault("SIGSTOP of a worker for longer than its leases, then SIGCONT", 50, copies=IN_WINDOW)
def frozen(stage: Stage, chance: random.Random) -> Iterator[None]:
    stage.relays[VICTIM].faults.append(slow(0.05))
    goal = stage.relays[VICTIM].state.count + chance.randrange(1, 5)
    yield
    _until(stage, lambda: stage.relays[VICTIM].state.count >= goal)
    stage.worker().signal(signal.SIGSTOP)
    try:
        stage.settle(20)  # by the other worker
    finally:
        stage.worker().signal(signal.SIGCONT)
    time.sleep(0.3)  # for it to do what it must not


@fault("worker out of memory", 20, copies=IN_WINDOW, enqueues=True, ends_workers=True)
def out_of_memory(stage: Stage, chance: random.Random) -> Iterator[None]:
    stage.relays[VICTIM].faults.append(slow(0.02))
    status = Path(f"/proc/{stage.pid()}/status").read_text()
    used = int(status.partition("VmSize:")[2].split()[0]) * 1024
    room = chance.randrange(1, 4) * 2**20
    resource.prlimit(stage.pid(), resource.RLIMIT_AS, (used + room, used + room))
    stage.enqueue(30, attached=2**20)
    yield
    _ended_within(stage, 3.0)


def _ended_within(stage: Stage, seconds: float) -> None:
    """Wait for the victim to end by itself; else it is ended, as the kernel would."""
    deadline = time.monotonic() + seconds
    while stage.worker().running and time.monotonic() < deadline:
        time.sleep(0.05)
    if stage.worker().running:
        stage.kill()


# producers


@fault("SIGKILL of a producer inside enqueue_many, then the same call again", 30, enqueues=True)
def producer_killed(stage: Stage, chance: random.Random) -> Iterator[None]:
    keys = f"{chance.getrandbits(64):x}"
    process = stage.produce(keys, 300)
    side = chance.choice([Side.REQUEST, Side.REPLY])
    tap = stage.taps["producer"]
    before, words = tap.hits, script("enqueue").sha.encode()
    tap.arm(Trigger(words, side, process.kill, times=chance.randrange(1, 4)))
    process.communicate("go\n")
    assert tap.hits > before
    again = stage.produce(keys, 300)
    told, _ = again.communicate("go\n")
    stage.acknowledged_by(told)
    yield


# Redis


def _while_away(stage: Stage, away: Callable[[], None]) -> Iterator[None]:
    """Do something to Redis while emails are enqueued and sent."""
    for relay in stage.relays.values():
        relay.faults.append(slow(0.02))
    stage.keep_enqueueing(40, 1.0)
    yield
    goal = stage.accepted + 5
    stage.wait(lambda: stage.accepted >= goal)
    away()


def _killed_and_restarted(stage: Stage, _: random.Random) -> Iterator[None]:
    def away() -> None:
        stage.redis.kill()
        time.sleep(0.3)
        stage.redis.start()

    yield from _while_away(stage, away)


for _fsync in ("always", "everysec"):
    KINDS[f"redis-killed-{_fsync}"] = Kind(
        f"redis-killed-{_fsync}",
        f"Redis killed and started again, appendfsync {_fsync}",
        _killed_and_restarted,
        30,
        IN_WINDOW,
        appendfsync=_fsync,
        enqueues=True,
    )


def _frozen_redis(seconds: float) -> Play:
    def play(stage: Stage, _: random.Random) -> Iterator[None]:
        def away() -> None:
            stage.redis.pause()
            time.sleep(seconds)
            stage.redis.resume()

        yield from _while_away(stage, away)

    return play


KINDS["redis-frozen"] = Kind(
    "redis-frozen",
    "Redis frozen for 2 s, longer than leases and store timeout",
    _frozen_redis(2.0),
    30,
    IN_WINDOW,
    enqueues=True,
)
KINDS["redis-frozen-30s"] = Kind(
    "redis-frozen-30s",
    "Redis frozen for 30 s",
    _frozen_redis(30.0),
    3,
    IN_WINDOW,
    limit=90,
    enqueues=True,
)


@fault("Redis out of memory (noeviction) for 1 s", 30, copies=IN_WINDOW, enqueues=True)
def redis_full(stage: Stage, _: random.Random) -> Iterator[None]:
    def away() -> None:
        stage.raw.config_set("maxmemory", 1)
        time.sleep(1.0)
        stage.raw.config_set("maxmemory", 0)

    yield from _while_away(stage, away)


@fault("Redis read-only for 1 s", 30, copies=IN_WINDOW, enqueues=True)
def redis_read_only(stage: Stage, _: random.Random) -> Iterator[None]:
    def away() -> None:
        stage.raw.config_set("min-replicas-to-write", 1)  # without one, it refuses every write
        time.sleep(1.0)
        stage.raw.config_set("min-replicas-to-write", 0)

    yield from _while_away(stage, away)


@fault("every connection to Redis cut, ten times", 30, copies=IN_WINDOW, enqueues=True)
def connections_cut(stage: Stage, chance: random.Random) -> Iterator[None]:
    def away() -> None:
        for _ in range(10):
            stage.raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(chance.uniform(0.01, 0.15))

    yield from _while_away(stage, away)


@fault("the broker's keys deleted, three times", 30)
def broker_flushed(stage: Stage, chance: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(slow(0.02))
    yield
    for _ in range(3):
        for key in stage.raw.scan_iter("*:broker:*", count=1000):
            stage.raw.delete(key)
        time.sleep(chance.uniform(0.01, 0.1))


# relays


@fault("relay down for 2 s: it refuses connections", 20, limit=40)
def relay_down(stage: Stage, _: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(Fault("connect", Action.CLOSE))
        relay.close_connections()
    yield
    time.sleep(2.0)
    for relay in stage.relays.values():
        relay.faults.clear()


@fault("relay flapping: connections closed at any time", 20, copies=IN_WINDOW, limit=40)
def relay_flapping(stage: Stage, chance: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(slow(0.01))
    yield
    for _ in range(10):
        for relay in stage.relays.values():
            relay.close_connections()
        time.sleep(chance.uniform(0.02, 0.2))


@fault("relay that accepts, and closes without its 250", 20, copies="replies lost", limit=40)
def relay_drops(stage: Stage, chance: random.Random) -> Iterator[None]:
    for relay in stage.relays.values():
        relay.faults.append(lose_reply(times=chance.randrange(1, 4)))
    yield


# clocks and poison


@fault("clocks of the workers and the producer wrong by an hour, one way and the other", 20)
def clocks_wrong(stage: Stage, chance: random.Random) -> Iterator[None]:
    ways = ["3600", "-3600"]
    chance.shuffle(ways)
    for name, offset in zip(stage.names, ways, strict=True):
        stage.replace(name, PYTHONPATH=str(_HERE / "clocks"), CHAOS_CLOCK_OFFSET=offset)
    stage.relays[OTHER].faults.append(slow(0.02))
    keys = f"{chance.getrandbits(64):x}"
    told, _ = stage.produce(
        keys, 30, PYTHONPATH=str(_HERE / "clocks"), CHAOS_CLOCK_OFFSET=ways[0]
    ).communicate("go\n")
    stage.acknowledged_by(told)
    yield
    time.sleep(chance.uniform(0, 0.1))


@fault(
    "a poison email: it ends every process that builds it",
    20,
    copies=IN_WINDOW,
    enqueues=True,
    ends_workers=True,
)
def poison(stage: Stage, chance: random.Random) -> Iterator[None]:
    for name in stage.names:
        stage.replace(name, PYTHONPATH=str(_HERE / "poison"))
    stage.enqueue(30, poison=chance.randrange(30))
    yield
    stage.settle(20)
