"""Commands as Redis reads them (RESP)."""

from collections.abc import Sequence
from functools import lru_cache

from hiredis import pack_command

from mailer.store.operation import Argument, Packed, Words

# words which hiredis writes at once: of more it copies what there is again and again as it grows
_FEW = 100


def packed(words: Words) -> bytes:
    """Write a command."""
    last = words[-1]
    if isinstance(last, Packed):
        header = b"*%d\r\n" % (len(words) - 1 + last.number)
        return b"".join((header, _begun(*words[:-1]), *last.pieces))
    if len(words) <= _FEW:
        return _command(words)  # type: ignore[arg-type]
    groups = (pack(words[i : i + _FEW]) for i in range(0, len(words), _FEW))  # type: ignore[arg-type]
    return b"*%d\r\n%b" % (len(words), b"".join(groups))


def pack(words: Sequence[Argument]) -> bytes:
    """Write a few words."""
    command = _command(words)
    return command[command.index(b"$") :]


def pack_one(word: bytes) -> bytes:
    """Write a single word, in half of the time."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


@lru_cache(maxsize=16)
def _begun(*words: Argument) -> bytes:
    """Write what names a script; of such commands there are few."""
    return pack(words)


def _command(words: Sequence[Argument]) -> bytes:
    command: bytes = pack_command(tuple(words))  # type: ignore[arg-type]  # its stub knows one word
    return command
