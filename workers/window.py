"""How many jobs a dispatcher may have claimed that no worker has begun to send."""

import time

import attrs

_SOON = 0.5  # seconds that a job may wait for a session, once it was claimed


@attrs.frozen
class _Ticket:
    size: int
    urgent: bool
    taken_at: float


class Window:
    """Grows while jobs go through quickly, and shrinks while they wait.

    So an urgent email finds few others before it behind a slow relay, and a fast one is kept busy.
    Urgent jobs have as much room again of their own.

    Args:
        least: enough to occupy every session of a process.
        expiry: seconds after which a ticket that never came back is forgotten.
    """

    def __init__(self, least: int, most: int, expiry: float) -> None:
        self._least = least
        self._most = max(most, least)
        self._expiry = expiry
        self._size = float(least)
        self._tickets: dict[str, _Ticket] = {}

    @property
    def used(self) -> int:
        """Jobs that are claimed and have not left the queue."""
        oldest = time.monotonic() - self._expiry
        self._tickets = {k: t for k, t in self._tickets.items() if t.taken_at > oldest}
        return sum(ticket.size for ticket in self._tickets.values())

    @property
    def room(self) -> int:
        """How many more may be claimed."""
        return max(0, int(self._size) - self.used)

    @property
    def urgent_room(self) -> int:
        """How many more urgent ones may be claimed."""
        urgent = sum(ticket.size for ticket in self._tickets.values() if ticket.urgent)
        return max(self.room, self._least - urgent)

    def take(self, ticket: str, size: int, *, urgent: bool) -> None:
        """Note a batch that was dispatched."""
        self._tickets[ticket] = _Ticket(size, urgent, time.monotonic())

    def release(self, ticket: str) -> None:
        """Note that all of a batch have left the queue."""
        was_full = self.room == 0
        taken = self._tickets.pop(ticket, None)
        if taken is None:
            return
        if time.monotonic() - taken.taken_at > _SOON:
            self._size = max(self._least, self._size * 0.75)
        elif was_full:
            self._size = min(self._most, self._size * 1.5)
