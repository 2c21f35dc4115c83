"""What is done to a world. Each returns when the fault is over, and what was broken may go on.

One that waits for the recovery itself returns the moment (monotonic) from which on it was possible.
"""

import os
import signal
import time
from collections.abc import Callable

import attrs
import psutil

from chaos import producer
from chaos.load import Load, email, entry
from chaos.tap import Moment, Tap, Trap
from chaos.world import CONNECTIONS, PREFIX, Member, World
from mailer.testing import Action, Fault, go_away, lose_reply

Strike = Callable[[World, Load], float | None]


@attrs.define
class Blow(Fault):
    """A fault of the relay that strikes its client as well."""

    act: Callable[[], None] = lambda: None
    skip: int = 0

    def applies(self, at: str, subjects: object) -> bool:
        """Whether it happens now; strikes if so."""
        if self.at == at and self.skip > 0:
            self.skip -= 1
            return False
        if not super().applies(at, subjects):  # type: ignore[arg-type]
            return False
        self.act()
        return True


def _sigkill(member: Member) -> Callable[[], None]:
    pid = member.process.pid
    return lambda: os.kill(pid, signal.SIGKILL)


def _replace(world: World, victim: Member) -> None:
    """Wait for the end of a worker, and start another one in its place."""
    world.until(lambda: not victim.process.running, f"the end of {victim.name}")
    victim.well()
    victim.process.start()


# SIGKILL of one worker, at a point of its work


def at_step(step: str, moment: Moment, most_skipped: int = 3) -> Strike:
    """Kill the worker that asks Redis for a step."""

    def strike(world: World, _: Load) -> None:
        victim, skip = world.victim, world.chance.randint(0, most_skipped)
        victim.tap.trap = Trap(step, moment, _sigkill(victim), skip)
        _replace(world, victim)

    return strike


def at_phase(phase: str, action: Action) -> Strike:
    """Kill the worker that has said something to its relay."""

    def strike(world: World, _: Load) -> None:
        victim, skip = world.victim, world.chance.randint(0, 8)
        victim.fault(Blow(phase, action, times=1, act=_sigkill(victim), skip=skip))
        _replace(world, victim)

    return strike


def at_random(world: World, _: Load) -> None:
    """Kill a worker at any time."""
    time.sleep(world.chance.uniform(0, 0.4))
    world.victim.process.signal(signal.SIGKILL)
    _replace(world, world.victim)


# other ends and stops of workers


def kill_all(world: World, _: Load) -> None:
    """Kill all workers at once."""
    time.sleep(world.chance.uniform(0, 0.2))
    for member in world.members:
        member.process.signal(signal.SIGKILL)
    for member in world.members:
        _replace(world, member)


def terminate(world: World, _: Load) -> None:
    """Stop a worker as an operator does."""
    time.sleep(world.chance.uniform(0, 0.2))
    code = world.victim.process.stop(timeout=30)
    assert code == 0, f"the worker ended with exit code {code}"
    world.victim.process.start()


def freeze(world: World, load: Load) -> float:
    """Stop a worker for longer than its leases last; once awake, it must change nothing."""
    victim = world.victim

    def stop() -> None:
        victim.process.signal(signal.SIGSTOP)

    at = world.chance.choice(["rcpt", "data", "dot"])
    victim.fault(Blow(at, times=1, act=stop, skip=world.chance.randint(0, 8)))
    frozen = psutil.Process(victim.process.pid)
    world.until(lambda: frozen.status() == psutil.STATUS_STOPPED, "a frozen worker")
    load.stop()
    since = time.monotonic()
    try:
        world.until(lambda: world.settled, "the others take over")
        recovery = time.monotonic() - since
        before = world.jobs(len(load.entries))
    finally:
        victim.process.signal(signal.SIGCONT)
        victim.well()
    victim.process.stop()  # which ends and records all that it still holds
    victim.process.start()
    assert world.jobs(len(load.entries)) == before, "a worker that woke up changed a record"
    return time.monotonic() - recovery


def out_of_memory(world: World, load: Load) -> None:
    """Let a worker have no more memory than it has."""
    victim = world.victim
    process = psutil.Process(victim.process.pid)
    # not RLIMIT_AS: the C library has reserved addresses, though no memory, for each thread
    most = process.memory_info().data
    process.rlimit(psutil.RLIMIT_DATA, (most, most))
    load.stop()
    before = _memory_errors(victim)
    for count in range(CONNECTIONS, 60, CONNECTIONS):
        load.acknowledge([email(text="x" * 4_000_000) for _ in range(count)])
        world.until(lambda: world.settled or not victim.process.running, "an end, of either")
        if not victim.process.running or _memory_errors(victim) > before:
            break  # it gave up, or it coped
    assert not victim.process.running or _memory_errors(victim) > before, "it had enough memory"
    if victim.process.running:
        victim.process.signal(signal.SIGKILL)
    _replace(world, victim)


