"""What goes into one mail transaction, and what comes out of it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import TypeAlias

import attrs

from workers.smtp.replies import Reply

_CHUNK = 256 * 1024  # bytes written before the transport is asked whether it keeps up

# A piece of a message: at hand, or read while it is sent. Each begins where a line does, or with a
# line end, and so does each chunk of the latter; the last one ends with CRLF.
Segment: TypeAlias = bytes | Callable[[], AsyncGenerator[bytes]]


class Phase(StrEnum):
    """How far a session or a transaction came."""

    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


@attrs.frozen
class Envelope:
    """Who sends to whom, as SMTP takes it (RFC 5321, section 2.3.1).

    Attributes:
        sender: of MAIL FROM; empty for the null sender.
        smtputf8: some address has a UTF-8 local part, and the server takes it (RFC 6531).
        size: of the message, in bytes (RFC 1870); 0 where it is not said.
    """

    sender: str
    recipients: Sequence[str]
    smtputf8: bool = False
    size: int = 0


@attrs.frozen
class Transcript:
    """What was said in one transaction.

    Attributes:
        phase: the last one that was begun. From `Phase.DOT` on, the server may have the message.
        recipients: the reply to each RCPT, in order; fewer where the session broke off.
        failure: why the session broke off, or None.
    """

    phase: Phase
    mail: Reply | None = None
    recipients: Sequence[Reply] = ()
    data: Reply | None = None
    final: Reply | None = None
    failure: str | None = None

    @property
    def heard(self) -> list[tuple[Phase, Reply]]:
        """The replies in order, each with what it answers."""
        said = [
            (Phase.MAIL, self.mail),
            *((Phase.RCPT, reply) for reply in self.recipients),
            (Phase.DATA, self.data),
            (Phase.DOT, self.final),
        ]
        return [(phase, reply) for phase, reply in said if reply]


async def chunks_of(message: Sequence[Segment]) -> AsyncGenerator[bytes]:
    """Cut a message into what is written at once, its dots doubled."""
    for segment in message:
        if callable(segment):
            async with aclosing(segment()) as chunks:
                async for chunk in chunks:
                    yield _stuffed(chunk)
        else:
            stuffed = _stuffed(segment)
            for start in range(0, len(stuffed), _CHUNK):
                yield stuffed[start : start + _CHUNK]


def _stuffed(lines: bytes) -> bytes:
    """Double the dots that begin lines (RFC 5321, 4.5.2)."""
    lines = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + lines if lines.startswith(b".") else lines
