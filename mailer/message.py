"""What is stored of an email and never changes: enough to build the same bytes at every attempt."""

from typing import Any

import msgspec

from mailer.address import Address, Group


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where content lies, pinned to what it was when it was first read.

    Attributes:
        sha256: of the content, in hex; empty as long as nobody has read it.
        size: of the content, in bytes.
        path: absolute, where the content is a file that workers read.
        uri: ``https://…`` or an fsspec URI, where a worker must fetch the content first. Without
            path and uri it is a blob in the store, under its ``sha256``.
    """

    sha256: str = ""
    size: int = 0
    path: str | None = None
    uri: str | None = None


class AttachmentRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attachment.

    Attributes:
        filename: the base name shown to the reader; never a path.
        content_type: ``type/subtype``, with parameters where given.
        content_id: for inline images, without angle brackets.
    """

    filename: str
    content_type: str
    source: Source
    content_id: str | None = None


class Prepared(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message that another library has built.

    Attributes:
        header: its fields, folded and with CRLF, in ASCII or (RFC 6532) UTF-8.
        body: a blob of lines with CRLF; what the header says of its encoding is true.
        eight_bit: the body needs a relay with 8BITMIME.
    """

    header: str
    body: Source
    eight_bit: bool = False


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The parts of one message, validated.

    Attributes:
        message_id: ``<id@domain>``, with its angle brackets. Not stored with the rest: the head of
            the record has it.
        date: Unix time in seconds, for the Date header. Not stored with the rest either: it is the
            Redis server's time of the enqueue (or the scheduled time), so that no producer's clock
            shows.
        headers: additional fields, in the order given.
        prepared: set for a message that was built elsewhere; of the others only ``message_id`` and
            ``from_email`` are set then.
        merged: set for one of a batch whose letter has not been filled in: the values for that. Of
            the others only ``message_id``, ``date`` and ``to`` are set then.
    """

    message_id: str
    from_email: Address
    date: int = 0
    to: tuple[Address | Group, ...] = ()
    cc: tuple[Address | Group, ...] = ()
    reply_to: tuple[Address | Group, ...] = ()
    sender: Address | None = None
    subject: str = ""
    text: str | None = None
    amp: str | None = None
    html: str | None = None
    calendar: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[AttachmentRef, ...] = ()
    prepared: Prepared | None = None
    merged: dict[str, Any] | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where all its content lies that is not in this record."""
        if self.prepared:
            return (self.prepared.body,)
        return tuple(attachment.source for attachment in self.attachments)

    def __repr__(self) -> str:
        """Name the message, and nothing of its content: this may come into logs."""
        return f"Message({self.message_id})"