def _memory_errors(member: Member) -> int:
    return member.process.log.read_text(errors="replace").count("MemoryError")


def wrong_clocks(world: World, load: Load) -> None:
    """Kill a worker where no two clocks agree; a producer's is wrong as well."""
    environment = world.members[world.rounds % 2].environment
    run = f"run-{world.chance.random()}"
    writer = producer.start(world.redis.port, PREFIX, run, environment, emails=100)
    assert writer.wait(30) == 0
    emails = list(producer.emails(run, 100))
    load.entries += map(entry, emails, world.mailer.enqueue_many(emails))
    at_random(world, load)


# producers


def kill_producer(world: World, load: Load) -> None:
    """Kill a producer in the midst of enqueue_many; then it does all of it again."""
    with Tap(world.redis.port) as tap:
        run = f"run-{world.chance.random()}"
        moment = world.chance.choice(list(Moment))
        process = producer.start(tap.port, PREFIX, run)
        tap.trap = Trap("enqueue", moment, process.kill, skip=world.chance.randint(0, 8))
        process.wait(30)
    emails = list(producer.emails(run))
    receipts = world.mailer.enqueue_many(emails)
    load.entries += map(entry, emails, receipts)
    stored = sum(not receipt.created for receipt in receipts)
    assert stored % producer.CHUNK == 0, f"{stored} emails are no whole chunks"
    assert stored < len(emails), "it was killed before its end"


# Redis and its wires


def restart_redis(world: World, _: Load) -> None:
    """Kill Redis, and start it on the same data."""
    world.redis.kill()
    time.sleep(world.chance.uniform(0, 0.5))
    world.redis.start()


def freeze_redis(seconds: float) -> Strike:
    """Stop Redis for a while: connections stay open, and nothing answers."""

    def strike(world: World, _: Load) -> None:
        world.redis.pause()
        time.sleep(seconds)
        world.redis.resume()

    return strike


def fill_redis(world: World, _: Load) -> None:
    """Leave Redis no memory (noeviction)."""
    world.raw.config_set("maxmemory", 1)
    time.sleep(world.chance.uniform(0.2, 0.8))
    world.raw.config_set("maxmemory", 0)


def read_only_redis(world: World, _: Load) -> None:
    """Have Redis refuse writes, as one that is a replica now does."""
    world.raw.replicaof("127.0.0.1", 1)
    time.sleep(world.chance.uniform(0.2, 0.5))
    world.raw.replicaof("NO", "ONE")


def cut_wires(world: World, _: Load) -> None:
    """Cut all connections of workers to Redis, again and again."""
    for _round in range(world.chance.randint(1, 10)):
        for member in world.members:
            member.tap.cut()
        time.sleep(world.chance.uniform(0, 0.1))


def empty_broker(world: World, _: Load) -> None:
    """Delete all that Celery keeps in Redis, again and again."""
    for _round in range(world.chance.randint(1, 10)):
        if keys := list(world.raw.scan_iter(f"{{{PREFIX}}}:broker:*", count=1000)):
            world.raw.delete(*keys)
        time.sleep(world.chance.uniform(0, 0.1))


# relays


def relay_down(world: World, _: Load) -> None:
    """Take all relays away for a while."""
    for member in world.members:
        member.relay_down()
    time.sleep(world.chance.uniform(0.2, 1.0))
    for member in world.members:
        member.relay_up()


def relay_flaps(world: World, _: Load) -> None:
    """Take the relays away and give them back, again and again."""
    for number in range(world.chance.randint(4, 12)):
        for member in world.members:
            member.fault(go_away("connect")) if number % 2 == 0 else member.well()
            member.smtp.close_connections()
        time.sleep(world.chance.uniform(0.02, 0.1))
    for member in world.members:
        member.well()


def relay_drops(world: World, _: Load) -> None:
    """Have the relay accept messages, and close before it says so."""
    fault = lose_reply(times=CONNECTIONS)
    world.victim.fault(fault)
    world.until(lambda: fault.happened == CONNECTIONS, "messages whose replies were lost")
    world.victim.well()


# poison


def poison(world: World, load: Load) -> None:
    """Enqueue emails that end whatever process sends them, among others."""
    poisonous = [email(tags=["poison"], subject=s) for s in ("kills", "raises")]
    load.acknowledge([*(email() for _ in range(10)), *poisonous, *(email() for _ in range(10))])
    ids = [e.job_id for e in load.entries if e.poison]

    def ended() -> bool:
        for member in world.members:
            if not member.process.running:
                member.process.start()
        return all(world.mailer.get(job_id).state.ended for job_id in ids)

    world.until(ended, "an end of the poison", 60)
