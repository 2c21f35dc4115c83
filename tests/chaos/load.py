"""A producer that goes on enqueueing, whatever happens, and knows what was acknowledged."""

import threading
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Self
from uuid import uuid4

import attrs

from chaos.ledger import Entry
from mailer import Attachment, Email, Mailer, Receipt, StoreUnavailable

MOST = 400  # emails of one load
_PACE = 0.012  # seconds between calls
_AGAIN = 0.05  # seconds after a call that failed
_SHOP = "Shop <shop@example.com>"


class Load:
    """Enqueues in a thread of its own: ``with Load(mailer, chance) as load``.

    Every email has an idempotency key, and a call that fails is repeated until it is acknowledged,
    as a web app's retried request would. So, in the end, each is promised exactly once.

    Attributes:
        entries: what was acknowledged.
    """

    def __init__(self, mailer: Mailer, chance: Random) -> None:
        self.entries: list[Entry] = []
        self._mailer = mailer
        self._chance = chance
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the acknowledgement of what it is enqueueing, and make an end."""
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            for call in _calls(self._chance):
                self.acknowledge(call)
                if self._over.wait(_PACE) or len(self.entries) >= MOST:
                    return
        except Exception as error:  # noqa: BLE001 - raised where the load ends
            self._error = error

    def acknowledge(self, emails: Sequence[Email]) -> None:
        """Enqueue until that is acknowledged."""
        deadline = time.monotonic() + 90
        while True:
            try:
                receipts = self._mailer.enqueue_many(emails)
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN)
            else:
                self.entries += map(entry, emails, receipts)
                return


def entry(email: Email, receipt: Receipt) -> Entry:
    """Note what was promised."""
    return Entry(
        receipt.id,
        receipt.message_id,
        tuple(address.email for address in email.to),
        at_most_once=email.delivery == "at-most-once",
        poison="poison" in email.tags,
    )


def email(**fields: object) -> Email:
    """Write one for a single recipient."""
    given = {"from_email": _SHOP, "to": "ann@example.org", "subject": "Hi", "text": "Hi\n"}
    return Email(**{**given, "idempotency_key": uuid4().hex, **fields})  # type: ignore[arg-type]


def _calls(chance: Random) -> Iterator[list[Email]]:
    """Make calls of one to ten emails, of several kinds."""
    plain = email()
    several = ["ann@example.org", "ben@example.org", "carl@example.net"]
    attached = [Attachment.from_bytes(b"a,b\n" * 500, filename="a.csv")]
    kinds = [{}, {}, {}, {"to": several}, {"attachments": attached}, {"priority": "high"}]
    while True:
        yield [
            attrs.evolve(
                plain,
                idempotency_key=uuid4().hex,
                delivery=chance.choice(["at-least-once", "at-most-once"]),
                **chance.choice(kinds),
            )
            for _ in range(chance.choice([1, 1, 2, 10]))
        ]
