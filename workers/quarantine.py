"""Jobs that may be what ended their workers are delivered one at a time, in a process of their own.

That process is ``python -m workers.alone``. It reads assignments from its standard input and
answers on its standard output, a line of JSON each. Whatever happens to it, the worker lives on.
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec
import structlog

from mailer.store.agenda import Assignment, Result
from workers.batch import Batch
from workers.outcomes.settlement import MOST_CRASHES, Circumstances, crashed, hand_back, put_back

log = structlog.get_logger()
SIGN_OF_LIFE = 1.0  # seconds between ticks
_UNTIL_ANOTHER = 5.0  # seconds, where none could be started
LONGEST_LINE = 64 * 1024 * 1024


class Tick(msgspec.Struct, frozen=True, tag=True):
    """The process is alive, and its event loop too."""


class Committed(msgspec.Struct, frozen=True, tag=True):
    """From now on the relay may have the message."""

    recipients: tuple[str, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    """What came of a job; nothing where its lease was lost."""

    result: Result | None


Answer: TypeAlias = Tick | Committed | Done
encode = msgspec.json.Encoder().encode
_answer = msgspec.json.Decoder(Answer).decode


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
        self._patience = max(patience, 5 * SIGN_OF_LIFE)
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
            orders.write(encode(job) + b"\n")
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
        words = ["-m", "workers.alone", f"{self._worker} alone"]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, *words),
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
        return self._process

    def _kill(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process = None


def _ended(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
