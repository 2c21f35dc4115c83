"""The whole system, of which every part is a real one that can be hit alone."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import attrs
from redis import Redis

from chaos.ledger import Copies
from chaos.tap import Tap
from mailer import Job, Mailer, load_settings
from mailer.store.keys import Keys
from mailer.testing import EmbeddedRedis, Fault, Received, SmtpServerThread, eventually, slow
from mailer.testing.processes import WorkerProcess
from mailer.testing.smtp_state import EXTENSIONS

LEASE = 2.0  # seconds
CONNECTIONS = 5  # of each worker to its relay: as many transactions may be in flight
PREFIX = "chaos"
_USUAL = 0.02  # seconds that the relay takes for a message


class Overdue(AssertionError):
    """A condition that the campaign waits for did not come about."""


@attrs.define
class Member:
    """A worker, with a wire to Redis and a relay of its own."""

    name: str
    tap: Tap
    smtp: SmtpServerThread
    process: WorkerProcess
    extensions: tuple[str, ...]
    environment: Mapping[str, str]
    earlier: list[Received] = attrs.field(factory=list)  # what relays took that are no more

    @property
    def received(self) -> list[Received]:
        return [*self.earlier, *self.smtp.received]

    def relay_down(self) -> None:
        """Close the relay's port and all its connections."""
        self.smtp.__exit__(None, None, None)
        self.earlier += self.smtp.received

    def relay_up(self) -> None:
        """Open the relay again, where it was."""
        self.smtp = _relay(self.extensions, self.smtp.port)
        self.smtp.__enter__()

    def fault(self, fault: Fault) -> None:
        """Have the relay do wrong, until `well` is called."""
        self.smtp.faults = [fault, slow(_USUAL)]

    def well(self) -> None:
        """Have the relay do as usual."""
        self.smtp.faults = [slow(_USUAL)]


@attrs.define
class World:
    """Redis, some workers, and a producer.

    Attributes:
        raw: a connection for what no producer does.
        rounds: played so far.
        judged: copies that a round was judged by.
    """

    redis: EmbeddedRedis
    members: list[Member]
    raw: Redis
    mailer: Mailer
    chance: Random
    rounds: int = 0
    judged: Copies = attrs.field(factory=Counter)

    @property
    def victim(self) -> Member:
        """The worker whose turn it is."""
        return self.members[self.rounds % len(self.members)]

    @property
    def received(self) -> list[Received]:
        """What the relays have accepted."""
        return [message for member in self.members for message in member.received]

    def ready(self) -> None:
        """Wait until all workers do their work."""
        for member in self.members:
            if not member.process.running:
                member.process.start()
            member.process.wait_until_ready(60)

    def until(self, condition: Callable[[], object], what: str, timeout: float = 30) -> None:
        """Wait for a condition.

        Raises:
            Overdue: it does not come about.
        """
        try:
            eventually(condition, timeout)
        except AssertionError as error:
            raise Overdue(f"{error}: {what}") from None

    @property
    def settled(self) -> bool:
        """Whether every job has ended, and none is left on the agenda."""
        counts = self.mailer.counts()
        if any(number for state, number in counts.items() if not state.ended):
            return False
        return not any(self.raw.zcard(lane) for lane in Keys(PREFIX).lanes)

    def jobs(self, most: int) -> dict[str, Job]:
        """Read the jobs that changed last."""
        return {job.id: job for job in self.mailer.list(limit=most)}


@contextmanager
def world(
    folder: Path,
    seed: int,
    *,
    appendfsync: str = "everysec",
    chunking: bool | None = None,
    environments: tuple[Mapping[str, str], ...] = ({}, {}),
    sitecustomize: str = "",
) -> Iterator[World]:
    """Make a world, and end all of it afterwards.

    Args:
        chunking: whether the relays offer it, and so take a message in one write; None: by chance.
        environments: variables for each worker.
        sitecustomize: Python code that each worker begins with.
    """
    chance = Random(seed)
    chunking = chance.random() < 0.5 if chunking is None else chunking
    extensions = tuple(name for name in EXTENSIONS if chunking or name != "CHUNKING")
    site = {}
    if sitecustomize:
        folder.joinpath("site").mkdir()
        folder.joinpath("site", "sitecustomize.py").write_text(sitecustomize)
        site = {"PYTHONPATH": str(folder / "site")}
    with ExitStack() as stack:
        server = stack.enter_context(
            EmbeddedRedis(appendonly=True, appendfsync=appendfsync)  # type: ignore[arg-type]
        )
        raw = stack.enter_context(Redis.from_url(server.url))
        settings = load_settings(redis_url=server.url, key_prefix=PREFIX, store_timeout_seconds=1)
        mailer = stack.enter_context(Mailer(settings=settings))
        members = []
        for number, environment in enumerate(environments):
            name = f"w{number}"
            tap = stack.enter_context(Tap(server.port))
            smtp = _relay(extensions)
            smtp.__enter__()
            process = WorkerProcess(
                {**_settings(tap, smtp), **site, **environment}, folder / f"{name}.log", name=name
            )
            member = Member(name, tap, smtp, process, extensions, environment)
            stack.callback(_end, member)
            members.append(member)
            process.start()
        yield World(server, members, raw, mailer, chance)


def _end(member: Member) -> None:
    if member.process.running:
        member.process.kill()
    member.smtp.__exit__(None, None, None)


def _relay(extensions: tuple[str, ...], port: int = 0) -> SmtpServerThread:
    return SmtpServerThread(port=port, extensions=extensions, faults=[slow(_USUAL)])


def _settings(tap: Tap, smtp: SmtpServerThread) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "MAILER_REDIS_URL": f"redis://127.0.0.1:{tap.port}/1",
        "MAILER_RELAY_URL": smtp.url,
        "MAILER_KEY_PREFIX": PREFIX,
        "MAILER_CONNECTIONS": str(CONNECTIONS),
        "MAILER_LEASE_SECONDS": str(LEASE),
        "MAILER_DISPATCH_TIMEOUT_SECONDS": str(LEASE),
        "MAILER_STORE_TIMEOUT_SECONDS": "1",
        "MAILER_RETRY_DELAYS": "0.3",
        "MAILER_SHUTDOWN_SECONDS": "10",
    }
