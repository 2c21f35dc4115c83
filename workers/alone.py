"""The process that delivers a job alone, so that no other ends with it; see ``quarantine``.

``python -m workers.alone NAME``, with assignments on standard input and answers on standard output.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable

import msgspec

from mailer.loading import current_settings
from mailer.store.agenda import Assignment, Result
from workers.batch import Batch
from workers.clock import steady
from workers.desk import Desk
from workers.quarantine import LONGEST_LINE, SIGN_OF_LIFE, Answer, Committed, Done, Tick, encode

_assignment = msgspec.json.Decoder(Assignment).decode


class _Orders(asyncio.StreamReader):
    """Lines from the worker. Should it die in the midst of a job, so does this process."""

    busy = False

    def feed_eof(self) -> None:
        """Learn that nothing more can come."""
        if self.busy:
            os._exit(os.EX_TEMPFAIL)
        super().feed_eof()


async def _deliver_all(worker: str, orders: _Orders, answer: Callable[[Answer], None]) -> None:
    """Deliver what is asked for, until nothing more can come."""
    results: list[Result] = []
    desk = Desk(worker, current_settings(), lambda made: answer(Committed(made.recipients)))
    deliverer = desk.deliverer(results.append, lambda: None, lambda *_: None)
    async with asyncio.TaskGroup() as services:
        running = [services.create_task(service) for service in (*desk.services, _tick(answer))]
        while line := await orders.readline():
            orders.busy = True
            job = _assignment(line)
            desk.clock.heard(job.begun_ms)
            desk.leases.take([job.lease], steady() - desk.leases.seconds)
            await desk.leases.renew()
            contents = desk.contents([job.message])
            await deliverer.deliver(job, Batch([job], contents, lambda: None))
            desk.leases.drop([job.lease])
            orders.busy = False
            answer(Done(results.pop() if results else None))
        await desk.close()
        for task in running:
            task.cancel()


async def _tick(answer: Callable[[Answer], None]) -> None:
    while True:
        answer(Tick())
        await asyncio.sleep(SIGN_OF_LIFE)


async def _main(worker: str) -> None:
    orders = _Orders(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    # nobody else writes there: what libraries print must not be taken for an answer
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(answer: Answer) -> None:
        out.write(encode(answer) + b"\n")

    await _deliver_all(worker, orders, answer)


def main() -> None:
    """Run the process; it ends with its worker, and by nobody else's signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_main(sys.argv[1]))


if __name__ == "__main__":
    main()
