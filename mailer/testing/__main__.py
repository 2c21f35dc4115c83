"""The SMTP server as a process: ``python -m mailer.testing --help``."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from mailer.testing.faults import Fault
from mailer.testing.smtp import SmtpServer, new_event_loop
from mailer.testing.smtp_state import Options


async def _serve(server: SmtpServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        sys.stdout.write(json.dumps({"port": server.port}) + "\n")
        sys.stdout.flush()
        await stop.wait()


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
    arguments = parser.parse_args()
    faults = [Fault("dot", delay=arguments.delay)] if arguments.delay else []
    options = Options(
        directory=arguments.directory, journal=arguments.journal, keep=False, faults=faults
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(SmtpServer(options, port=arguments.port)))


if __name__ == "__main__":
    main()
