"""Tests as users write them with the test kit; see ``user_code``. Never run."""

import re
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, assert_type

from mailer import Email, Job, Mailer
from mailer.testing import (
    LiveWorker,
    Outbox,
    OutboxMixin,
    Received,
    SentAttachment,
    SentEmail,
    SmtpServerThread,
    containing,
    greylist,
    outbox,
)

EMAIL = Email(from_email="shop@example.com", to="jm@example.org")


def with_an_outbox(mailer_outbox: Outbox) -> None:
    """What there is of each email, and how one is found."""
    email = mailer_outbox.one(
        to="jm@example.org",
        cc=["ann@example.org", "ben@example.org"],
        subject=re.compile("order"),
        text=containing("Thanks"),
        headers={"X-Order": "42", "X-Shop": re.compile("example")},
        tags="order",
        attachments="invoice.pdf",
    )
    assert_type(email, SentEmail)
    assert_type(email.to, tuple[str, ...])
    assert_type(email.recipients, tuple[str, ...])
    assert_type(email.envelope_sender, str)
    assert_type(email.subject, str)
    assert_type(email.text, str | None)
    assert_type(email.headers, Mapping[str, str])
    assert_type(email.attachments, tuple[SentAttachment, ...])
    assert_type(email.attachments[0].content, bytes)
    assert_type(email.metadata, Mapping[str, Any])
    assert_type(email.message, EmailMessage)
    assert_type(email.raw, bytes)
    assert_type(mailer_outbox.matching(to="jm@example.org"), list[SentEmail])
    assert_type(mailer_outbox[0], SentEmail)
    mailer_outbox.none(recipients=re.compile("@example.com$"))
    mailer_outbox.one(topic="order")  # type: ignore[call-arg]
    mailer_outbox.send_scheduled()
    with outbox() as box:
        assert_type(box, Outbox)


class WithUnittest(OutboxMixin):
    """A test case."""

    def test_an_email(self) -> None:
        """Its outbox."""
        assert_type(self.outbox, Outbox)


def with_a_worker(mailer_worker: LiveWorker, smtp_server: SmtpServerThread) -> None:
    """A worker, and a server alone."""
    mailer_worker.smtp.faults = [greylist("jm@")]
    assert_type(mailer_worker.mailer, Mailer)
    assert_type(mailer_worker.wait(mailer_worker.mailer.enqueue(EMAIL)), Job)
    assert_type(mailer_worker.smtp.received, list[Received])
    assert_type(mailer_worker.settings, dict[str, str])
    assert_type(smtp_server.wait_for(1), list[Received])
