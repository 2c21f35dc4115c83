"""The one event loop of a worker process, in a thread of its own beside Celery's threads."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # not on every platform
    from asyncio import new_event_loop

T = TypeVar("T")


class LoopThread:
    """An event loop that runs until it is stopped."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mailer-loop", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Start ``work`` on the loop, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, make: Callable[[], T]) -> T:
        """Run a plain function on the loop, and wait for what it returns."""

        async def run() -> T:
            return make()

        return self.submit(run()).result()

    def stop(self) -> None:
        """Stop the loop and wait for its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
