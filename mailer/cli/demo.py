"""The whole loop on embedded parts: a real Redis, SMTP servers with moods, a worker, Flower."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mailer.cli.demo_emails import Scene, scenes
from mailer.cli.statistics import paused
from mailer.client import Mailer
from mailer.job import Job
from mailer.loading import load_settings
from mailer.testing import (
    EmbeddedRedis,
    Received,
    SmtpServerThread,
    greylist,
    hang_up_once,
    refuse,
)
from mailer.testing.ports import free_port
from mailer.testing.processes import FlowerProcess, WorkerProcess

_PATIENCE = 40.0  # seconds for all to end
_LOOK_EVERY = 0.1
_PREFIX = "demo"
# the server of `news` is down for good, that of `partner` until its relay was seen to be paused
_CONFIG = """\
[relays]
main.url = "smtp://127.0.0.1:{main}"
main.without = "CHUNKING"
news.url = "smtp://127.0.0.1:{news}"
partner.url = "smtp://127.0.0.1:{partner}"

[[routes]]
tags = "news"
relays = ["news", "main"]

[[routes]]
recipient_domains = "partner.example"
relays = "partner"

[[routes]]
relays = "main"
"""


@attrs.frozen
class Act:
    """A scene, and the job that was enqueued for it."""

    scene: Scene
    job_id: str


def run(*, keep: bool) -> int:
    """Run the demo; return 0 if each email ended as it should.

    Args:
        keep: leave all running, until Ctrl-C.
    """
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="mailer-demo-"))
    inbox = folder / "inbox"
    with ExitStack() as parts:
        console.print("Starting Redis, SMTP servers, a worker and Flower …", style="dim")
        redis = parts.enter_context(EmbeddedRedis(appendonly=True))
        smtp = parts.enter_context(SmtpServerThread(directory=inbox))
        smtp.faults += [
            greylist("grey@example.org", times=1),
            refuse("nobody@example.org"),
            hang_up_once("phone@example.org", at="rcpt"),
        ]
        partner = SmtpServerThread(port=free_port(), directory=inbox / "partner")
        config = folder / "mailer.toml"
        config.write_text(_CONFIG.format(main=smtp.port, news=free_port(), partner=partner.port))
        settings = {
            "MAILER_REDIS_URL": redis.url,
            "MAILER_KEY_PREFIX": _PREFIX,
            "MAILER_CONFIG": str(config),
        }
        worker = parts.enter_context(WorkerProcess(settings, folder / "worker.log"))
        flower = parts.enter_context(FlowerProcess(settings, folder / "flower.log"))
        mailer = parts.enter_context(
            Mailer(settings=load_settings(redis_url=redis.url, key_prefix=_PREFIX))
        )
        acts = _enqueued(mailer)
        _watch(console, mailer, acts, until=lambda jobs: "partner" in mailer.paused_relays())
        console.print("\nNow the server of the relay `partner` starts …\n", style="dim")
        parts.enter_context(partner)
        jobs = _watch(console, mailer, acts, until=lambda jobs: all(j.state.ended for j in jobs))
        received = [*smtp.received, *partner.received]
        faults = [*_wrong_ends(acts, jobs), *_wrong_copies(acts, jobs, received)]
        _tell(console, folder, faults)
        if keep:
            _keep_running(console, settings, flower.url, worker.log)
    return 1 if faults else 0


def _enqueued(mailer: Mailer) -> list[Act]:
    acts = []
    for scene in scenes():
        receipt = mailer.enqueue(scene.email)
        acts.append(Act(scene, receipt.id))
        if scene.email.idempotency_key:
            again = mailer.enqueue(scene.email)
            acts.append(Act(attrs.evolve(scene, title="… the same once more"), again.id))
        if scene.canceled:
            mailer.cancel(receipt.id)
    return acts


def _watch(
    console: Console,
    mailer: Mailer,
    acts: Sequence[Act],
    until: Callable[[Sequence[Job]], bool],
) -> list[Job]:
    """Show what becomes of the jobs, for as long as they need."""
    deadline = time.monotonic() + _PATIENCE
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            jobs = [mailer.get(act.job_id) for act in acts]
            view = Group(_table(acts, jobs), *paused(mailer.paused_relays().values()))
            live.update(view, refresh=True)
            if until(jobs) or time.monotonic() > deadline:
                live.stop()
                console.print(view)
                return jobs
            time.sleep(_LOOK_EVERY)


def _table(acts: Sequence[Act], jobs: Sequence[Job]) -> Table:
    table = Table("email", "state", "relays", "what was said", box=None, pad_edge=False)
    for act, job in zip(acts, jobs, strict=True):
        replies = dict.fromkeys(r.reply for r in job.recipients if r.reply)
        said = [a.reply for a in job.attempts if a.reply and a.reply not in replies]
        style = "green" if job.state is act.scene.ends else "yellow"
        table.add_row(
            act.scene.title,
            f"[{style}]{job.state}[/]",
            ", ".join(dict.fromkeys(a.relay for a in job.attempts if a.relay)),
            Group(*map(Text, (*said, *replies))),
        )
    return table


def _wrong_ends(acts: Sequence[Act], jobs: Sequence[Job]) -> Iterator[str]:
    for act, job in zip(acts, jobs, strict=True):
        if job.state is not act.scene.ends:
            yield f"{act.scene.title}: is {job.state}, and should be {act.scene.ends}"
        if job.retries != act.scene.attempts:
            yield f"{act.scene.title}: {job.retries} attempts, not {act.scene.attempts}"


def _wrong_copies(
    acts: Sequence[Act], jobs: Sequence[Job], received: Sequence[Received]
) -> Iterator[str]:
    """Compare what the SMTP server accepted with what it should have."""
    accepted = Counter(message.message_id for message in received)
    for act, job in zip(acts, jobs, strict=True):
        if accepted[job.message_id] != act.scene.copies:
            yield (
                f"{act.scene.title}: the server has {accepted[job.message_id]} copies, "
                f"not {act.scene.copies}"
            )


def _tell(console: Console, folder: Path, faults: Sequence[str]) -> None:
    console.print(f"\nThe messages as they were sent: {folder / 'inbox'}")
    console.print(f"What the worker logged:         {folder / 'worker.log'}")
    if faults:
        console.print("\nThis went wrong:", style="bold red")
        for fault in faults:
            console.print(f"  {fault}")
    else:
        console.print("\nEvery email ended as it should.", style="bold green")


def _keep_running(console: Console, settings: dict[str, str], flower: str, log: Path) -> None:
    console.print(f"\nFlower: {flower}/tasks\n\nIn another shell:", style="bold")
    for name, value in settings.items():
        console.print(f"  export {name}={value}", soft_wrap=True)
    console.print("  mailer send --from me@example.com --to grey@example.org --text Hello --wait")
    console.print(f"  tail -f {log}\n\nCtrl-C ends it all.", soft_wrap=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopping …")
