"""What every peer is given to send, and how its enqueueing is timed.

Runs in the peers' environments, so it needs nothing but Python. ``BENCH_MESSAGE`` names a JSON
file with ``from``, ``to``, ``subject``, ``text``, ``html`` (may be empty) and ``attachment`` (its
size in bytes, 0 for none). In ``to`` and ``subject``, ``{i}`` stands for the number of the letter.
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
    """Write that many letters; each has an attachment of its own, as invoices are."""
    message = json.loads(Path(os.environ["BENCH_MESSAGE"]).read_text(encoding="utf-8"))
    size = message.get("attachment", 0)
    content = random.Random(0).randbytes(size)
    return [
        Letter(
            sender=message["from"],
            to=message["to"].format(i=i),
            subject=message["subject"].format(i=i),
            text=message["text"],
            html=message.get("html", ""),
            attachment=(b"%08d" % i + content)[:size],
        )
        for i in range(first, first + count)
    ]


def run(send: Callable[[list[Letter]], object]) -> None:
    """Send one letter to warm up, then as many as the last argument says; print what those took."""
    count = int(sys.argv[-1])
    send(letters(0, 1))
    batch = letters(1, count)
    begin = time.perf_counter()
    send(batch)
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "count": count, "queued": count + 1}))
