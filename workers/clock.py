"""Time that nobody sets: a steady clock, and by it the Redis server's between its answers."""

import time

# goes on while the machine is suspended, where there is such a clock (Linux)
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> float:
    """Tell the seconds by a clock that no correction moves, and that a suspended machine has too.

    By `time.monotonic` a worker on a machine that slept would take old leases for its own.
    """
    return time.clock_gettime(_STEADY)


class ServerClock:
    """Tells the server's time in ms; a wrong clock of this machine does not disturb it."""

    def __init__(self) -> None:
        self._offset = 0.0
        self.known = False

    def heard(self, server_ms: int) -> None:
        """Note what the server's clock said just now."""
        self._offset = server_ms - steady() * 1000
        self.known = True

    @property
    def now_ms(self) -> int:
        """The server's time, as far as we know."""
        return round(self._offset + steady() * 1000)
