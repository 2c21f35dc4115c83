"""The emails of the demo, and how each should end."""

from datetime import UTC, datetime, timedelta

import attrs

from mailer.attachment import Attachment
from mailer.email import Email
from mailer.job import JobState
from mailer.retry import RetryPolicy

_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
_SOON = RetryPolicy(delays=(2.0,), jitter=0.0)  # the default would wait a minute


@attrs.frozen
class Scene:
    """One email of the demo, and how it should end.

    Attributes:
        attempts: how many it should use up; those that failed by a fault of a relay don't count.
        copies: how many messages of it the SMTP server should accept.
    """

    title: str
    email: Email
    ends: JobState = JobState.SENT
    attempts: int = 1
    copies: int = 1
    canceled: bool = False


def scenes() -> list[Scene]:
    """Write a handful of realistic emails."""
    shop, now = "Shop <shop@example.com>", datetime.now(UTC)
    return [
        Scene(
            "plain text",
            Email(from_email=shop, to="ann@example.org", subject="Welcome", text="Hello Ann,\n"),
        ),
        Scene(
            "HTML and text, not ASCII",
            Email(
                from_email=shop,
                to="Jörg Müller <joerg@bücher.example>",
                subject="Ihre Bestellung ✓",
                text="Schöne Grüße!\n",
                html="<p>Schöne <b>Grüße</b>!</p>",
            ),
        ),
        Scene(
            "an attachment, an inline image",
            Email(
                from_email=shop,
                to="ann@example.org",
                subject="Your invoice",
                text="The invoice is attached.\n",
                html='<p><img src="cid:logo" alt=""> The invoice is attached.</p>',
                attachments=[
                    Attachment.from_bytes(b"item,price\npen,2\n", filename="invoice.csv"),
                    Attachment.from_bytes(_PIXEL, filename="logo.png", content_id="logo"),
                ],
            ),
        ),
        Scene(
            "three recipients: one waits, one is unknown",
            Email(
                from_email=shop,
                to=["bob@example.org", "grey@example.org"],
                cc=["nobody@example.org"],
                subject="Minutes of our meeting",
                text="As promised.\n",
                retry=_SOON,
            ),
            ends=JobState.PARTIALLY_SENT,
            attempts=2,
            copies=2,
        ),
        Scene(
            "an unknown recipient",
            Email(from_email=shop, to="nobody@example.org", subject="Anybody?", text="…\n"),
            ends=JobState.FAILED,
            copies=0,
        ),
        Scene(
            "the server hangs up",
            Email(from_email=shop, to="phone@example.org", subject="Hello?", text="…\n"),
        ),
        Scene(
            "its first relay is down, another takes over",
            Email(
                from_email=shop,
                to="ann@example.org",
                subject="Our news",
                text="All is well.\n",
                tags=["news"],
            ),
        ),
        Scene(
            "its only relay is down for a while, and paused",
            Email(
                from_email=shop,
                to="desk@partner.example",
                subject="Stock levels",
                text="See you at ten.\n",
            ),
        ),
        Scene(
            "scheduled in 3 s",
            Email(
                from_email=shop,
                to="ann@example.org",
                subject="Your reminder",
                text="It is time.\n",
                scheduled_at=now + timedelta(seconds=3),
            ),
        ),
        Scene(
            "scheduled for tomorrow, then canceled",
            Email(
                from_email=shop,
                to="ann@example.org",
                subject="Too late",
                text="Never sent.\n",
                scheduled_at=now + timedelta(days=1),
            ),
            ends=JobState.CANCELED,
            attempts=0,
            copies=0,
            canceled=True,
        ),
        Scene(
            "enqueued twice with one idempotency key",
            Email(
                from_email=shop,
                to="ann@example.org",
                subject="Order 42 confirmed",
                text="Thank you.\n",
                idempotency_key="order-42-confirmation",
            ),
        ),
    ]
