"""The SMTP server as a process: ``python -m mailer.testing --help``."""

import argparse
import json
import signal
import sys
from pathlib import Path

from mailer.testing.faults import PHASES, Fault, say
from mailer.testing.smtp import SmtpServerThread
from mailer.testing.smtp_state import EXTENSIONS

_ENDING = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    """Run the server until SIGTERM; its port is the first line that it prints."""
    parser = argparse.ArgumentParser(
        prog="python -m mailer.testing",
        description="An SMTP server for try-outs and tests. It delivers nothing.",
        epilog="Example: python -m mailer.testing --port 1025 --directory inbox "
        "--fault 'rcpt=450 4.7.1 Greylisted'",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--directory", type=Path, help="write accepted messages there, as .eml")
    parser.add_argument("--journal", type=Path, help="append a line of JSON for each message")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each 250")
    parser.add_argument(
        "--extension", action="append", help="offer this one and no others; may be repeated"
    )
    parser.add_argument("--user", action="append", type=_user, default=[], metavar="NAME:PASSWORD")
    parser.add_argument(
        "--fault",
        action="append",
        type=_fault,
        default=[],
        metavar="AT=REPLY",
        help="give this reply at connect, ehlo, auth, mail, rcpt, data or dot; may be repeated",
    )
    given = parser.parse_args()
    faults = given.fault + ([Fault("dot", delay=given.delay)] if given.delay else [])
    # blocked before the server's thread starts, so that they wait for us
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with SmtpServerThread(
        port=given.port,
        directory=given.directory,
        journal=given.journal,
        keep=False,
        faults=faults,
        users=dict(given.user),
        extensions=given.extension or EXTENSIONS,
    ) as server:
        sys.stdout.write(json.dumps({"port": server.port}) + "\n")
        sys.stdout.flush()
        signal.sigwait(_ENDING)


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError("looks like NAME:PASSWORD")
    return name, password


def _fault(text: str) -> Fault:
    at, equals, reply = text.partition("=")
    if not equals or at not in PHASES:
        raise argparse.ArgumentTypeError(f"looks like AT=REPLY, AT one of {', '.join(PHASES)}")
    return say(reply, at)


if __name__ == "__main__":
    main()
