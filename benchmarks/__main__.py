"""All workloads as one command: ``make bench``; ``make bench ARGS=--help`` tells more."""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from attrs import evolve
from contenders import BY_NAME as CONTENDERS
from contenders import OURS, Contender, Unavailable
from machine import machine, our_versions
from report.page import write
from report.tables import of_verdicts, of_workload
from results import Found, Results
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from session import FAILURES, Session
from verdicts import judge
from workloads import BY_NAME as WORKLOADS
from workloads import Workload

ROUNDS, EMAILS, MOST = 5, 20_000, 1_000_000
QUICK_EMAILS, QUICK_MOST = 1000, 10_000

console = Console(width=None if sys.stdout.isatty() else 150)


class Mistake(Exception):
    """What was asked for can't be done; the text says what to do instead."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measures this mailer, what users pick instead, and the limits of the machine: "
        "in one run, with the same messages, in turn and repeatedly. Compare only figures of one "
        "run, and leave the machine alone meanwhile. The exit code is 1 where a figure is not as "
        "promised.",
        epilog="""examples:
  make bench                                          all of it: half an hour
  make bench ARGS=--quick                             a short look: a few minutes
  make bench ARGS='--workload main latency --rounds 7 --json found.json'
  make bench ARGS='--workload main --contender ours celery_smtplib smtp_source'
  make bench ARGS=--write                             all of it, for docs/benchmarks.md
  make bench ARGS='--read found.json --write'         the same of an earlier run of all""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--workload", nargs="+", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    add("--contender", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    add("--rounds", type=_positive, help=f"of each contender ({ROUNDS})")
    add("--emails", type=_positive, help=f"for ours, in a round of the main workload ({EMAILS:,})")
    add("--most", type=_positive, help=f"the largest backlog ({MOST:,})")
    add("--quick", action="store_true", help="1 round, few emails, peers only where installed")
    add("--json", type=Path, metavar="FILE", help="keep all figures there")
    add("--write", action="store_true", help="put tables and plots into docs/")
    add("--read", type=Path, metavar="FILE", help="show what an earlier --json has kept")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main() -> int:
    """Measure, and tell."""
    given = _arguments()
    # as when the terminal says so: all that was started is ended
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    for name in [name for name in os.environ if name.startswith("MAILER_")]:
        del os.environ[name]  # the user's own settings are no part of it
    try:
        results = _earlier(given.read) if given.read else _measure(given)
        _tell(results, given)
    except (Mistake, *FAILURES) as error:
        console.print(f"[red]{error.__class__.__name__.lower()}:[/] ", end="")
        console.print(str(error), markup=False, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; nothing was written")
        return 130
    broken = any(verdict.holds is False for verdict in results.verdicts)
    return int(broken and not given.quick)


def _earlier(file: Path) -> Results:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Results)
    except (OSError, msgspec.MsgspecError) as error:
        raise Mistake(f"{file} is not what --json has kept: {error}") from error


def _measure(given: argparse.Namespace) -> Results:
    chosen = [WORKLOADS[name] for name in given.workload or WORKLOADS]
    if given.write:
        _must_be_complete(given)
    if given.json and not given.json.absolute().parent.is_dir():
        raise Mistake(f"there is no folder for {given.json}")
    if any(one.alone for one in chosen) and OURS.name not in (given.contender or [OURS.name]):
        raise Mistake(f"some of these workloads are about this mailer: name {OURS.name} too")
    begin, on = time.monotonic(), machine()
    contenders, versions, missing = _prepare(given, chosen)
    if given.write and missing:
        raise Mistake(f"--write takes all of it, but {missing[0]}")
    session = Session(
        rounds=given.rounds or (1 if given.quick else ROUNDS),
        emails=given.emails or (QUICK_EMAILS if given.quick else EMAILS),
        most=given.most or (QUICK_MOST if given.quick else MOST),
        contenders=contenders,
        progress=Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        ),
    )
    results = Results(
        when=f"{datetime.now(UTC):%Y-%m-%d}",
        command=" ".join(["make bench", *_asked()]),
        seconds=0,
        rounds=session.rounds,
        machine=on,
        versions=versions,
        complete=False,
        missing=tuple(missing),
    )
    with session.progress:
        for workload in chosen:
            founds = (*results.founds, _play(session, workload))
            results = evolve(results, founds=founds, seconds=time.monotonic() - begin)
            results = evolve(results, verdicts=judge(results))
            _keep(results, given.json)  # so that a mishap later loses nothing
    return evolve(results, complete=not missing and _asks_for_all(given))


def _asks_for_all(given: argparse.Namespace) -> bool:
    smaller = (given.rounds or ROUNDS) < ROUNDS or (given.emails or EMAILS) < EMAILS
    narrowed = given.workload or given.contender or given.quick
    return not narrowed and not smaller and (given.most or MOST) >= MOST


def _must_be_complete(given: argparse.Namespace) -> None:
    if not _asks_for_all(given):
        raise Mistake(
            "--write takes all of it: leave out --workload, --contender and --quick, and take no "
            f"less than {ROUNDS} rounds, {EMAILS:,} emails and a backlog of {MOST:,}"
        )


def _asked() -> list[str]:
    """Return what was asked for, but for where the figures go."""
    text = re.sub(r"--write|--json[ =]\S+", "", " ".join(sys.argv[1:])).split()
    return [f"ARGS='{' '.join(text)}'"] if text else []


def _prepare(
    given: argparse.Namespace, chosen: Sequence[Workload]
) -> tuple[list[Contender], Mapping[str, Mapping[str, str]], list[str]]:
    """Make contenders ready; return them, their versions, and who can't take part and why."""
    names = given.contender or CONTENDERS
    if all(workload.alone for workload in chosen):
        names = [OURS.name]
    ready, versions, missing = [], {OURS.label: our_versions()}, []
    with console.status("environments of what users pick instead"):
        for contender in (CONTENDERS[name] for name in names):
            if given.quick and not contender.installed():
                missing.append(f"{contender.label} is not installed, and --quick leaves it out")
                continue
            try:
                versions.setdefault(contender.label, contender.prepare())
                ready.append(contender)
            except Unavailable as error:
                missing.append(str(error))
    for reason in dict.fromkeys(missing):
        console.print(reason, style="yellow", highlight=False)
    return ready, versions, list(dict.fromkeys(missing))


def _play(session: Session, workload: Workload) -> Found:
    """Play a workload, and show its table as soon as it is there."""
    session.repeated.clear()
    begin = time.monotonic()
    found = workload.play(session)
    took = time.monotonic() - begin
    found = evolve(found, notes=(*found.notes, *session.repeated))
    session.found[workload.name] = found
    for task in session.progress.task_ids:
        session.progress.remove_task(task)
    console.print(of_workload(found).rich(f"{workload.title} ({took:.0f} s)", "bold"))
    for note in found.notes:
        console.print(note, style="dim", highlight=False)
    return found


def _keep(results: Results, file: Path | None) -> None:
    if file:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


def _tell(results: Results, given: argparse.Namespace) -> None:
    if given.read:
        for found in results.founds:
            console.print(of_workload(found).rich(WORKLOADS[found.workload].title, "bold"))
    console.print(of_verdicts(results).rich("What was promised", "red"))
    if given.quick:
        console.print("A short look: too few emails and rounds to judge by.", style="yellow")
    _keep(results, given.json)
    if given.write:
        if not results.complete:
            raise Mistake("not written: this was not a run of all")
        for file in write(results):
            console.print(f"written: {file}")


if __name__ == "__main__":
    sys.exit(main())
