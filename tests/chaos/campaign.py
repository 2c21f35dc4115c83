"""Rounds: on a stage, everything is well; a fault happens; every email must end as it should."""

import random
import time
from collections.abc import Iterator

import attrs

from chaos.faults import KINDS, Kind
from chaos.ledger import Verdict
from chaos.stage import Stage

_EMAILS = 30


@attrs.frozen
class Round:
    """What came of one round.

    Attributes:
        recovery: seconds from the end of the fault until every email had ended.
        problem: why it could not be played as meant, or empty.
    """

    kind: str
    verdict: Verdict
    recovery: float = 0.0
    problem: str = ""

    @property
    def failed(self) -> bool:
        """Whether a promise was broken."""
        verdict = self.verdict
        unexpected = verdict.duplicated and not KINDS[self.kind].copies
        broken = verdict.lost or verdict.unmarked or verdict.wrong or verdict.stuck
        return bool(broken or unexpected or self.problem)


def play(kind: Kind, rounds: int, seed: int) -> Iterator[Round]:
    """Play some rounds of one fault on a stage of their own."""
    chance = random.Random(f"{kind.name} {seed}")
    with Stage(appendfsync=kind.appendfsync) as stage:
        for _ in range(rounds):
            yield _round(stage, kind, chance)
        if late := stage.late_copies():
            verdict = Verdict(duplicated=late, unmarked=late)
            yield Round(kind.name, verdict, problem="copies that came after their round")


def _round(stage: Stage, kind: Kind, chance: random.Random) -> Round:
    problem = ""
    stage.get_ready()
    try:
        playing = kind.play(stage, chance)
        next(playing)
        if not kind.enqueues:
            stage.enqueue(_EMAILS)
        next(playing, None)
    except (AssertionError, OSError) as error:
        problem = f"{type(error).__name__}: {error}"
    over = time.monotonic()
    stage.revive()
    stage.settle(kind.limit)
    recovery = time.monotonic() - over
    if stage.deaths and not kind.ends_workers:
        problem = problem or stage.deaths[0]
    stage.deaths.clear()
    return Round(kind.name, stage.balance(), recovery, problem)
