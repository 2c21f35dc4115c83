"""``mailer doctor``: what is checked, what was found, and what to change."""

import subprocess
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mailer.cli.times import how_long
from mailer.errors import MailerError, StoreUnavailable
from mailer.loading import stray_variables
from mailer.settings import Settings
from mailer.store.health import Health
from mailer.store.keys import LANES, Keys
from mailer.store.operation import Operation
from mailer.store.runners import SyncRunner

_PATIENCE = 90.0  # seconds for the checks from a worker's side
_OLD = 60.0  # seconds after which a due job should long have been taken
_SKEW = 2.0  # seconds between clocks that nobody minds
_FULL = 0.8  # of maxmemory


class Verdict(StrEnum):
    """How a check came out."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """One check.

    Attributes:
        advice: what to change, where something should be.
    """

    subject: str
    verdict: Verdict
    found: str
    advice: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether the mailer can't do its work so."""
        return self.verdict is Verdict.BAD


def examine(settings: Settings) -> list[Finding]:
    """Check everything; the worker's side only where Redis answers."""
    runner = SyncRunner.connect(
        settings.redis_url.get_secret_value(), settings.store_timeout_seconds
    )
    try:
        findings = list(_redis(runner, Health(Keys(settings.key_prefix))))
    except StoreUnavailable as error:
        advice = "start Redis, or set MAILER_REDIS_URL"
        findings = [Finding("Redis", Verdict.BAD, str(error), advice)]
    finally:
        runner.close()
    return [*_strays(), *findings, *_workers_side()]


def report(findings: list[Finding]) -> RenderableType:
    """Show findings to a person."""
    marks = {
        Verdict.GOOD: ("✓", "green"),
        Verdict.DOUBTFUL: ("!", "yellow"),
        Verdict.BAD: ("✗", "red"),
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, color = marks[finding.verdict]
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style=color)
        table.add_row(Text(mark, style=color), finding.subject, text)
    return table


def _strays() -> Iterator[Finding]:
    for name, likely in stray_variables().items():
        advice = f"did you mean {likely}?" if likely else "remove it"
        yield Finding("settings", Verdict.DOUBTFUL, f"{name} is no setting of the mailer", advice)


def _redis(runner: SyncRunner, health: Health) -> Iterator[Finding]:
    begin = time.perf_counter()
    now_ms = runner.run(health.time_ms())
    took = time.perf_counter() - begin
    info = runner.run(health.info())
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    yield Finding("Redis", Verdict.GOOD, f"{name} {version}, answers in {took * 1000:.1f} ms")
    yield from _safety(runner, health, info)
    yield _clock(now_ms)
    yield _backlog(runner, health, now_ms)


def _safety(runner: SyncRunner, health: Health, info: dict[str, str]) -> Iterator[Finding]:
    try:
        runner.run(health.write_probe())
    except StoreUnavailable as error:
        yield Finding("writes", Verdict.BAD, str(error), "use a primary that takes writes")
    if info.get("aof_enabled") == "1":
        yield Finding("persistence", Verdict.GOOD, "append-only file")
    else:
        advice = "set appendonly yes: without it, a crash of the server loses queued email"
        yield Finding("persistence", Verdict.DOUBTFUL, "no append-only file", advice)
    policy = info.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        yield Finding("eviction", Verdict.GOOD, policy)
    else:
        advice = "set maxmemory-policy noeviction: this one may throw queued email away"
        yield Finding("eviction", Verdict.BAD, policy, advice)
    yield _memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))


def _memory(used: int, limit: int) -> Finding:
    found = f"{used / 2**20:.0f} MB used, {f'{limit / 2**20:.0f} MB' if limit else 'no limit'}"
    if limit and used > limit * _FULL:
        return Finding("memory", Verdict.DOUBTFUL, found, "raise maxmemory, or add workers")
    return Finding("memory", Verdict.GOOD, found)


def _clock(server_ms: int) -> Finding:
    skew = time.time() - server_ms / 1000
    if abs(skew) > _SKEW:
        ahead = "ahead of" if skew > 0 else "behind"
        found = f"this machine is {abs(skew):.0f} s {ahead} Redis"
        advice = (
            "set both clocks by NTP: times you give, as scheduled_at, are compared with Redis's"
        )
        return Finding("clock", Verdict.DOUBTFUL, found, advice)
    return Finding("clock", Verdict.GOOD, f"within {_SKEW:g} s of Redis's")


def _backlog(runner: SyncRunner, health: Health, now_ms: int) -> Finding:
    def due(before_ms: int) -> int:
        counts: list[Operation[Any]] = [health.due(i, before_ms) for i in range(len(LANES))]
        return sum(runner.run_many(counts))

    waiting, old = due(now_ms), due(now_ms - round(_OLD * 1000))
    found = f"{waiting:,} jobs are due"
    if old:
        found += f", {old:,} of them since more than {how_long(_OLD).removeprefix('in ')}"
        return Finding("backlog", Verdict.DOUBTFUL, found, "run workers, or more of them")
    return Finding("backlog", Verdict.GOOD, found)


def _workers_side() -> list[Finding]:
    """Have the checks made that need Celery and SMTP; this package imports neither."""
    words = [sys.executable, "-m", "workers.doctor"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603 - our own
        return msgspec.json.decode(done.stdout, type=list[Finding])
    except (subprocess.TimeoutExpired, msgspec.DecodeError, MailerError):
        return [Finding("workers", Verdict.BAD, "the checks from a worker's side did not end")]
