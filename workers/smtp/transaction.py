"""What goes into one mail transaction, and what comes out of it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import TypeAlias

import msgspec

from workers.smtp.replies import Reply

_AT_ONCE = 64 * 1024  # bytes; by BDAT, a larger message waits for the replies to RCPT
_CHUNK = 256 * 1024  # bytes written before the transport is asked whether it keeps up

# A piece of a message: at hand, or read while it is sent. Each begins where a line does, or with a
# line end, and so does each chunk of the latter; the last one ends with CRLF.
Segment: TypeAlias = bytes | Callable[[], AsyncGenerator[bytes]]
Check: TypeAlias = Callable[[], Awaitable[None]]
Look: TypeAlias = Callable[[], None]


class Phase(StrEnum):
    """How far a session or a transaction came."""

    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class Dsn(msgspec.Struct, frozen=True):
    """Which delivery reports the sender wants (RFC 3461).

    Attributes:
        notify: NOTIFY, such as ``FAILURE,DELAY`` or ``NEVER``; empty for the server's own way.
        ret: RET, ``FULL`` or ``HDRS``; empty likewise.
        envid: ENVID, which the report repeats; printable ASCII.
    """

    notify: str = ""
    ret: str = ""
    envid: str = ""

    def of_mail(self) -> str:
        """Write the parameters of MAIL."""
        ret = f" RET={self.ret}" if self.ret else ""
        return f"{ret} ENVID={_xtext(self.envid)}" if self.envid else ret

    def of_rcpt(self, recipient: str) -> str:
        """Write the parameters of RCPT."""
        notify = f" NOTIFY={self.notify}" if self.notify else ""
        # another address type would be needed for UTF-8 (RFC 6533), and few servers know it
        return f"{notify} ORCPT=rfc822;{_xtext(recipient)}" if recipient.isascii() else notify


class Envelope(msgspec.Struct, frozen=True):
    """Who sends to whom, as SMTP takes it (RFC 5321, section 2.3.1).

    Attributes:
        sender: of MAIL FROM; empty for the null sender.
        smtputf8: some address has a UTF-8 local part, and the server takes it (RFC 6531).
        size: of the message, in bytes (RFC 1870); 0 where it is not said.
        dsn: what the sender wants to be told later, where that is said (RFC 3461).
    """

    sender: str
    recipients: Sequence[str]
    smtputf8: bool = False
    size: int = 0
    dsn: Dsn | None = None

    def commands(self, extensions: Container[str]) -> list[bytes]:
        """Write MAIL and each RCPT, with the parameters that a server of ``extensions`` knows."""
        options = f" SIZE={self.size}" if self.size and "size" in extensions else ""
        if "8bitmime" in extensions:
            options += " BODY=8BITMIME"
        if self.smtputf8:
            options += " SMTPUTF8"
        dsn = self.dsn if "dsn" in extensions else None
        mail = f"MAIL FROM:<{self.sender}>{options}{dsn.of_mail() if dsn else ''}\r\n"
        people = [
            f"RCPT TO:<{recipient}>{dsn.of_rcpt(recipient) if dsn else ''}\r\n"
            for recipient in self.recipients
        ]
        return [line.encode() for line in (mail, *people)]


class Transcript(msgspec.Struct, frozen=True):
    """What was said in one transaction.

    Attributes:
        phase: the last one that was begun. From `Phase.DOT` on, the server may have the message.
        recipients: the reply to each RCPT, in order; fewer where the session broke off.
        finals: the replies that decide: one for all, or with LMTP one for each who was accepted at
            RCPT, in order; fewer where the session broke off.
        failure: why the session broke off, or None.
        lmtp: each recipient has a final reply of their own.
    """

    phase: Phase
    mail: Reply | None = None
    recipients: Sequence[Reply] = ()
    data: Reply | None = None
    finals: Sequence[Reply] = ()
    failure: str | None = None
    lmtp: bool = False

    @property
    def final(self) -> Reply | None:
        """The reply that decides on all, or with LMTP on the first who was accepted at RCPT."""
        return self.finals[0] if self.finals else None

    @property
    def heard(self) -> list[tuple[Phase, Reply]]:
        """The replies in order, each with what it answers."""
        said = [
            (Phase.MAIL, self.mail),
            *((Phase.RCPT, reply) for reply in self.recipients),
            (Phase.DATA, self.data),
            *((Phase.DOT, reply) for reply in self.finals),
        ]
        return [(phase, reply) for phase, reply in said if reply]


def joined(message: Sequence[Segment]) -> bytes | None:
    """Join a message that goes out in one piece; None where it is not at hand, or too large."""
    if len(message) == 1 and isinstance(message[0], bytes):  # as most are
        return message[0] if len(message[0]) <= _AT_ONCE else None
    at_hand = [segment for segment in message if isinstance(segment, bytes)]
    if len(at_hand) < len(message) or sum(map(len, at_hand)) > _AT_ONCE:
        return None
    return b"".join(at_hand)


async def chunks_of(message: Sequence[Segment]) -> AsyncGenerator[bytes]:
    """Cut a message into what is written at once, its dots doubled."""
    for segment in message:
        if callable(segment):
            async with aclosing(segment()) as chunks:
                async for chunk in chunks:
                    yield stuffed(chunk)
        else:
            lines = stuffed(segment)
            for start in range(0, len(lines), _CHUNK):
                yield lines[start : start + _CHUNK]


def _xtext(text: str) -> str:
    """Encode a parameter's value (RFC 3461, section 4)."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)


def stuffed(lines: bytes) -> bytes:
    """Double the dots that begin lines (RFC 5321, 4.5.2)."""
    if lines.rfind(b"\r\n.") >= 0:  # from the end, for which CPython takes half of the time
        lines = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + lines if lines.startswith(b".") else lines
