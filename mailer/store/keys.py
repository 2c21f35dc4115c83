"""The names of everything kept in Redis. All share one hash tag, and so one Cluster slot."""

import hashlib
from datetime import datetime

from mailer.errors import JobNotFound
from mailer.job import JobState, Priority

# Lua scripts receive lanes and state indexes in these orders; enqueue.lua and event.lua, which are
# sent few keys, write the names of others out.
LANES = tuple(Priority)
STATES = tuple(JobState)


class Keys:
    r"""Key names under one prefix.

    ========================  ======  ==========================================================
    ``{p}:job:<id>``          hash    the record, see ``records``
    ``{p}:agenda:<priority>`` zset    id → when it must be looked at next (ms); each job that has
                                      not ended is in exactly one of the three lanes
    ``{p}:state:<state>``     zset    id → when it came into the state (ms)
    ``{p}:once:<sha256>``     string  ``id message_id fingerprint`` of an idempotency key
    ``{p}:latest:<sha256>``   string  id of the last job of a supersede key, as long as recorded
    ``{p}:blob:<sha256>``     string  an attachment's content
    ``{p}:blob-uses``         hash    sha256 → how many recorded jobs need it
    ``{p}:upload:<name>``     string  a content that is being fetched
    ``{p}:batch:<16 digits>`` hash    what the jobs of a batch have in common, see open.lua; and, by
                                      the number of each chunk of its rows, their digest
    ``{p}:wake``              list    holds one element when some dispatcher should look
    ``{p}:wake:urgent``       list    likewise, for jobs of high priority
    ``{p}:begun:<name>``      list    tickets of that dispatcher's batches which have left the queue
    ``{p}:memory``            string  the share of memory of which Redis is known to use less
    ``{p}:probe``             string  written by ``mailer doctor``, gone after a millisecond
    ``{p}:relays``            hash    relay → why and until when it is paused (JSON)
    ``{p}:limit:<name>``      hash    the times of a limit; see enter.lua
    ``{p}:permits:<name>``    zset    permit to have a connection within a limit → its end (µs)
    ``{p}:paces``             hash    limit → how quickly its server wants to be sent to (JSON)
    ``{p}:suppressed``        hash    address → why no email goes there, since when, by whom (JSON)
    ``{p}:suppressed:tags``   hash    ``tag\naddress`` → likewise, for the emails of that tag
    ``{p}:events``            stream  one event for each change of a job's state; see event.lua
    ``{p}:events:on``         string  how many events are kept, and of which states there are any
    ========================  ======  ==========================================================
    """

    def __init__(self, prefix: str) -> None:
        tag = f"{{{prefix}}}"
        self.lanes = tuple(f"{tag}:agenda:{lane}" for lane in LANES)
        self.states = tuple(f"{tag}:state:{state}" for state in STATES)
        self.wake = f"{tag}:wake"
        self.urgent_wake = f"{tag}:wake:urgent"
        self.blob_prefix = f"{tag}:blob:"
        self.blob_uses = f"{tag}:blob-uses"
        self.relays = f"{tag}:relays"
        self.paces = f"{tag}:paces"
        self._limit = f"{tag}:limit:"
        self._permits = f"{tag}:permits:"
        self.suppressed = f"{tag}:suppressed"
        self.suppressed_tags = f"{tag}:suppressed:tags"
        self.events = f"{tag}:events"
        self.events_on = f"{tag}:events:on"
        self.memory = f"{tag}:memory"
        self.probe = f"{tag}:probe"
        self.job_prefix = f"{tag}:job:"
        self.batch_prefix = f"{tag}:batch:"
        self._once = f"{tag}:once:"
        self.latest_prefix = f"{tag}:latest:"
        self._begun = f"{tag}:begun:"
        self._upload = f"{tag}:upload:"

    def job(self, job_id: str) -> str:
        """The record of a job.

        Raises:
            JobNotFound: no job can have such an id.
        """
        if not isinstance(job_id, str) or not job_id.isascii():
            raise JobNotFound(job_id)
        return self.job_prefix + job_id

    def batch(self, name: str) -> str:
        """What is kept of a batch; hashed, for a name may be long."""
        return self.batch_prefix + _digits_of_batch(name)

    def state(self, state: JobState) -> str:
        """The index of the jobs in one state."""
        return self.states[STATES.index(state)]

    def once(self, idempotency_key: str) -> str:
        """Where an idempotency key is remembered; hashed, for it may be long or private."""
        return self._once + hashlib.sha256(idempotency_key.encode()).hexdigest()

    def latest(self, supersede_key: str) -> str:
        """Where the last job of a supersede key is named; hashed likewise."""
        return self.latest_prefix + hashlib.sha256(supersede_key.encode()).hexdigest()

    def blob(self, sha256: str) -> str:
        """The content of that digest."""
        return self.blob_prefix + sha256

    def upload(self, name: str) -> str:
        """Where a content is gathered before its digest is known."""
        return self._upload + name

    def limit(self, name: str) -> tuple[str, str]:
        """The state of a limit, and its permits."""
        return self._limit + name, self._permits + name

    def begun(self, dispatcher: str) -> str:
        """Where a dispatcher learns which of its batches have left the queue."""
        return self._begun + dispatcher


def job_of_batch(name: str, begun: datetime, row: int) -> str:
    """Give the id of the job that is made of one row of a batch.

    A UUID of version 8 (RFC 9562): 16 digits of the batch's name, 6 of when it was begun, for the
    name may be taken again, and 8 that number the row. So the jobs of a batch need no list, a row
    that is enqueued again makes no second job, and an id tells of which batch it is.

    Args:
        row: from 0 up to 2³² - 1.
    """
    return ids_of_batch(name, begun) + f"{row:08x}"


def ids_of_batch(name: str, begun: datetime) -> str:
    """Give what the ids of a batch's jobs begin with."""
    digits = f"{_digits_of_batch(name)}{int(begun.timestamp()) % 16**6:06x}"
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-8{digits[15:18]}-{digits[18:]}"


def batch_of(job_id: str) -> str | None:
    """Give the digits of the batch that a job is of, if it is of one."""
    if job_id[14:15] != "8":
        return None
    digits = job_id.replace("-", "")
    return digits[:12] + digits[13:16] + digits[17]


def _digits_of_batch(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
