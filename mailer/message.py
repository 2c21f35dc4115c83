"""What is stored of an email and never changes: enough to build the same bytes at every attempt."""

import msgspec

from mailer.address import Address


class AttachmentRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an attachment's content lies, pinned to what the producer saw.

    Attributes:
        filename: the base name shown to the reader; never a path.
        content_type: ``type/subtype``, with parameters where given.
        sha256: of the content, in hex.
        size: of the content, in bytes.
        path: absolute, where the content is a file that workers read; else it is a blob in the
            store, under its ``sha256``.
        content_id: for inline images, without angle brackets.
    """

    filename: str
    content_type: str
    sha256: str
    size: int
    path: str | None = None
    content_id: str | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of one message, validated.

    Attributes:
        message_id: ``<id@domain>``, with its angle brackets.
        date: Unix time in seconds, for the Date header. Not stored with the rest: it is the Redis
            server's time of the enqueue (or the scheduled time), so that no producer's clock shows.
        headers: additional fields, in the order given.
    """

    message_id: str
    sender: Address
    date: int = 0
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    attachments: tuple[AttachmentRef, ...] = ()

    def __repr__(self) -> str:
        """Name the message, and nothing of its content: this may come into logs."""
        return f"Message({self.message_id})"
