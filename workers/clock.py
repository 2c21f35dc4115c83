"""The Redis server's time, carried on between its answers by this machine's steady clock."""

import time


class ServerClock:
    """Tells the server's time in ms; a wrong clock of this machine does not disturb it."""

    def __init__(self) -> None:
        self._offset = 0.0
        self.known = False

    def heard(self, server_ms: int) -> None:
        """Note what the server's clock said just now."""
        self._offset = server_ms - time.monotonic() * 1000
        self.known = True

    @property
    def now_ms(self) -> int:
        """The server's time, as far as we know."""
        return round(self._offset + time.monotonic() * 1000)
