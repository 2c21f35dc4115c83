"""Compare layouts of what users pick instead; ``peers/layouts.md`` has what came of it.

All on loopback, one run each: compare only figures of one run. About ten seconds for each layout,
once the environments are there.
"""

import argparse
import sys

from attrs import evolve
from contenders import Unavailable
from contenders.theirs import contender_of
from messages import MAIN
from peers import PEERS
from rich.console import Console
from rich.table import Table
from stage import Stuck, stage


def main() -> None:
    """Play each peer in each layout, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Example: python benchmarks/layouts.py --peer celery_smtplib --processes 2 4 8 "
        "--set BENCH_PREFETCH=1",
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peer", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--processes", type=int, nargs="+", default=[None], help="to compare")
    parser.add_argument("--set", action="append", default=[], metavar="BENCH_NAME=VALUE")
    parser.add_argument("--rtt", type=float, default=0.0, help="seconds to the relay and back")
    given = parser.parse_args()
    settings = dict(setting.split("=", 1) for setting in given.set)
    console = Console()
    table = Table("peer", "layout", "enqueued/s", "delivered/s")
    try:
        for peer in (peer for peer in PEERS if peer.name in given.peer):
            has = contender_of(peer).prepare()
            console.print(peer.label, *(f"{name} {has[name]}" for name in has), style="dim")
            for processes in given.processes:
                layout = evolve(
                    peer,
                    processes=processes or peer.processes,
                    settings={**peer.settings, **settings},
                )
                with stage(MAIN, rtt=given.rtt) as here:
                    trial = contender_of(layout).play(here, given.count)
                enqueued = trial.single or trial.bulk
                shown = f"{enqueued:,.0f}" if enqueued else "-"
                table.add_row(peer.name, layout.layout, shown, f"{trial.delivered:,.0f}")
    except (Stuck, Unavailable) as error:
        sys.exit(str(error))
    console.print(table)


if __name__ == "__main__":
    main()
