"""The SMTP server as a process: ``python -m mailer.testing --help``."""

import argparse
import json
import signal
import sys
from pathlib import Path

from mailer.testing.faults import Fault
from mailer.testing.smtp import SmtpServerThread

_ENDING = {signal.SIGTERM, signal.SIGINT}


def main() -> None:
    """Run the server until SIGTERM; its port is the first line that it prints."""
    parser = argparse.ArgumentParser(
        prog="python -m mailer.testing",
        description="An SMTP server for try-outs and tests. It delivers nothing.",
        epilog="Example: python -m mailer.testing --port 1025 --directory inbox",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--directory", type=Path, help="write accepted messages there, as .eml")
    parser.add_argument("--journal", type=Path, help="append a line of JSON for each message")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each 250")
    given = parser.parse_args()
    faults = [Fault("dot", delay=given.delay)] if given.delay else []
    # blocked before the server's thread starts, so that they wait for us
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with SmtpServerThread(
        port=given.port,
        directory=given.directory,
        journal=given.journal,
        keep=False,
        faults=faults,
    ) as server:
        sys.stdout.write(json.dumps({"port": server.port}) + "\n")
        sys.stdout.flush()
        signal.sigwait(_ENDING)


if __name__ == "__main__":
    main()
