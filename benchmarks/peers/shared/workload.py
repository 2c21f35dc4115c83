"""What every contender is given to send, and how its enqueueing is timed.

Runs in the peers' environments, so it needs nothing but Python. ``BENCH_MESSAGE`` names a JSON
file with ``from``, ``to``, ``subject``, ``text``, ``html`` (may be empty), ``attachment`` (its
size in bytes, 0 for none) and ``shared`` (whether all have the same). ``{i}`` stands for the number
of the letter; the first one has the number ``BENCH_FIRST``. Where ``BENCH_GATE`` names a folder,
the producer says there that it is ready, and waits for the file ``go``.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

ATTACHMENT_NAME, ATTACHMENT_TYPE = "invoice.pdf", "application/pdf"


class Letter(TypedDict):
    """One email, before any library has seen it."""

    sender: str
    to: str
    subject: str
    text: str
    html: str
    attachment: bytes


def letters(first: int, count: int) -> list[Letter]:
    """Write that many letters; an attachment is each one's own, as invoices are, or shared."""
    message = json.loads(Path(os.environ["BENCH_MESSAGE"]).read_text(encoding="utf-8"))
    size = message.get("attachment", 0)
    content = random.Random(0).randbytes(size)
    shared = message.get("shared", False)

    def said(field: str, i: int) -> str:
        return message.get(field, "").replace("{i}", str(i))

    return [
        Letter(
            sender=message["from"],
            to=said("to", i),
            subject=said("subject", i),
            text=said("text", i),
            html=said("html", i),
            attachment=content if shared else (b"%08d" % i + content)[:size],
        )
        for i in range(first, first + count)
    ]


def run(send: Callable[[list[Letter]], object]) -> None:
    """Send one letter to warm up, then as many as the last argument says; print what those took.

    ``began`` is a time of the clock that all processes of a machine share.
    """
    first, count = int(os.environ.get("BENCH_FIRST", "0")), int(sys.argv[-1])
    send(letters(first, 1))
    batch = letters(first + 1, count)
    _wait_at_the_gate()
    began = time.monotonic()
    send(batch)
    seconds = time.monotonic() - began
    print(json.dumps({"seconds": seconds, "count": count, "queued": count + 1, "began": began}))


def _wait_at_the_gate() -> None:
    if "BENCH_GATE" not in os.environ:
        return
    gate = Path(os.environ["BENCH_GATE"])
    (gate / f"ready-{os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while not (gate / "go").exists():
        if time.monotonic() > deadline:
            sys.exit("the gate was not opened within 60 s")
        time.sleep(0.001)
