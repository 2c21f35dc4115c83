"""An operation is a value: what to ask Redis, and how to read the answer. Runners run it."""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

import attrs
import msgspec

T = TypeVar("T")
Argument = str | bytes | int | float
_INCLUDE = re.compile(r"^-- include (\w+)$", re.MULTILINE)


@attrs.frozen
class Script:
    """A Lua step, loaded by its file's name. Redis knows it by its SHA-1 (EVALSHA)."""

    name: str
    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """Read ``lua/<name>.lua``, and put in what it includes."""
    source = _INCLUDE.sub(lambda line: _read(line[1]), _read(name))
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files("mailer.store").joinpath("lua", f"{name}.lua").read_text()


class Operation(msgspec.Struct, Generic[T], frozen=True):
    """One request to Redis and the function that reads its reply.

    Attributes:
        command: what follows on the wire; for a script, its keys and arguments.
        parse: turns the raw reply into the result, or raises a `MailerError`.
        script: set for EVALSHA operations.
        blocks: the server may keep the connection waiting, and whoever else would ask on it.
    """

    command: tuple[Argument, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    blocks: bool = False

    def __repr__(self) -> str:
        """Name what it runs, and nothing of its words: they may hold an email's body."""
        return f"Operation({self.script.name if self.script else self.command[0]!r})"

    @property
    def words(self) -> tuple[Argument, ...]:
        """The command as sent at first, with the script named by its digest."""
        return ("EVALSHA", self.script.sha, *self.command) if self.script else self.command

    @property
    def full_words(self) -> tuple[Argument, ...]:
        """The command as repeated where the server doesn't know the script yet."""
        return ("EVAL", self.script.source, *self.command) if self.script else self.command


def run_script(
    name: str, keys: Sequence[str], args: Sequence[Argument], parse: Callable[[Any], T]
) -> Operation[T]:
    """Make the operation that runs ``lua/<name>.lua``."""
    return Operation((len(keys), *keys, *args), parse, script(name))


def run_command(*words: Argument, parse: Callable[[Any], T], blocks: bool = False) -> Operation[T]:
    """Make the operation that runs one plain command."""
    return Operation(words, parse, blocks=blocks)


def pairs(reply: Any) -> dict[bytes, bytes]:
    """Read a hash, which some versions of the protocol send as a flat list."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
