"""A peer as a value: how it is started, and on what."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen


@frozen
class Bench:
    """What a peer's processes are told, by environment variables.

    Attributes:
        redis_url: of a server of the benchmark's own; each peer's broker.
        smtp_port: where the sink listens, on 127.0.0.1.
        folder: a temporary one, for databases and attachments.
        message: a JSON file, see ``shared/workload.py``.
    """

    redis_url: str
    smtp_port: int
    folder: Path
    message: Path

    def variables(self) -> dict[str, str]:
        """Return the environment variables."""
        return {
            "BENCH_REDIS_URL": self.redis_url,
            "BENCH_SMTP_PORT": str(self.smtp_port),
            "BENCH_FOLDER": str(self.folder),
            "BENCH_MESSAGE": str(self.message),
        }


@frozen
class Peer:
    """Something that a user would pick instead.

    Attributes:
        name: for command lines and files.
        label: for tables.
        folder: beside this file; also the name of its environment.
        enqueue: the script that queues letters, and its arguments; their number follows.
        enqueue_many: the same by the call for many, where workers then do the same.
        worker: arguments of the environment's Python, with ``{processes}`` and ``{folder}`` to be
            filled in; none if it has no queue, and sends while it "enqueues".
        processes: how many of them send.
        settings: more environment variables: the rest of the layout.
        ends: whether the worker ends when the queue is empty, as what cron starts does.
        counted_by: who knows how many are done; the broker, where nothing is sent.
    """

    name: str
    label: str
    folder: str
    enqueue: tuple[str, ...]
    enqueue_many: tuple[str, ...] | None = None
    worker: tuple[str, ...] | None = None
    processes: int = 1
    settings: Mapping[str, str] = field(factory=dict)
    ends: bool = False
    counted_by: Literal["sink", "broker"] = "sink"

    @property
    def layout(self) -> str:
        """The layout in words."""
        rest = ", ".join(
            f"{name.removeprefix('BENCH_').lower()} {value}"
            for name, value in self.settings.items()
        )
        processes = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return f"{processes}, {rest}" if rest else processes
