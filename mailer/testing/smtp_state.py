"""What an SMTP server of ours is told to be, and what it remembers."""

import asyncio
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from mailer.testing.faults import Fault

EXTENSIONS = (
    *("PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"),
    "SIZE 52428800",
)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


@attrs.frozen
class Received:
    """A message that was accepted.

    Attributes:
        recipients: those of its transaction that were accepted.
        data: the message as it came, dots no longer doubled.
        connection: counts the connections from 1.
        at: when it came, by `time.monotonic`.
        parameters: of MAIL, such as ``SIZE=1000``.
        recipient_parameters: of each RCPT.
        user: who signed in; empty for nobody.
        secure: it came by TLS.
        client: what the client called itself in EHLO.
        certificate: the common name in the client's certificate, where that is asked for.
        turns: how often the client waited for replies, from MAIL to the end: the round trips.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes = attrs.field(repr=False)
    connection: int
    at: float
    parameters: tuple[str, ...] = ()
    recipient_parameters: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    user: str = ""
    secure: bool = False
    client: str = ""
    certificate: str = ""
    turns: int = 0

    @property
    def message_id(self) -> str:
        """Of the message, with its angle brackets; empty where it has none."""
        match = _MESSAGE_ID.search(self.data)
        return match[1].decode("ascii", "replace") if match else ""


@attrs.define
class Options:
    """How the server behaves.

    Attributes:
        directory: where accepted messages go, as ``00001.eml`` and so on.
        journal: a line of JSON for each accepted message, written before its 250.
        keep: remember what was accepted; else only count it.
        users: passwords by name; AUTH is offered where there are any, under TLS or not.
        mechanisms: of AUTH; the tokens of XOAUTH2 are the users' passwords.
        starttls, implicit_tls: contexts, where TLS is wanted; then none signs in without it.
        lmtp: speak LMTP, with a reply for each recipient after the message.
        max_messages: on one connection; after them, 421.
        idle_seconds: without a word from the client; then 421.
    """

    directory: Path | None = None
    journal: Path | None = None
    keep: bool = True
    extensions: Sequence[str] = EXTENSIONS
    users: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")
    starttls: ssl.SSLContext | None = None
    implicit_tls: ssl.SSLContext | None = None
    lmtp: bool = False
    max_messages: int | None = None
    idle_seconds: float | None = None
    faults: list[Fault] = attrs.field(factory=list)


class State:
    """What all connections of a server share."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.received: list[Received] = []
        self.count = 0
        self.connections = 0
        self.clients: set[asyncio.Transport] = set()
        self.open_at_most = 0
        self.commands: list[str] | None = None  # verbs, where a test wants to see them
        self.breaches: list[str] = []  # of the rules of pipelining
        self._journal: IO[str] | None = options.journal.open("a") if options.journal else None
        if options.directory:
            options.directory.mkdir(parents=True, exist_ok=True)

    def fault(self, at: str, subjects: Sequence[str]) -> Fault | None:
        """Find the fault that happens now."""
        return next((f for f in self.options.faults if f.applies(at, subjects)), None)

    def accept(self, message: Received) -> None:
        """Keep a message as the options say."""
        self.count += 1
        if self._journal:
            entry = {"message_id": message.message_id, "recipients": message.recipients}
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()
        if self.options.directory:
            (self.options.directory / f"{self.count:05}.eml").write_bytes(message.data)
        if self.options.keep:
            self.received.append(message)

    def close(self) -> None:
        """Close the journal."""
        if self._journal:
            self._journal.close()
