"""`Mailer` or `AsyncMailer`: for tests of what both promise."""

import asyncio
import inspect

from mailer import AsyncMailer, Mailer


class Either:
    """One of the two mailers, all of whose methods are awaited; the sync one runs in a thread."""

    def __init__(self, mailer: Mailer | AsyncMailer) -> None:
        self.mailer = mailer

    def __getattr__(self, name: str):
        method = getattr(self.mailer, name)
        if inspect.iscoroutinefunction(method):
            return method
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)
