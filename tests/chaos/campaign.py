"""Plays rounds: a load, a strike, the wait until all has ended, and the comparison."""

import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

import attrs

from chaos.faults import FAULTS, Fault
from chaos.ledger import Verdict, copies, judge
from chaos.load import Load
from chaos.world import Overdue, World, world

_ROUNDS_IN_ONE_WORLD = 25
_FIRST_COPIES = 3  # after which the load is known to be under way


@attrs.frozen
class Round:
    """One strike, and what it led to.

    Attributes:
        fault: by name.
        recovery: seconds from its end until every job had ended.
    """

    fault: str
    seed: int
    verdict: Verdict
    recovery: float


@attrs.frozen
class Task:
    """Rounds to be played in one world.

    Attributes:
        faults: of each round; all are of worlds made alike.
        seed: of the first round; each next one has the next.
    """

    faults: tuple[str, ...]
    seed: int = 0


def tasks(rounds: Mapping[str, int]) -> list[Task]:
    """Divide the rounds of each fault among worlds."""
    return [
        Task((name,) * min(_ROUNDS_IN_ONE_WORLD, count - start), start)
        for name, count in rounds.items()
        for start in range(0, count, _ROUNDS_IN_ONE_WORLD)
    ]


def play_all(tasks: Iterable[Task], worlds: int) -> Iterator[list[Round]]:
    """Play tasks in several worlds at a time, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(worlds, mp_context=context, max_tasks_per_child=1) as pool:
        try:
            for future in as_completed([pool.submit(play, task) for task in tasks]):
                yield future.result()
        except BaseException:  # nor should anybody wait for the others' end then
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def play(task: Task) -> list[Round]:
    """Play the rounds of one task; after one that went wrong, in another world."""
    played: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        while rest := [FAULTS[name] for name in task.faults[len(played) :]]:
            seed = task.seed + len(played)
            played += _in_a_world(rest, seed, Path(folder) / str(seed))
    return played


def _in_a_world(faults: Sequence[Fault], seed: int, folder: Path) -> list[Round]:
    """Play rounds, until one goes wrong."""
    folder.mkdir()
    played: list[Round] = []
    with world(folder, seed, **faults[0].world) as stage:
        for number, fault in enumerate(faults):
            played.append(play_round(stage, fault, seed + number))
            if played[-1].verdict.problems:
                told = Verdict(problems=(f"the workers' logs are kept in {_kept_logs(folder)}",))
                played[-1] = attrs.evolve(played[-1], verdict=played[-1].verdict + told)
                break
    return played


def play_round(stage: World, fault: Fault, seed: int) -> Round:
    """Strike a world under load, and judge what comes of it."""
    load, failure, over = Load(stage.mailer, stage.chance), Verdict(), None
    before = len(stage.received)
    try:
        stage.ready()
        with load:
            stage.until(lambda: len(stage.received) >= before + _FIRST_COPIES, "a load under way")
            over = fault.strike(stage, load)
    except Exception:  # noqa: BLE001 - told with the others
        failure = Verdict(problems=(traceback.format_exc(limit=-3),))
    over = over or time.monotonic()
    with suppress(Overdue):  # the verdict says which
        stage.until(lambda: stage.settled, "an end of all jobs", fault.patience)
    recovery = time.monotonic() - over
    # copies of emails of earlier rounds have nothing to come for any more
    came = copies(stage.received) - stage.judged
    stage.judged += came
    stage.rounds += 1
    jobs = stage.jobs(len(load.entries))
    return Round(
        fault.name, seed, judge(load.entries, jobs, came, fault.may_double) + failure, recovery
    )


def _kept_logs(folder: Path) -> Path:
    kept = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
    for log in folder.glob("*.log"):
        kept.joinpath(log.name).write_bytes(log.read_bytes())
    return kept
