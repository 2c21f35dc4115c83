"""Whose turn it is: so many at a time, and some more in place of those that are set aside."""

import asyncio
import heapq
from collections.abc import Collection, Hashable
from itertools import count
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)


class Seats(Generic[H]):
    """Gives seats by urgency, and in order of arrival within one.

    A holder who is set aside lets the next in line have a turn, and passes nothing on in the end:
    that has been done already.

    Args:
        number: of those who may have a turn at a time, the ones set aside not counted.
        more: how many may be set aside, while others have the turns.

    Attributes:
        taken: who has a turn.
        aside: who was set aside, and has not left.
    """

    def __init__(self, number: int, more: int) -> None:
        self.taken: set[H] = set()
        self.aside: set[H] = set()
        self._number = number
        self._most = self._all = number + more
        self._waiting: list[tuple[int, int, asyncio.Future[None], H]] = []
        self._order = count()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a turn."""
        return any(not turn.done() for _, _, turn, _ in self._waiting)

    @property
    def spare(self) -> int:
        """How many may be set aside now."""
        return max(0, self._most - len(self.taken) - len(self.aside))

    def take(self, who: H) -> bool:
        """Take a seat at once, if one is free; tells whether it was done."""
        if not self._has_room():  # nobody can be waiting where there is
            return False
        self.taken.add(who)
        return True

    async def turn(self, who: H, urgency: int) -> None:
        """Wait for a seat, as none is free; the least ``urgency`` comes first."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn, who))
        try:
            await turn
        except asyncio.CancelledError:
            self.leave(who)  # its turn may have come, and it does not know yet
            raise

    def leave(self, who: H) -> None:
        """Give a seat back."""
        self.taken.discard(who)
        self.aside.discard(who)
        if self._waiting:
            self._admit()

    def set_aside(self, holders: Collection[H]) -> None:
        """Let others have the turns of some who need theirs for long."""
        self.taken.difference_update(holders)
        self.aside.update(holders)
        self._admit()

    def narrow(self) -> None:
        """Have one seat less in all, as long as that leaves as many as without anybody set aside.

        For the one who found that there was no room for it; until `widen`.
        """
        if self.aside:
            self._most = max(self._number, len(self.taken) + len(self.aside) - 1)

    def widen(self) -> None:
        """Have all seats again."""
        self._most = self._all
        self._admit()

    def _has_room(self) -> bool:
        taken = len(self.taken)
        return taken < self._number and taken + len(self.aside) < self._most

    def _admit(self) -> None:
        """Give the turns that are free to those who wait first."""
        while self._waiting and self._has_room():
            _, _, turn, who = heapq.heappop(self._waiting)
            if not turn.done():  # else it was canceled
                self.taken.add(who)
                turn.set_result(None)
