"""Jobs that were dispatched together."""

from collections.abc import Callable, Sequence

from mailer.store.agenda import Assignment
from workers.contents import Contents


class Batch:
    """Tells when the last of some jobs has left the queue.

    Attributes:
        contents: of their attachments.
    """

    def __init__(
        self, jobs: Sequence[Assignment], contents: Contents, on_left: Callable[[], None]
    ) -> None:
        self.contents = contents
        self._waiting = {job.lease for job in jobs}
        self._on_left = on_left
        if not jobs:
            on_left()

    def left(self, job: Assignment) -> None:
        """Note that ``job`` waits for a session no longer."""
        if job.lease in self._waiting:
            self._waiting.remove(job.lease)
            if not self._waiting:
                self._on_left()

    def waits(self, job: Assignment) -> bool:
        """Whether ``job`` has not come to its turn yet."""
        return job.lease in self._waiting
