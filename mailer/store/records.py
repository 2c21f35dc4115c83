"""How a job is written into its hash, and read back. JSON only.

Fields of ``job:<id>``: ``state lane created updated due since expires tries token crashes`` (and,
while it is sent, ``lease worker started``, and ``committed``: the relay and the recipients of a
message that may have been completed, see ``commit.lua``), ``head``, ``message``, ``recipients``,
``attempts`` (a JSON object a line), ``held`` (why it waits, where no attempt says so),
``superseded`` (the id of the email that takes its place), ``latest`` (the key that names the last
job of its supersede key), ``blobs`` (the SHA-256 of each), and ``date``: when it was enqueued or is
meant to leave, in seconds, the same in the Date header of every attempt. The other times are
milliseconds since 1970; all are by the Redis server's clock.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from mailer.job import Attempt, Job, JobState, Recipient
from mailer.message import Message
from mailer.retry import RetryPolicy
from mailer.store.keys import LANES


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of an email as long as its job is recorded; the message itself may go."""

    message_id: str
    from_email: str
    subject: str
    envelope_sender: str
    relay: str | None = None
    delivery: str = "at-least-once"
    dsn_notify: tuple[str, ...] = ()
    dsn_return: str | None = None
    retry: RetryPolicy | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}

    def __repr__(self) -> str:
        """Name the message, and nothing of its content: this may come into logs."""
        return f"Head({self.message_id})"


encode = msgspec.json.Encoder().encode
decode_head = msgspec.json.Decoder(Head).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_recipients = msgspec.json.Decoder(tuple[Recipient, ...]).decode
# not strict: the one attempt that Lua writes has its times in seconds
_attempt = msgspec.json.Decoder(Attempt, strict=False).decode


_LAST = 253_402_300_799_000  # the last second of the year 9999


def at(milliseconds: float) -> datetime:
    """Turn the store's time into a datetime in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """Turn an aware datetime into the store's time; never 0, which stands for no time at all.

    A moment before 1970 or after 9999 becomes the nearest one that `at` can turn back.
    """
    return min(max(1, round(moment.timestamp() * 1000)), _LAST)


def dated(message: bytes, date: int) -> Message:
    """Read a message, and put in its date, which is a field of its own."""
    return msgspec.structs.replace(decode_message(message), date=date)


def decode_job(job_id: str, fields: dict[bytes, bytes]) -> Job:
    """Read a whole record."""
    head = decode_head(fields[b"head"])
    state = JobState(fields[b"state"].decode())
    expires = int(fields[b"expires"])
    return Job(
        id=job_id,
        state=state,
        message_id=head.message_id,
        from_email=head.from_email,
        subject=head.subject,
        recipients=decode_recipients(fields[b"recipients"]),
        attempts=tuple(_attempt(line) for line in fields.get(b"attempts", b"").splitlines()),
        priority=LANES[int(fields[b"lane"]) - 1],
        tags=head.tags,
        metadata=head.metadata,
        created_at=at(int(fields[b"created"])),
        updated_at=at(int(fields[b"updated"])),
        expires_at=at(expires) if expires else None,
        superseded_by=fields.get(b"superseded", b"").decode() or None,
        held=fields.get(b"held", b"").decode() or None if not state.ended else None,
        next_attempt_at=None
        if state.ended or state is JobState.SENDING
        else at(int(fields[b"due"])),
    )
