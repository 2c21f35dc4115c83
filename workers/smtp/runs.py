"""How many messages a relay is given at once: as many as it answers soon.

A server takes the messages of a run one after the other, where it would take those of as many
connections side by side. That does no harm while the answer comes sooner than this process can make
use of it: with 20 connections and 5 ms, at 4,000 messages a second.
"""

_SOON = 0.005  # seconds
_LATE = 0.02
_PAUSE = 600.0  # for which a relay that left messages unanswered gets them one by one


class Runs:
    """Learns how long a run may be: one more after each that was answered soon, else half of it.

    Args:
        most: messages in a run; the relay's connections, so that not more are on their way at a
            time than without runs, and a lost connection leaves not more of them in doubt.

    Attributes:
        length: of a run, in messages; at first 1.
    """

    def __init__(self, most: int) -> None:
        self.length = 1
        self._most = most
        self._paused_until = 0.0

    def answered(self, now: float, number: int, took: float) -> None:
        """Note that the relay took so many seconds to answer a run of so many messages."""
        if took > _LATE:
            self.length = max(1, self.length // 2)
        elif took < _SOON and number == self.length < self._most and now >= self._paused_until:
            self.length += 1

    def pause(self, now: float) -> None:
        """Give messages one by one for a while: some stay unanswered, and hold up those behind."""
        self.length = 1
        self._paused_until = now + _PAUSE
