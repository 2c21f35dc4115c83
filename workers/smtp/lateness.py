"""Which replies are late: by what a relay usually takes, and by whether it answers others."""

import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")
LEAST = 3.0  # seconds; none is late before
_TIMES = 4.0  # as long as usual
_SHARE = 0.05  # of the newest reply in what is usual


class Lateness:
    """Learns how long a relay usually takes for a reply, and picks those that take far longer.

    While it answers nobody, it is the relay that is late, and not some of the messages: it would
    not help to give it more of them. Then one is picked to see whether another is answered, and
    the next one after a time that doubles.

    Args:
        least: seconds before which no reply is late.
    """

    def __init__(self, least: float = LEAST) -> None:
        self._least = least
        self._usual = 0.0
        self._answered_at = -math.inf
        self._pause, self._again_at = least, -math.inf

    @property
    def bound(self) -> float:
        """Seconds after which a reply is late."""
        return max(self._least, _TIMES * self._usual)

    def answered(self, now: float, took: float) -> None:
        """Note a reply; what was late itself hardly changes what is usual."""
        usual = self._usual
        took = min(took, usual + self._least)
        self._usual = usual + (took - usual) * _SHARE
        self._answered_at = now

    def pick(self, now: float, waits: Mapping[T, float]) -> list[T]:
        """Pick whose turn others may have, the one that waits longest first.

        Args:
            waits: for how many seconds each has waited for a reply.
        """
        bound = self.bound
        late = sorted((who for who in waits if waits[who] > bound), key=lambda who: -waits[who])
        # the last to be answered before the relay fell silent were so a whole bound ago by now
        if now - self._answered_at < bound / 2:
            self._pause, self._again_at = bound, now
        elif now < self._again_at:
            return []
        elif late:
            self._again_at = now + self._pause
            self._pause *= 2
            return late[:1]
        return late
