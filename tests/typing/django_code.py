"""Code of Django applications; see ``user_code``. Never run."""

from datetime import UTC, datetime
from typing import assert_type

from django.core.mail import EmailMessage

from mailer import AsyncMailer, Job, Mailer, Page, Receipt
from mailer.contrib.django import EmailBackend, MailerMessage, get_mailer


def sending() -> None:
    """A message asks for its delivery, and tells of its job."""
    message = MailerMessage(
        "Your order", "Thanks!", "Shop <shop@example.com>", ["ann@example.org"], headers={"X": "1"}
    )
    message.attach_alternative("<p>Thanks!</p>", "text/html")
    message.mailer = {"tags": ["order"], "scheduled_at": datetime.now(UTC)}
    assert_type(message.send(), int)
    assert_type(message.job_id, str | None)
    assert_type(message.receipt, Receipt | None)
    if message.job_id:
        assert_type(get_mailer().get(message.job_id), Job)
    assert_type(get_mailer("bulk"), Mailer)
    message.job_id = 42  # type: ignore[assignment]


def backends(messages: list[EmailMessage]) -> None:
    """A backend may be made, and derived from."""

    class Loud(EmailBackend):
        pass

    with Loud(fail_silently=True, priority="low") as backend:
        assert_type(backend.send_messages(messages), int)
        assert_type(backend.mailer, Mailer)


async def listing() -> None:
    """Jobs by recipient and tag, page by page."""
    page = get_mailer().page("sent", recipient="@example.org", tag="order", limit=20)
    assert_type(page, Page)
    assert_type(page.jobs, list[Job])
    assert_type(page.older, str | None)
    get_mailer().page(older_than=page.older)
    assert_type(get_mailer().list(recipient="ann@example.org", tag="order"), list[Job])
    async with AsyncMailer() as mailer:
        assert_type(await mailer.list(tag="order"), list[Job])
        assert_type(await mailer.page(recipient="ann@example.org"), Page)
