"""How a job is written into its hash, and read back. JSON only.

Fields of ``job:<id>``: ``state lane created due since expires tries token crashes`` (and, while it
is sent, ``lease worker``, and ``committed``: the relay and the recipients of a message that may
have been completed, see ``commit.lua``), ``updated`` (once that is not ``created``), ``head``,
``message``, ``recipients``, ``attempts`` (one a line), ``held`` (why it waits, where no attempt
says so), ``superseded`` (the id of the email that takes its place), ``latest`` (the SHA-256 of its
supersede key), ``blobs`` (the SHA-256 of each), and ``date``: when it was enqueued or is meant to
leave, in seconds, the same in the Date header of every attempt. The other times are milliseconds
since 1970; all are by the Redis server's clock.

Head, recipients and attempts are JSON arrays: the values in the order of the fields, without names,
up to the last one that says something. Their times are seconds; those of an attempt count from its
start. A message is an object, or (of a batch) an array of what its letter is filled in with and To.
Where head, message and recipients are short, they are in pieces: see ``pieces.lua``. Of a job that
was sent only what `Job` shows is kept, in pieces too: see ``keep.lua`` and `whole`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from mailer.address import Address, Group
from mailer.job import Attempt, Job, JobState, Recipient
from mailer.message import Message
from mailer.retry import RetryPolicy
from mailer.store.keys import LANES

_USUAL_DELIVERY = "at-least-once"


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an email as long as its job is recorded; the message itself may go."""

    message_id: str = ""
    from_email: str = ""
    subject: str = ""
    envelope_sender: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    relay: str | None = None
    retry: RetryPolicy | None = None
    delivery: str = _USUAL_DELIVERY
    dsn_notify: tuple[str, ...] = ()
    dsn_return: str | None = None

    def __repr__(self) -> str:
        """Name the message, and nothing of its content: this may come into logs."""
        return f"Head({self.message_id})"


class _HeadRow(Head, frozen=True, array_like=True):
    """A head as it is stored."""


class _MessageRow(Message, frozen=True):
    """A message as it is stored; its sender stays JSON here, for `_address` knows the last ones."""

    from_email: msgspec.Raw  # type: ignore[assignment]


class _RecipientRow(Recipient, frozen=True, array_like=True):
    """A recipient as it is stored."""


class _AttemptRow(Attempt, frozen=True, array_like=True):
    """An attempt as it is stored; times that count from its start count from 1970 here."""


encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(_HeadRow).decode
_message = msgspec.json.Decoder(_MessageRow).decode
_address = lru_cache(maxsize=256)(msgspec.json.Decoder(Address).decode)
_merged = msgspec.json.Decoder(tuple[dict[str, Any], tuple[Address | Group, ...]]).decode
_NOBODY = Address("nobody@invalid")
# not strict, for times are numbers of seconds
_recipients = msgspec.json.Decoder(list[_RecipientRow], strict=False).decode
_attempt = msgspec.json.Decoder(_AttemptRow, strict=False).decode

# the places of some values
_MESSAGE_ID, _SENDER, _DELIVERY = map(
    Head.__struct_fields__.index, ("message_id", "envelope_sender", "delivery")
)
_BEHIND_DATE = Message.__struct_fields__.index("date") + 1
_REPLY, _NOT_BEFORE = map(Recipient.__struct_fields__.index, ("reply", "not_before"))
_STARTED, *_LATER = map(
    Attempt.__struct_fields__.index, ("started_at", "ended_at", "next_attempt_at")
)
_KEPT = (b"created", b"updated", b"lane", b"expires", b"head", b"recipients", b"attempts")
_TEXTS = (b"head", b"message", b"recipients")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST = 253_402_300_799_000  # the last second of the year 9999


def at(milliseconds: float) -> datetime:
    """Turn the store's time into a datetime in UTC, to the millisecond in any year."""
    return _EPOCH + milliseconds * _MILLISECOND


def milliseconds(moment: datetime) -> int:
    """Turn an aware datetime into the store's time; never 0, which stands for no time at all.

    A moment before 1970 or after 9999 becomes the nearest one that `at` can turn back.
    """
    return min(max(1, round(moment.timestamp() * 1000)), _LAST)


def encode_head(head: Head, job_id: str) -> bytes:
    """Write a head, and nothing for what is usual."""
    row = list(astuple(head))
    for place, usual in _usual(head.from_email, job_id):
        if row[place] == usual:
            row[place] = ""
    return encode(_cut(row))


