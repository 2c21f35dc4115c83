"""User code of bulk mail, for the type checker: it is never run."""

from collections.abc import Iterator
from typing import Any, assert_type

from mailer import AsyncMailer, Batch, BatchReceipt, InvalidEmail, JobState, Mailer
from mailer.templates import Letter, Templates


def people() -> Iterator[dict[str, str]]:
    yield {"to": "ann@example.org", "name": "Ann"}


def note(row: int, mistake: InvalidEmail) -> None:
    assert_type(mistake.field, str)
    assert_type(row, int)


def news(mailer: Mailer, rows: list[dict[str, Any]]) -> None:
    letter = Letter(subject="Hi {{ name }}", text="…", from_email="news@example.com", tags=["news"])
    receipt = mailer.enqueue_batch("news", letter, people(), on_mistake=note)
    assert_type(receipt, BatchReceipt)
    assert_type(receipt.job_id(0), str)
    mailer.enqueue_batch("news", letter, rows, dry_run=True, durable=True)
    batch = mailer.batch("news")
    assert_type(batch, Batch)
    assert_type(batch.counts[JobState.SENT], int)
    assert_type(batch.ended, int)
    assert_type(mailer.cancel_batch("news"), int)


async def news_from_a_folder(mailer: AsyncMailer) -> None:
    letter = Letter(Templates().load("news", locale="de"), from_email="news@example.com")
    assert_type(await mailer.enqueue_batch("news", letter, people()), BatchReceipt)
    assert_type(await mailer.batch("news"), Batch)
