"""Whose turn it is: so many at a time, and some more in place of those that are set aside."""

import asyncio
import heapq
from collections.abc import Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)


class Seats(Generic[H]):
    """Gives seats by urgency, and in order of arrival within one.

    A holder who is set aside lets the next in line have a turn, and passes nothing on in the end:
    that has been done already.

    Args:
        number: of seats, the ones set aside not counted.
        more: how many may be set aside, while others have the turns.

    Attributes:
        taken: who has a turn, and how many seats.
        aside: whose seats were set aside, how many, until all are given back.
    """

    def __init__(self, number: int, more: int) -> None:
        self.taken: dict[H, int] = {}
        self.aside: dict[H, int] = {}
        self._number = number
        self._most = self._all = number + more
        self._in_use = self._set_aside = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None], H]] = []
        self._order = count()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a turn."""
        return any(not turn.done() for _, _, turn, _ in self._waiting)

    def wanted_before(self, urgency: int) -> bool:
        """Whether somebody waits whose turn comes before that of others with this urgency."""
        return bool(self._waiting) and self._waiting[0][0] < urgency

    @property
    def spare(self) -> int:
        """How many may be set aside now."""
        return max(0, self._most - self._in_use - self._set_aside)

    def take(self, who: H) -> bool:
        """Take a seat at once, or another one, if one is free; tells whether it was done."""
        if not self._has_room():  # nobody can be waiting where there is
            return False
        self._give(who)
        return True

    def more(self, who: H, most: int) -> int:
        """Take up to so many further seats that are free; tells how many."""
        number = 0
        while number < most and self.take(who):
            number += 1
        return number

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
        """Give back all that one has."""
        self._in_use -= self.taken.pop(who, 0)
        self._set_aside -= self.aside.pop(who, 0)
        if self._waiting:
            self._admit()

    def set_aside(self, holders: Iterable[H]) -> None:
        """Let others have the turns of some who need theirs for long, as far as more may be."""
        for who in holders:
            number = self.taken.pop(who)
            moved = min(number, self.spare)
            self._in_use -= moved
            self._set_aside += moved
            if moved:
                self.aside[who] = self.aside.get(who, 0) + moved
            if moved < number:
                self.taken[who] = number - moved
        self._admit()

    def narrow(self) -> None:
        """Have one seat less in all, as long as that leaves as many as without anybody set aside.

        For the one who found that there was no room for it; until `widen`.
        """
        if self.aside:
            self._most = max(self._number, self._in_use + self._set_aside - 1)

    def widen(self) -> None:
        """Have all seats again."""
        self._most = self._all
        self._admit()

    def _has_room(self) -> bool:
        return self._in_use < self._number and self._in_use + self._set_aside < self._most

    def _give(self, who: H) -> None:
        self.taken[who] = self.taken.get(who, 0) + 1
        self._in_use += 1

    def _admit(self) -> None:
        """Give the turns that are free to those who wait first."""
        while self._waiting and self._has_room():
            _, _, turn, who = heapq.heappop(self._waiting)
            if not turn.done():  # else it was canceled
                self._give(who)
                turn.set_result(None)
