"""What workers ask of the store, each as one operation: the agenda and its leases."""

import logging
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from mailer.job import Attempt, JobState, Priority, Recipient
from mailer.message import Message
from mailer.store import records
from mailer.store.keys import LANES, Keys
from mailer.store.operation import Argument, Operation, run_command, run_script


class Claim(msgspec.Struct, frozen=True):
    """What a dispatcher may publish now.

    Attributes:
        ids: job ids by priority, each in the order of their due times.
        wait: seconds until the next job is due, or None where the agenda is empty.
        now: the Redis server's time, in ms.
    """

    ids: dict[Priority, list[str]]
    wait: float | None
    now: int


class Lease(msgspec.Struct, frozen=True):
    """The right to deliver one job, until it is given back, runs out or is taken over."""

    job_id: str
    token: int


class Assignment(msgspec.Struct, frozen=True):
    """A begun job: its lease, and all that is needed to deliver it.

    Attributes:
        tries: attempts used up so far.
        since_ms: when the job was first due; the retry policy counts from here.
        begun_ms: when this attempt began; all times are the Redis server's.
        crashes: how many attempts in a row ended with their process.
    """

    lease: Lease
    head: records.Head
    message: Message
    recipients: tuple[Recipient, ...]
    priority: Priority
    tries: int
    since_ms: int
    expires_ms: int
    begun_ms: int
    crashes: int = 0


class Result(msgspec.Struct, frozen=True):
    """What became of one attempt.

    Attributes:
        due_ms: when to look at the job again; `ENDED` or `NOW` are allowed as well.
        attempt: to be put on record, or None for an attempt that did not take place.
        held: why the job waits, where no attempt says so.
        bad_addresses: recipients of whom the relay said that there are no such.
        crashes: see `Assignment`; any other end of an attempt sets it back.
    """

    lease: Lease
    state: JobState
    due_ms: int
    tries: int
    recipients: tuple[Recipient, ...]
    attempt: Attempt | None
    held: str = ""
    bad_addresses: tuple[str, ...] = ()
    crashes: int = 0


class Commitment(msgspec.Struct, frozen=True):
    """A message that is about to be completed.

    Attributes:
        recipients: who may have it from then on, by address.
    """

    lease: Lease
    relay: str
    recipients: tuple[str, ...]


class Recorded(IntEnum):
    """What came of recording a result; false where it came too late."""

    STALE = 0
    DONE = 1
    CANCELED = 2  # instead of tried again: a newer email has taken its place


class Pinning(StrEnum):
    """What came of `Agenda.pin`."""

    DONE = "done"
    LEASE_LOST = "stale"
    BLOB_GONE = "gone"


ENDED, NOW = 0, 1
log = logging.getLogger(__name__)


