"""What `mailer doctor` asks of Redis, each as one operation."""

from typing import Any

from mailer.store.keys import Keys
from mailer.store.operation import Operation, run_command


class Health:
    """Read-only questions; nothing here changes a key."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def info(self) -> Operation[dict[str, str]]:
        """Read the server's own report (INFO)."""

        def parse(reply: Any) -> dict[str, str]:
            # redis-py reads INFO into a dict where it recognises the command
            if isinstance(reply, dict):
                return {str(name): str(value) for name, value in reply.items()}
            lines = reply.decode().splitlines()
            return dict(line.split(":", 1) for line in lines if ":" in line)

        return run_command("INFO", parse=parse)

    def time_ms(self) -> Operation[int]:
        """Read the server's clock (TIME), as Unix time in ms."""

        def parse(reply: Any) -> int:
            seconds, microseconds = reply
            return int(seconds) * 1000 + int(microseconds) // 1000

        return run_command("TIME", parse=parse)

    def due(self, lane: int, now_ms: int) -> Operation[int]:
        """Count the jobs of a lane that are due (ZCOUNT)."""
        return run_command("ZCOUNT", self._keys.lanes[lane], "-inf", now_ms, parse=int)

    def write_probe(self) -> Operation[bool]:
        """Write a key that goes at once (SET PX 1): False where the server takes no writes."""
        return run_command("SET", self._keys.probe, "1", "PX", 1, parse=bool)
