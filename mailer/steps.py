"""The steps that a public call yields, for `Mailer` or `AsyncMailer` to take."""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import attrs

from mailer.store.operation import Operation

T = TypeVar("T")


@attrs.frozen
class Together:
    """Plain operations to be run in one round trip."""

    operations: list[Operation[Any]]


@attrs.frozen
class Ahead:
    """Plain operations to be sent in one write now; the step's result is for `Answers`."""

    operations: list[Operation[Any]]


@attrs.frozen
class Answers:
    """What came of operations that were sent by `Ahead`: wait for it."""

    to: Any


@attrs.frozen
class Pause:
    """Let this many seconds pass."""

    seconds: float


@attrs.frozen
class Reading:
    """Work that reads files or takes long, and so would block an event loop."""

    work: Callable[[], Any]


Step: TypeAlias = Operation[Any] | Together | Ahead | Answers | Pause | Reading
Call = Generator[Step, Any, T]