class Agenda:
    """The workers' operations under one key prefix."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def claim(self, room: int, urgent_room: int, timeout: float) -> Operation[Claim]:
        """Claim jobs that are due: up to ``urgent_room`` of high priority, ``room`` of others."""

        def parse(reply: list[Any]) -> Claim:
            now, wait, *lanes = reply
            found = ([job_id.decode() for job_id in lane] for lane in lanes)
            ids = dict(zip(LANES, found, strict=True))
            return Claim(ids, wait / 1000 if wait >= 0 else None, now)

        keys = [self._keys.urgent_wake, self._keys.wake, *self._keys.lanes]
        return run_script("claim", keys, [room, urgent_room, round(timeout * 1000)], parse)

    def begin(self, ids: Sequence[str], worker: str, lease: float) -> Operation[list[Assignment]]:
        """Lease those of ``ids`` that may be delivered now to ``worker``, for ``lease`` seconds."""

        def parse(reply: list[Any]) -> list[Assignment]:
            now, *jobs = reply
            return [begun for fields in jobs if (begun := _assignment(fields, now))]

        keys = [*self._keys.lanes, *self._keys.states]
        keys += [self._keys.suppressed, self._keys.suppressed_tags, *map(self._keys.job, ids)]
        return run_script("begin", keys, [round(lease * 1000), worker, *ids], parse)

    def renew(self, leases: Sequence[Lease], lease: float) -> Operation[set[str]]:
        """Prolong ``leases``; the result names the jobs that are no longer ours."""
        keys = [*self._keys.lanes, *(self._keys.job(held.job_id) for held in leases)]
        args: list[Argument] = [round(lease * 1000)]
        for held in leases:
            args += [held.job_id, held.token]
        return run_script("renew", keys, args, lambda reply: {job_id.decode() for job_id in reply})

    def finish(self, results: Sequence[Result]) -> Operation[list[Recorded]]:
        """Record ``results``, each if its lease is still held."""
        keys = [self._keys.wake, *self._keys.lanes, *self._keys.states]
        keys += [self._keys.blob_prefix, self._keys.blob_uses]
        args: list[Argument] = []
        for result in results:
            keys.append(self._keys.job(result.lease.job_id))
            args += [
                result.lease.job_id,
                result.lease.token,
                result.state,
                result.due_ms,
                result.tries,
                _recipients(result),
                records.encode_attempt(result.attempt) if result.attempt else b"",
                result.held,
                result.crashes,
            ]
        return run_script("finish", keys, args, lambda reply: [Recorded(done) for done in reply])

    def commit(self, commitments: Sequence[Commitment]) -> Operation[list[bool]]:
        """Note that messages are about to be completed; whether each lease is still held."""
        keys, args = [], list[Argument]()
        for made in commitments:
            keys.append(self._keys.job(made.lease.job_id))
            note = {"relay": made.relay, "recipients": made.recipients}
            args += [made.lease.token, records.encode(note)]
        return run_script("commit", keys, args, lambda reply: [ours == 1 for ours in reply])

    def undispatch(self, ids: Sequence[str]) -> Operation[int]:
        """Make claimed jobs due again that nobody began; the result is their number."""
        keys = [self._keys.wake, *self._keys.lanes, *map(self._keys.job, ids)]
        return run_script("undispatch", keys, ids, int)

    def await_news(
        self, dispatcher: str, *, room: bool, urgent_room: bool, timeout: float
    ) -> Operation[str | None]:
        """Wait for a batch's ticket or, where there is room, for a wake-up (BLPOP).

        The result is the ticket, if it was one.
        """
        begun = self._keys.begun(dispatcher)
        keys = [begun]
        keys += [self._keys.urgent_wake] if urgent_room else []
        keys += [self._keys.wake] if room else []

        def parse(reply: list[bytes] | None) -> str | None:
            return reply[1].decode() if reply and reply[0] == begun.encode() else None

        return run_command("BLPOP", *keys, timeout, parse=parse, blocks=True)

    def give_ticket(self, dispatcher: str, ticket: str) -> list[Operation[Any]]:
        """Tell a dispatcher that all jobs of a batch have left the queue (RPUSH, EXPIRE)."""
        key = self._keys.begun(dispatcher)
        return [
            run_command("RPUSH", key, ticket, parse=int),
            run_command("EXPIRE", key, 600, parse=int),
        ]

    def pin(self, lease: Lease, message: Message, digests: Sequence[str]) -> Operation[Pinning]:
        """Record where the contents of a job's attachments lie, now that they were fetched.

        Args:
            message: with the sources of all attachments pinned.
            digests: of the blobs that were fetched for it.
        """
        keys = [self._keys.job(lease.job_id), self._keys.blob_prefix, self._keys.blob_uses]
        args: list[Argument] = [lease.token, records.encode_message(message), *digests]
        return run_script("pin", keys, args, lambda reply: Pinning(reply.decode()))

    def ended_before(self, state: JobState, moment_ms: int, limit: int) -> Operation[list[str]]:
        """List jobs that ended in ``state`` before ``moment_ms`` (ZRANGE BYSCORE)."""
        return run_command(
            *("ZRANGE", self._keys.state(state), "-inf", moment_ms, "BYSCORE", "LIMIT", 0, limit),
            parse=lambda reply: [job_id.decode() for job_id in reply],
        )

    def retire(self, state: JobState, moment_ms: int, ids: Sequence[str]) -> Operation[int]:
        """Forget jobs that ended in ``state`` before ``moment_ms``; the result is their number."""
        keys = [self._keys.blob_prefix, self._keys.blob_uses, self._keys.state(state)]
        keys += [self._keys.latest_prefix, self._keys.batch_prefix, *map(self._keys.job, ids)]
        return run_script("retire", keys, [state, moment_ms, *ids], int)


def _recipients(result: Result) -> bytes:
    """Write them, but what the attempt says of them too, where there will be no other attempt."""
    last = result.attempt if result.state is JobState.SENT else None
    return records.encode_recipients(result.recipients, last.reply if last else None)


def _assignment(fields: list[Any], now: int) -> Assignment | None:
    """Read one job; None where its record can't be read, which must not stop its neighbours."""
    name, token, tries, date, since, expires, lane, head, message, recipients, crashes = fields
    job_id = name.decode()
    try:
        head = records.decode_head(head, job_id)
        return Assignment(
            lease=Lease(job_id, token),
            head=head,
            message=records.decode_message(message, date, head.message_id),
            recipients=records.decode_recipients(recipients),
            priority=LANES[lane - 1],
            tries=tries,
            since_ms=since,
            expires_ms=expires,
            begun_ms=now,
            crashes=crashes,
        )
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        log.error("the record of job %s can't be read: %s", job_id, error)
        return None
