"""A run of the benchmark, as its workloads see it."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from attrs import field, frozen
from contenders import Contender
from results import Found
from rich.progress import Progress, TaskID
from stage import Stuck

from mailer.errors import MailerError

T = TypeVar("T")
# how a trial ends that a busy machine, or a contender, has spoilt
FAILURES = (Stuck, MailerError, TimeoutError)


@frozen
class Session:
    """What was asked for, and what was found so far.

    Attributes:
        emails: how many ours is given in each round of the main workload; others are in proportion.
        most: the largest backlog, and how many emails a worker delivers whose memory is watched.
        contenders: those that were chosen, and can be measured here.
        found: by workload; some need what an earlier one has found.
        repeated: sentences about trials that had to be played again.
    """

    rounds: int
    emails: int
    most: int
    contenders: Sequence[Contender]
    progress: Progress
    found: dict[str, Found] = field(factory=dict)
    repeated: list[str] = field(factory=list)

    def only(self, *names: str) -> list[Contender]:
        """Return those of these names that take part."""
        return [contender for contender in self.contenders if contender.name in names]

    def track(self, things: Sequence[T], what: str) -> Iterator[T]:
        """Show how far it is."""
        yield from self.progress.track(things, description=what)

    def interleaved(self, things: Iterable[T], what: str) -> Iterator[T]:
        """Give each of them once in each round, every round in another order."""
        things = list(things)
        order = [
            thing
            for number in range(self.rounds)
            for thing in random.Random(number).sample(things, len(things))
        ]
        return self.track(order, what)

    def trial(self, play: Callable[[], T], what: str) -> T:
        """Play a trial, and once more where it got stuck: half an hour would be lost; and tell."""
        try:
            return play()
        except FAILURES as failure:
            reason = str(failure).splitlines()[0]
            self.repeated.append(f"A trial was repeated. {what}: {reason}.")
            self.progress.console.print(self.repeated[-1], style="yellow", highlight=False)
            return play()

    @contextmanager
    def doing(self, what: str) -> Iterator[TaskID]:
        """Show that something is under way whose length is not known."""
        task = self.progress.add_task(what, total=None)
        try:
            yield task
        finally:
            self.progress.update(task, total=1, completed=1)
