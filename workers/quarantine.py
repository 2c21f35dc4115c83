"""Jobs that may be what ended their workers are delivered one at a time, in a process of their own.

``python -m workers.quarantine`` is that process. It reads assignments from its standard input and
answers on its standard output, a line of JSON each. Whatever happens to it, the worker lives on.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec
import structlog

from mailer.loading import current_settings
from mailer.store.agenda import Assignment, Result
from workers.batch import Batch
from workers.clock import steady
from workers.desk import Desk
from workers.outcomes.settlement import MOST_CRASHES, Circumstances, crashed, hand_back, put_back

log = structlog.get_logger()
_SIGN_OF_LIFE = 1.0  # seconds between ticks
_UNTIL_ANOTHER = 5.0  # seconds, where none could be started
_LONGEST_LINE = 64 * 1024 * 1024


class Tick(msgspec.Struct, frozen=True, tag=True):
    """The process is alive, and its event loop too."""


class Committed(msgspec.Struct, frozen=True, tag=True):
    """From now on the relay may have the message."""

    recipients: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """What came of a job; nothing where its lease was lost."""

    result: Result | None


Answer: TypeAlias = Tick | Committed | Done
_encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(Answer).decode
_assignment = msgspec.json.Decoder(Assignment).decode


def belongs_alone(job: Assignment) -> bool:
    """Whether the next crash would be the last one: then it must not be its neighbours' as well."""
    return job.crashes >= MOST_CRASHES - 1


class Quarantine:
    """The worker's side of it.

    Args:
        patience: seconds without a sign of life after which the process is ended.
        record: takes what came of each attempt.
    """

    def __init__(
        self,
        worker: str,
        patience: float,
        record: Callable[[Result], None],
        circumstances: Callable[[], Circumstances],
    ) -> None:
        self._worker = worker
        self._patience = max(patience, 5 * _SIGN_OF_LIFE)
        self._record = record
        self._circumstances = circumstances
        self._turn = asyncio.Lock()
        self._in_line = 0
        self._process: Process | None = None
        self._answered = False  # the process has, since it was started

    async def deliver(self, job: Assignment, batch: Batch) -> None:
        """Make one attempt at ``job`` in its turn, and have recorded what came of it."""
        batch.left(job)
        batch.contents.done(job.message)
        self._in_line += 1
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            self._record(hand_back(job))
            raise
        finally:
            self._in_line -= 1
        try:
            self._record(await self._alone(job))
            if not self._in_line:
                await self.close()
        except asyncio.CancelledError:
            self._kill()
            raise
        finally:
            self._turn.release()

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process and process.stdin:
            process.stdin.close()
            await process.wait()

    async def _alone(self, job: Assignment) -> Result:
        log.warning("delivered alone, for its workers were lost", job=job.lease.job_id)
        process = self._process or await self._start()
        committed: tuple[str, ...] = ()
        orders, answers = process.stdin, process.stdout
        assert orders is not None  # noqa: S101 - it was started with both
        assert answers is not None  # noqa: S101
        with suppress(ConnectionError):
            orders.write(_encode(job) + b"\n")
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    line = await answers.readline()
            except TimeoutError:
                self._kill()
                reason = f"gave no sign of life for {self._patience:g} s"
                break
            if not line.endswith(b"\n"):
                reason = _ended(await process.wait())
                break
            self._answered = True
            match _answer(line):
                case Committed(recipients):
                    committed = recipients
                case Done(result):
                    return result or hand_back(job)
        self._process = None
        if not self._answered:  # no fault of the job
            log.error("no process could be started", reason=reason)
            due_ms = self._circumstances().now_ms + round(_UNTIL_ANOTHER * 1000)
            return put_back(job, due_ms, f"the process that was to send it alone {reason}")
        reason = f"the process that sent it alone {reason}"
        log.error("job crashed", job=job.lease.job_id, reason=reason)
        return crashed(job, reason, self._circumstances(), committed)

    async def _start(self) -> Process:
        # a session of its own, for Ctrl-C is the worker's to handle
        self._answered = False
        words = ["-m", "workers.quarantine", f"{self._worker} alone"]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *words),
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        return self._process

    def _kill(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process = None


def _ended(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


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
    deliverer = desk.deliverer(results.append, lambda: None)
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
        await asyncio.sleep(_SIGN_OF_LIFE)


async def _main(worker: str) -> None:
    orders = _Orders(limit=_LONGEST_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    # nobody else writes there: what libraries print must not be taken for an answer
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(answer: Answer) -> None:
        out.write(_encode(answer) + b"\n")

    await _deliver_all(worker, orders, answer)


def main() -> None:
    """Run the process; it ends with its worker, and by nobody else's signals."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_main(sys.argv[1]))


if __name__ == "__main__":
    main()
