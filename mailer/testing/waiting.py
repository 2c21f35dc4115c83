"""Waiting for what happens in other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY = 0.01


def eventually(condition: Callable[[], T], timeout: float = 20.0) -> T:
    """Wait until ``condition()`` is true; return what it gave.

    Raises:
        AssertionError: it is not, after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s")
        time.sleep(_LOOK_EVERY)
    return found
