"""Results on their way to the store: written in groups, and never given up."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from mailer.errors import StoreUnavailable
from mailer.store.agenda import Agenda, Recorded, Result
from mailer.store.runners import AsyncRunner

log = structlog.get_logger()
_MOST_AT_ONCE = 200  # results in one Lua call: it holds Redis for some 5 ms
_APART = 0.01  # seconds from one commit to the next: so many go together that Redis has less to do
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0  # seconds between tries while Redis is away


class Journal:
    """Group commit: what arrives within 10 ms of one commit goes with the next.

    What comes after a pause is written at once.

    Args:
        on_recorded: told of every result, and what came of recording it.
    """

    def __init__(
        self,
        agenda: Agenda,
        runner: AsyncRunner,
        on_recorded: Callable[[Sequence[Result], Sequence[Recorded]], None],
    ) -> None:
        self._agenda = agenda
        self._runner = runner
        self._on_recorded = on_recorded
        self._results: list[Result] = []
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, result: Result) -> None:
        """Have ``result`` written as soon as may be."""
        self._results.append(result)
        self._empty.clear()
        self._news.set()

    async def emptied(self) -> None:
        """Wait until all has been written."""
        await self._empty.wait()

    async def keep_writing(self) -> None:
        """Write results; runs until it is canceled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            next_at = loop.time() + _APART
            group = self._results[:_MOST_AT_ONCE]
            recorded = await self._write(group)
            del self._results[: len(group)]
            if not self._results:
                self._news.clear()
                self._empty.set()
            self._on_recorded(group, recorded)
            if len(self._results) < _MOST_AT_ONCE:
                await asyncio.sleep(next_at - loop.time())

    async def _write(self, group: Sequence[Result]) -> list[Recorded]:
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._runner.run(self._agenda.finish(group))
            except StoreUnavailable as error:
                # they stay ours to write: the tokens decide whether they still count
                log.warning("results not recorded yet", jobs=len(group), reason=str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
