"""What is known of a batch: emails of one letter, of which each row of a list makes one."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from mailer.job import JobState
from mailer.store.keys import job_of_batch


@attrs.frozen
class BatchReceipt:
    """What came of enqueueing a batch.

    Attributes:
        begun_at: when the batch was, by the Redis server's clock.
        rows: how many there were.
        created: of how many a job was made now.
        known: of how many one had been made before.
        refused: how many could not be sent as they are.
    """

    batch: str
    begun_at: datetime
    rows: int
    created: int
    known: int
    refused: int

    def job_id(self, row: int) -> str:
        """Give the id of the job of one row, the first of which is 0."""
        return job_of_batch(self.batch, self.begun_at, row)


@attrs.frozen
class Batch:
    """How a batch fares.

    Attributes:
        rows: how many have been enqueued, those that were refused included.
        counts: its jobs by their states; those that were retired since are not in it.
        canceled_at: when it was, or None.
    """

    name: str
    rows: int
    counts: Mapping[JobState, int]
    begun_at: datetime
    canceled_at: datetime | None = None

    @property
    def jobs(self) -> int:
        """How many jobs of it are recorded."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many of these have ended, one way or another."""
        return sum(number for state, number in self.counts.items() if state.ended)

    def job_id(self, row: int) -> str:
        """Give the id of the job of one row, the first of which is 0."""
        return job_of_batch(self.name, self.begun_at, row)
