"""The steps that a public call yields, for `Mailer` or `AsyncMailer` to take."""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import msgspec

from mailer.store.operation import Operation

T = TypeVar("T")


class Together(msgspec.Struct, frozen=True):
    """Plain operations to be run in one round trip."""

    operations: list[Operation[Any]]


class Ahead(msgspec.Struct, frozen=True):
    """Plain operations to be sent in one write now; the step's result is for `Answers`."""

    operations: list[Operation[Any]]


class Answers(msgspec.Struct, frozen=True):
    """What came of operations that were sent by `Ahead`: wait for it."""

    to: Any


class Pause(msgspec.Struct, frozen=True):
    """Let this many seconds pass."""

    seconds: float


class Reading(msgspec.Struct, frozen=True):
    """Work that reads files or takes long, and so would block an event loop."""

    work: Callable[[], Any]


Step: TypeAlias = Operation[Any] | Together | Ahead | Answers | Pause | Reading
Call = Generator[Step, Any, T]
