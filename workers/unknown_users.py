"""Addresses that a relay does not know, on their way to the suppression list."""

import asyncio

import structlog

from mailer.errors import StoreUnavailable
from mailer.store.agenda import Result
from mailer.store.runners import AsyncRunner
from mailer.store.suppressions import Suppressions

log = structlog.get_logger()
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0  # seconds between tries while Redis is away


class UnknownUsers:
    """Suppresses those whom the relay refused as unknown, once that is on record.

    Args:
        worker: named as the one who put them on the list.
    """

    def __init__(self, store: Suppressions, runner: AsyncRunner, worker: str) -> None:
        self._store = store
        self._runner = runner
        self._worker = worker
        self._waiting: list[tuple[str, str]] = []  # address, reply
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, result: Result) -> None:
        """Have those of a recorded result put on the list as soon as may be."""
        unknown = [r for r in result.recipients if r.address in result.bad_addresses]
        if unknown:
            self._waiting += [(r.address, r.reply or "") for r in unknown]
            self._empty.clear()
            self._news.set()

    async def emptied(self) -> None:
        """Wait until all are on it."""
        await self._empty.wait()

    async def keep_writing(self) -> None:
        """Write; runs until it is canceled."""
        try:
            while True:
                await self._news.wait()
                await self._write(*self._waiting[0])
                del self._waiting[0]
                if not self._waiting:
                    self._news.clear()
                    self._empty.set()
        finally:
            if self._waiting:
                log.warning("unknown users not suppressed", addresses=len(self._waiting))

    async def _write(self, address: str, reply: str) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                await self._runner.run(self._store.add([address], None, reply, self._worker))
            except StoreUnavailable as error:
                log.warning("unknown user not suppressed yet", reason=str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                return
