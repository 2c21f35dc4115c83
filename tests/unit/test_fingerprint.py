"""What is the same email to an idempotency key, and what is another one."""

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

import attrs
import pytest

from mailer import Attachment, Email, RetryPolicy, load_settings
from mailer.enqueueing import new_job

SOON = datetime.now(UTC) + timedelta(hours=1)
# every field of `Email` is in one of these two tables
ANOTHER_EMAIL = {
    "from_email": "help@example.com",
    "to": "bob@example.org",
    "cc": "bob@example.org",
    "bcc": "bob@example.org",
    "reply_to": "help@example.com",
    "sender": "help@example.com",
    "subject": "Another",
    "text": "Another",
    "html": "<p>Another",
    "text_from_html": True,
    "amp": "<!doctype html><html ⚡4email>",
    "calendar": "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n",
    "in_reply_to": "<1@example.org>",
    "references": ["<1@example.org>"],
    "list_unsubscribe": ["https://example.com/u"],
    "one_click_unsubscribe": True,
    "auto_submitted": "auto-generated",
    "importance": "high",
    "headers": {"X-Order": "42"},
    "attachments": [Attachment.from_bytes(b"1", filename="a.bin")],
    "envelope_sender": "bounces@example.com",
    "tags": ["order"],
    "relay": "bulk",
    "delivery": "at-most-once",
    "dsn_notify": ["failure"],
    "dsn_return": "headers",
    "prepared": None,  # see below
}
THE_SAME = {
    "priority": "high",
    "scheduled_at": SOON,
    "expires_at": SOON,
    "metadata": {"request": 7},
    "supersede_key": "k",
    "retry": RetryPolicy(max_attempts=2),
    "idempotency_key": "k",
}
NEEDED = {
    "text_from_html": {"text": None, "html": "<p>Hi"},
    "one_click_unsubscribe": {"list_unsubscribe": ["https://example.com/u"]},
}


def fingerprint(**fields) -> str:
    fields = {"from_email": "a@example.com", "to": "ann@example.org", "text": "Hi"} | fields
    return new_job(Email(**{"idempotency_key": "k"} | fields), load_settings()).fingerprint


def test_both_tables_together_have_every_field():
    known = {field.name for field in attrs.fields(Email)}
    assert ANOTHER_EMAIL.keys() | THE_SAME.keys() == known
    assert not ANOTHER_EMAIL.keys() & THE_SAME.keys()


@pytest.mark.parametrize("field", [field for field in ANOTHER_EMAIL if field != "prepared"])
def test_what_recipients_see_and_the_way_it_comes_make_another_email(field):
    others = NEEDED.get(field, {})
    assert fingerprint(**others, **{field: ANOTHER_EMAIL[field]}) != fingerprint(**others)


@pytest.mark.parametrize("field", sorted(THE_SAME))
def test_when_it_is_sent_and_notes_on_it_do_not(field):
    assert fingerprint(**{field: THE_SAME[field]}) == fingerprint()


def test_only_the_set_of_tags_counts():
    assert fingerprint(tags=["a", "b"]) == fingerprint(tags=["b", "a"])


def built(subject: str = "Hi", html: str = "<p>Hi") -> EmailMessage:
    """Build a message as programs do, each time with another date, id and boundary."""
    message = EmailMessage()
    message["From"], message["To"] = "a@example.com", "ann@example.org"
    message["Subject"], message["Message-ID"] = subject, make_msgid(domain="example.com")
    message["Date"] = format_datetime(datetime.now(UTC) + timedelta(seconds=id(message) % 999))
    message.set_content("Hi\n")
    message.add_alternative(html, subtype="html")
    return message


def of(message: EmailMessage | bytes) -> str:
    email = Email.from_message(message, idempotency_key="k")
    return new_job(email, load_settings()).fingerprint


def test_a_message_that_is_built_anew_is_the_same_email():
    first, again = built(), built()
    assert first.as_bytes() != again.as_bytes()
    assert of(first) == of(again)


def test_one_that_is_built_otherwise_is_another():
    assert len({of(built()), of(built("Another")), of(built(html="<p>Another"))}) == 3


def test_one_without_an_id_of_its_own_is_the_same_email_again():
    plain = b"From: a@example.com\nTo: ann@example.org\nSubject: Hi\n\nHi\n"
    assert of(plain) == of(plain)
    assert of(plain) != of(plain.replace(b"\n\nHi", b"\n\nHo"))
