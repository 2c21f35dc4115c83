"""How a job is written into its hash, and read back. JSON only.

Fields of ``job:<id>``: ``state lane created due since expires tries token crashes`` (and, while it
is sent, ``lease worker``, and ``committed``: the relay and the recipients of a message that may
have been completed, see ``commit.lua``), ``updated`` (once that is not ``created``), ``head``,
``message``, ``recipients``, ``attempts`` (one a line), ``held`` (why it waits, where no attempt
says so), ``superseded`` (the id of the email that takes its place), ``latest`` (the SHA-256 of its
supersede key), ``blobs`` (the SHA-256 of each), and ``date``: when it was enqueued or is meant to
leave, in seconds, the same in the Date header of every attempt. The other times are milliseconds
since 1970; all are by the Redis server's clock.

Recipients and attempts are JSON arrays of their values, in the order of the fields and without
names, up to the last one that says something; times are seconds there. Of a job that was sent only
what `Job` shows is kept, in a form that takes less memory: see ``keep.lua`` and `whole`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
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

_RECIPIENT_TIMES = (Recipient.__struct_fields__.index("not_before"),)
_ATTEMPT_TIMES = tuple(
    Attempt.__struct_fields__.index(name) for name in ("started_at", "ended_at", "next_attempt_at")
)
_REPLY = Recipient.__struct_fields__.index("reply")
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
    """Write recipients; an empty reply stands for ``said``, which is stored with the attempt."""
    rows = [_row(recipient, _RECIPIENT_TIMES) for recipient in recipients]
    for row in rows if said else ():
        if len(row) > _REPLY and row[_REPLY] == said:
            row[_REPLY] = ""
    return encode(rows)


def decode_recipients(stored: bytes, said: str | None = None) -> tuple[Recipient, ...]:
    """Read recipients; ``said`` is the reply of the last attempt."""
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
    return encode(_row(attempt, _ATTEMPT_TIMES))


def decode_attempts(stored: bytes) -> tuple[Attempt, ...]:
    """Read attempts, one a line."""
    return tuple(Attempt(*astuple(_attempt(line))) for line in stored.splitlines())


def _row(of: Recipient | Attempt, times: Sequence[int]) -> list[Any]:
    row = list(astuple(of))
    for place in times:
        if row[place]:
            row[place] = row[place].timestamp()
    while not row[-1]:
        row.pop()
    return row


def whole(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Give the record of a sent job, cut into pieces by ``keep.lua``, the fields of any other."""
    pieces: list[bytes] = []
    while piece := fields.get(b"%d" % len(pieces)):
        pieces.append(piece)
    if not pieces:
        return fields
    lines = b"".join(pieces).split(b"\n", len(_KEPT) - 1)
    return fields | dict(zip(_KEPT, lines, strict=True))


def decode_job(job_id: str, fields: dict[bytes, bytes]) -> Job:
    """Read a whole record."""
    head = decode_head(fields[b"head"], job_id)
    state = JobState(fields[b"state"].decode())
    expires = int(fields.get(b"expires", 0))
    attempts = decode_attempts(fields.get(b"attempts", b""))
    said = attempts[-1].reply if attempts else None
    return Job(
        id=job_id,
        state=state,
        message_id=head.message_id,
        from_email=head.from_email,
        subject=head.subject,
        recipients=decode_recipients(fields[b"recipients"], said),
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