def decode_head(stored: bytes, job_id: str) -> Head:
    """Read a head."""
    head = _head(stored)
    row = list(astuple(head))
    for place, usual in _usual(head.from_email, job_id):
        row[place] = row[place] or usual
    return Head(*row)


def _usual(from_email: str, job_id: str) -> tuple[tuple[int, str], ...]:
    """Give what most heads have, with its place."""
    sender, domain = _bare(from_email)
    message_id = f"<{job_id}@{domain}>"
    return (_MESSAGE_ID, message_id), (_SENDER, sender), (_DELIVERY, _USUAL_DELIVERY)


@lru_cache(maxsize=256)  # an application has few senders
def _bare(from_email: str) -> tuple[str, str]:
    """Take the name off a mailbox; give its domain too."""
    sender = from_email.rpartition("<")[2].removesuffix(">")
    return sender, sender.rpartition("@")[2]


def encode_message(message: Message) -> bytes:
    """Write a message, without its date and its Message-ID: they stand elsewhere in the record.

    One that is yet to be filled in is an array, for there may be a million of them.
    """
    if message.merged is not None:
        return encode((message.merged, message.to))
    return encode(replace(message, date=0, message_id=""))


def decode_message(stored: bytes, date: int, message_id: str) -> Message:
    """Read a message, and put them in."""
    if stored.startswith(b"["):
        merged, to = _merged(stored)
        return Message(message_id, _NOBODY, date, to, merged=merged)
    row = _message(stored)
    sender = _address(bytes(row.from_email))
    return Message(message_id, sender, date, *astuple(row)[_BEHIND_DATE:])


def encode_recipients(recipients: Sequence[Recipient], said: str | None = None) -> bytes:
    """Write recipients; an empty reply stands for ``said``, which is stored with the attempt."""
    rows = []
    for recipient in recipients:
        row = _cut(list(astuple(recipient)))
        if recipient.not_before:
            row[_NOT_BEFORE] = recipient.not_before.timestamp()
        if said and recipient.reply == said:
            row[_REPLY] = ""
        rows.append(row)
    return encode(rows)


def decode_recipients(stored: bytes, said: str | None = None) -> tuple[Recipient, ...]:
    """Read recipients; ``said`` is the reply of the last attempt."""
    recipients = []
    for row in _recipients(stored):
        reply = said if row.reply == "" else row.reply
        not_before = row.not_before and at(_since_1970(row.not_before))
        recipients.append(Recipient(row.address, row.state, reply, not_before))
    return tuple(recipients)


def encode_attempt(attempt: Attempt) -> bytes:
    """Write an attempt."""
    row = _cut(list(astuple(attempt)))
    row[_STARTED] = attempt.started_at.timestamp()
    for place in _LATER:
        if place < len(row) and row[place]:
            row[place] = (row[place] - attempt.started_at).total_seconds()
    return encode(row)


def decode_attempts(stored: bytes) -> tuple[Attempt, ...]:
    """Read attempts, one a line."""
    attempts = []
    for line in stored.splitlines():
        values = list(astuple(_attempt(line)))
        # in milliseconds, as they were: seconds of a far year are less exact than that
        started = _since_1970(values[_STARTED])
        values[_STARTED] = at(started)
        for place in _LATER:
            if values[place]:
                values[place] = at(started + _since_1970(values[place]))
        attempts.append(Attempt(*values))
    return tuple(attempts)


def _since_1970(moment: datetime) -> int:
    return round((moment - _EPOCH) / _MILLISECOND)


def _cut(row: list[Any]) -> list[Any]:
    """Take off the values after the last one that says something."""
    while not row[-1]:
        row.pop()
    return row


def whole(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Give a record that is in pieces, as ``pieces.lua`` and ``keep.lua`` cut it, its fields."""
    pieces: list[bytes] = []
    while piece := fields.get(b"%d" % len(pieces)):
        pieces.append(piece)
    if not pieces:
        return fields
    if fields[b"state"] != b"sent":
        texts = b"".join(pieces).split(b"\n")
        return dict(zip(_TEXTS, texts, strict=True)) | fields
    created, after, *lines = b"".join(pieces).split(b"\n", len(_KEPT) - 1)
    updated = b"%d" % (int(created) + int(after))
    return fields | dict(zip(_KEPT, (created, updated, *lines), strict=True))


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
