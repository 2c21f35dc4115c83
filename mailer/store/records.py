"""How a job is written into its hash, and read back. JSON only.

Fields of ``job:<id>``: ``state lane created due since expires tries token crashes`` (and, while it is
sent, ``lease worker started``, and ``committed``: the relay and the recipients of a message that may
have been completed, see ``commit.lua``), ``updated`` (where that is not ``created``), ``head``,
``message``, ``recipients``, ``attempts`` (one a line), ``held`` (why it waits, where no attempt says
so), ``superseded`` (the id of the email that takes its place), ``latest`` (the SHA-256 of its
supersede key), ``blobs`` (the SHA-256 of each), and ``date``: when it was enqueued or is meant to
leave, in seconds, the same in the Date header of every attempt. The other times are milliseconds
since 1970; all are by the Redis server's clock.

Recipients and attempts are JSON arrays: their values in the order of the fields, without names, and
up to the last one that says something; times in seconds. Of a job that was sent no more is kept than
`Job` shows, in a form of its own: see ``keep.lua``, and `whole`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count, takewhile
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from mailer.job import Attempt, Job, JobState, Recipient
from mailer.message import Message
from mailer.retry import RetryPolicy
from mailer.store.keys import LANES

_USUAL_DELIVERY = "at-least-once"


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an email as long as its job is recorded; the message itself may go."""

    message_id: str = ""
    from_email: str = ""
    subject: str = ""
    envelope_sender: str = ""
    relay: str | None = None
    delivery: str = _USUAL_DELIVERY
    dsn_notify: tuple[str, ...] = ()
    dsn_return: str | None = None
    retry: RetryPolicy | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Name the message, and nothing of its content: this may come into logs."""
        return f"Head({self.message_id})"


class _RecipientRow(Recipient, frozen=True, array_like=True):
    """A recipient as it is stored."""


class _AttemptRow(Attempt, frozen=True, array_like=True):
    """An attempt as it is stored."""


encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(Head).decode
_message = msgspec.json.Decoder(Message).decode
# not strict, for times are numbers of seconds
_recipients = msgspec.json.Decoder(list[_RecipientRow], strict=False).decode
_attempt = msgspec.json.Decoder(_AttemptRow, strict=False).decode

_LAST = 253_402_300_799_000  # the last second of the year 9999
_KEPT = (b"created", b"updated", b"lane", b"expires", b"head", b"recipients", b"attempts")


def at(milliseconds: float) -> datetime:
    """Turn the store's time into a datetime in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """Turn an aware datetime into the store's time; never 0, which stands for no time at all.

    A moment before 1970 or after 9999 becomes the nearest one that `at` can turn back.
    """
    return min(max(1, round(moment.timestamp() * 1000)), _LAST)


def encode_head(head: Head, job_id: str) -> bytes:
    """Write a head without what `decode_head` puts back."""
    message_id, sender = _usual(head, job_id)
    return encode(
        replace(
            head,
            message_id="" if head.message_id == message_id else head.message_id,
            envelope_sender="" if head.envelope_sender == sender else head.envelope_sender,
            # msgspec omits what is the default, and not what is only equal to it
            delivery=_USUAL_DELIVERY if head.delivery == _USUAL_DELIVERY else head.delivery,
        )
    )


def decode_head(stored: bytes, job_id: str) -> Head:
    """Read a head; its Message-ID and envelope sender are the usual ones where none is stored."""
    head = _head(stored)
    message_id, sender = _usual(head, job_id)
    return replace(
        head,
        message_id=head.message_id or message_id,
        envelope_sender=head.envelope_sender or sender,
    )


def _usual(head: Head, job_id: str) -> tuple[str, str]:
    sender = head.from_email.rpartition("<")[2].removesuffix(">")
    return f"<{job_id}@{sender.rpartition('@')[2]}>", sender


def encode_message(message: Message) -> bytes:
    """Write a message, without its date and its Message-ID: they stand elsewhere in the record."""
    return encode(replace(message, date=0, message_id=""))


def decode_message(stored: bytes, date: int, message_id: str) -> Message:
    """Read a message, and put them in."""
    return replace(_message(stored), date=date, message_id=message_id)


def encode_recipients(recipients: Sequence[Recipient], said: str | None = None) -> bytes:
    """Write recipients; for a reply that is ``said``, stored with the attempt, stands an empty one."""
    rows = [_row(recipient) for recipient in recipients]
    if said:
        for row in rows:
            row[2:3] = ["" if reply == said else reply for reply in row[2:3]]
    return encode(rows)


def decode_recipients(stored: bytes, said: str | None = None) -> tuple[Recipient, ...]:
    """Read recipients; ``said`` is what the last attempt's reply says."""
    return tuple(
        [
            Recipient(
                row.address, row.state, said if row.reply == "" else row.reply, row.not_before
            )
            for row in _recipients(stored)
        ]
    )


def encode_attempt(attempt: Attempt) -> bytes:
    """Write an attempt."""
    return encode(_row(attempt))


def _row(of: Recipient | Attempt) -> list[Any]:
    row = [value.timestamp() if type(value) is datetime else value for value in astuple(of)]
    while not row[-1]:
        row.pop()
    return row


def whole(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Give the record of a sent job, of which ``keep.lua`` made few pieces, the fields of any other."""
    pieces = takewhile(bool, (fields.get(b"%d" % i) for i in count()))
    kept = b"".join(piece for piece in pieces if piece)
    return (
        fields | dict(zip(_KEPT, kept.split(b"\n", len(_KEPT) - 1), strict=True))
        if kept
        else fields
    )


def decode_job(job_id: str, fields: dict[bytes, bytes]) -> Job:
    """Read a whole record."""
    head = decode_head(fields[b"head"], job_id)
    state = JobState(fields[b"state"].decode())
    expires = int(fields.get(b"expires", 0))
    attempts = tuple(
        Attempt(*astuple(_attempt(line))) for line in fields.get(b"attempts", b"").splitlines()
    )
    return Job(
        id=job_id,
        state=state,
        message_id=head.message_id,
        from_email=head.from_email,
        subject=head.subject,
        recipients=decode_recipients(
            fields[b"recipients"], attempts[-1].reply if attempts else None
        ),
        attempts=attempts,
        priority=LANES[int(fields[b"lane"]) - 1],
        tags=head.tags,
        metadata=head.metadata,
        created_at=at(int(fields[b"created"])),
        updated_at=at(int(fields.get(b"updated", fields[b"created"]))),
        expires_at=at(expires) if expires else None,
        superseded_by=fields.get(b"superseded", b"").decode() or None,
        held=fields.get(b"held", b"").decode() or None if not state.ended else None,
        next_attempt_at=None
        if state.ended or state is JobState.SENDING
        else at(int(fields[b"due"])),
    )
