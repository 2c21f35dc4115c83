"""The memory of a worker that sends large attachments, ten at a time, and how fast they leave.

Files of 25 MB, each with a content of its own, and one of 5 MB that a hundred emails share; real
Redis, SMTP server and worker on this machine. Takes some 30 s. See docs/decisions/0008.
"""

import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil

from mailer import Attachment, Email, Mailer, load_settings
from mailer.testing import EmbeddedRedis, SmtpServerThread
from mailer.testing.processes import WorkerProcess

MB = 1024 * 1024
LARGE, COUNT, AT_A_TIME = 25 * MB - 1000, 20, "10"


def watched(process: psutil.Process, work: Callable[[], None]) -> tuple[float, float, float]:
    """Do something; return the memory before and at its peak (MB), and the seconds it took."""
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    done.set()
    watcher.join()
    return before / MB, peak / MB, seconds


def main() -> None:
    """Print both figures."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedRedis() as redis,
        SmtpServerThread() as smtp,
    ):
        folder = Path(name)
        for i in range(COUNT):
            with (folder / f"{i}.bin").open("wb") as file:
                file.write(i.to_bytes(4))
                file.truncate(LARGE)
        (folder / "shared.bin").write_bytes(os.urandom(5 * MB))
        settings = load_settings(
            redis_url=redis.url,
            key_prefix=f"bench-{uuid.uuid4().hex[:8]}",
            attachment_roots=[folder],
        )
        environment = {
            "MAILER_REDIS_URL": redis.url,
            "MAILER_KEY_PREFIX": settings.key_prefix,
            "MAILER_RELAY_URL": smtp.url,
            "MAILER_ATTACHMENT_ROOTS": str(folder),
            "MAILER_CONNECTIONS": AT_A_TIME,
        }
        worker = WorkerProcess(environment, folder / "worker.log", name="bench")
        with worker, Mailer(settings=settings) as mailer:

            def send(names: list[str]) -> None:
                receipts = mailer.enqueue_many(
                    Email(
                        from_email="shop@example.com",
                        to="jm@example.org",
                        text="Hi",
                        attachments=[
                            Attachment.from_path(folder / name) for name in [file] if name
                        ],
                    )
                    for file in names
                )
                for receipt in receipts:
                    assert mailer.wait(receipt.id, 120).state == "sent"
                smtp.state.received.clear()

            send([""] * 50)
            process = psutil.Process(worker.pid)
            for what, names, size in (
                (f"{COUNT} x 25 MB, all different", [f"{i}.bin" for i in range(COUNT)], LARGE),
                ("100 x 5 MB, all the same", ["shared.bin"] * 100, 5 * MB),
            ):
                idle, peak, seconds = watched(process, lambda names=names: send(names))  # type: ignore[misc]
                rate = len(names) * size / MB / seconds
                print(
                    f"{what}: {idle:.0f} MB idle, {peak - idle:.0f} MB more at the peak; "
                    f"{rate:.0f} MB/s of content"
                )


if __name__ == "__main__":
    sys.exit(main())
