"""The one switch by which a test takes over what mailers do: see `mailer.testing.outbox`.

It is for the whole process, so that it holds for mailers made before the test as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mailer.settings import Settings
from mailer.steps import Call

T = TypeVar("T")

# Makes of a mailer's call, and the mailer's settings, the call that is run instead.
Diversion = Callable[[Call[Any], Settings], Call[Any]]

_diversions: list[Diversion] = []


def diverted(call: Call[T], settings: Settings) -> Call[T]:
    """Give what is to be run: the call itself, but in a test."""
    return _diversions[-1](call, settings) if _diversions else call


@contextmanager
def diverting(diversion: Diversion) -> Iterator[None]:
    """Divert every call of this process; the innermost diversion counts."""
    _diversions.append(diversion)
    try:
        yield
    finally:
        _diversions.remove(diversion)
