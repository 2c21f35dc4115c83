"""The outbox: the calls of every mailer end in it, and nowhere else."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from mailer import (
    AsyncMailer,
    Attachment,
    Email,
    IdempotencyConflict,
    InvalidEmail,
    JobState,
    Mailer,
    RecipientState,
    StoreUnavailable,
    WrongState,
    load_settings,
)
from mailer.contrib.flask import Mail, Message
from mailer.templates import Letter
from mailer.testing import OutboxMixin, containing, outbox

NOWHERE = "redis://127.0.0.1:1/0"
mailer = Mailer(NOWHERE)  # as applications make it: when they are imported
async_mailer = AsyncMailer(NOWHERE)
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def box():
    with outbox() as box:
        yield box


def email(to="ann@example.org", **fields):
    return Email(**{"from_email": "shop@example.com", "to": to, "subject": "Hi", **fields})


def test_an_email_is_there_as_it_would_be_sent(box):
    receipt = mailer.enqueue(
        email(
            "Jörg Müller <jm@example.org>",
            from_email="Shop <shop@example.com>",
            cc="books@example.com",
            bcc="archive@example.com",
            subject="Your order ✓",
            text="Thanks!\n\nBye",
            html='<p>Thanks! <img src="cid:logo"></p>',
            headers={"X-Order": "42"},
            attachments=[
                Attachment.from_bytes(b"%PDF", filename="a.pdf"),
                Attachment.from_bytes(b"\x89PNG", filename="logo.png", content_id="logo"),
            ],
            envelope_sender="bounces@example.com",
            tags=["order"],
            metadata={"order": 42},
        )
    )
    (sent,) = box
    assert (sent.from_email, sent.envelope_sender) == ("shop@example.com", "bounces@example.com")
    assert (sent.to, sent.cc, sent.bcc) == (
        ("jm@example.org",),
        ("books@example.com",),
        ("archive@example.com",),
    )
    assert sent.recipients == sent.to + sent.cc + sent.bcc
    assert sent.subject == "Your order ✓"
    assert sent.text == "Thanks!\n\nBye"
    assert sent.html == '<p>Thanks! <img src="cid:logo"></p>'
    assert sent.headers["X-Order"] == "42"
    assert sent.headers["To"] == "Jörg Müller <jm@example.org>"
    assert sent.message["Message-ID"] == receipt.message_id
    assert [(a.filename, a.content_type, a.content, a.content_id) for a in sent.attachments] == [
        ("logo.png", "image/png", b"\x89PNG", "logo"),
        ("a.pdf", "application/pdf", b"%PDF", None),
    ]
    assert (sent.tags, sent.metadata, sent.job_id) == (("order",), {"order": 42}, receipt.id)
    assert sent.tree == (
        "multipart/mixed\n"
        "├── multipart/alternative\n"
        "│   ├── text/plain\n"
        "│   └── multipart/related\n"
        "│       ├── text/html\n"
        "│       └── image/png inline\n"
        "└── application/pdf attachment"
    )


def test_a_bcc_is_in_no_header(box):
    mailer.enqueue(email(bcc="archive@example.com"))
    assert b"archive@" not in box[0].raw
    assert "archive@example.com" in box[0].recipients


def test_the_emails_of_one_call_stand_in_their_order(box):
    priorities = ["low", "high", "normal"]
    mailer.enqueue_many(email(subject=str(i), priority=priorities[i % 3]) for i in range(250))
    assert [sent.subject for sent in box] == [str(i) for i in range(250)]


def test_the_calls_of_a_mailer_tell_what_they_tell_of_emails_that_were_sent(box):
    receipt = mailer.enqueue(email())
    job = mailer.wait(receipt.id, timeout=0)
    assert job == mailer.get(receipt.id) == mailer.list()[0]
    assert [recipient.state for recipient in job.recipients] == [RecipientState.ACCEPTED]
    assert mailer.counts()[JobState.SENT] == 1
    assert mailer.cancel(receipt.id) is False
    with pytest.raises(WrongState):
        mailer.retry(receipt.id)


async def test_an_async_mailer_made_before_any_loop_ends_in_it_too(box):
    receipt = await async_mailer.enqueue(email())
    await async_mailer.enqueue_many(email() for _ in range(250))
    assert (await async_mailer.wait(receipt.id, timeout=0)).state is JobState.SENT
    assert len(box) == 251


def test_an_async_mailer_serves_one_loop_after_another(box):
    for _ in range(2):
        asyncio.run(async_mailer.enqueue(email()))
    assert len(box) == 2


def test_what_production_refuses_is_refused(box, tmp_path):
    with pytest.raises(InvalidEmail, match="does not exist"):
        mailer.enqueue(email(attachments=[Attachment.from_path(tmp_path / "a.pdf")]))
    with pytest.raises(InvalidEmail, match="expires_at"):
        mailer.enqueue(email(expires_at=datetime.now(UTC) - timedelta(days=1)))
    mailer.enqueue(email(idempotency_key="42"))
    assert mailer.enqueue(email(idempotency_key="42")).created is False
    with pytest.raises(IdempotencyConflict):
        mailer.enqueue(email(idempotency_key="42", subject="Another"))
    assert len(box) == 1


def test_of_an_iterable_with_a_mistake_those_before_it_are_there(box):
    with pytest.raises(InvalidEmail) as error:
        mailer.enqueue_many([email(), email(), "no email"])
    assert len(box) == len(error.value.receipts) == 2


def test_of_an_iterable_that_breaks_off_what_is_recorded_is_there(box):
    def emails():
        yield from (email() for _ in range(100))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mailer.enqueue_many(emails())
    assert len(box) == mailer.counts()[JobState.SENT] == 100


def test_the_emails_of_a_batch_are_filled_in_and_stand_in_their_order(box):
    letter = Letter(from_email="shop@example.com", subject="Hi {{ name }}", text="Hi!")
    people = [{"to": f"p{i}@example.org", "name": f"P{i}"} for i in range(150)]
    mailer.enqueue_batch("news", letter, people)
    assert [sent.to for sent in box] == [(person["to"],) for person in people]
    assert box.one(subject="Hi P42").to == ("p42@example.org",)
    assert mailer.batch("news").ended == 150


def test_who_is_suppressed_gets_nothing(box):
    mailer.suppress("ann@example.org")
    mailer.enqueue(email())
    receipt = mailer.enqueue(email(["ann@example.org", "ben@example.org"]))
    assert box.one().recipients == ("ben@example.org",)
    assert mailer.get(receipt.id).state is JobState.PARTIALLY_SENT


def test_what_is_scheduled_waits_until_its_time_comes(box):
    receipt = mailer.enqueue(email(scheduled_at=LATER))
    canceled = mailer.enqueue(email(scheduled_at=LATER))
    assert mailer.cancel(canceled.id)
    assert box == []
    assert mailer.get(receipt.id).state is JobState.SCHEDULED
    box.send_scheduled()
    assert box.one().job_id == receipt.id


def test_who_waits_for_a_scheduled_email_sees_it_sent(box):
    receipt = mailer.enqueue(email(scheduled_at=datetime.now(UTC) + timedelta(seconds=0.1)))
    assert mailer.get(receipt.id).state is JobState.SCHEDULED
    assert mailer.wait(receipt.id).state is JobState.SENT
    assert len(box) == 1


def test_an_attachment_that_a_worker_would_fetch_contains_its_url(box):
    settings = load_settings(attachment_hosts=("files.example.com",))
    url = "https://files.example.com/terms.pdf"
    Mailer(settings=settings).enqueue(email(attachments=[Attachment.from_url(url)]))
    (attachment,) = box[0].attachments
    assert (attachment.filename, attachment.content) == ("terms.pdf", url.encode())


def test_a_file_that_has_changed_fails_as_it_would(box, tmp_path):
    file = tmp_path / "a.pdf"
    file.write_bytes(b"1")
    mailer = Mailer(settings=load_settings(attachment_roots=(tmp_path,)))
    attached = email(attachments=[Attachment.from_path(file)], scheduled_at=LATER)
    receipt = mailer.enqueue(attached)
    file.write_bytes(b"2")
    box.send_scheduled()
    assert box == []
    job = mailer.get(receipt.id)
    assert job.state is JobState.FAILED
    assert "has changed" in job.attempts[0].reply


def test_a_durable_email_needs_no_durable_server(box):
    mailer.enqueue(email(), durable=True)
    Mailer(settings=load_settings(durable=True, durable_replicas=2)).enqueue(email())
    assert len(box) == 2


def test_an_outbox_is_empty_at_first_and_diverts_no_longer_than_it_is_open():
    with outbox() as first:
        mailer.enqueue(email(idempotency_key="42"))
        with outbox() as second:
            assert mailer.enqueue(email(idempotency_key="42")).created
        assert mailer.counts()[JobState.SENT] == 1
    assert (len(first), len(second)) == (1, 1)
    with outbox() as third:
        assert mailer.counts()[JobState.SENT] == 0
    assert third == []
    with pytest.raises(StoreUnavailable):
        mailer.counts()


def test_what_an_extension_of_a_framework_enqueues_is_there(box):
    app = Flask(__name__)
    app.config |= {"TESTING": True, "MAIL_SUPPRESS_SEND": False}
    mail = Mail(app)
    with app.app_context():
        mail.send(Message("Hi", sender="shop@example.com", recipients=["ann@example.org"]))
    box.one(subject="Hi", to="ann@example.org")


class TestWithUnittest(OutboxMixin):
    def test_each_test_has_an_outbox(self):
        mailer.enqueue(email())
        self.outbox.one(to="ann@example.org")

    def test_of_its_own(self):
        self.outbox.none()


# What fits


@pytest.fixture
def two(box):
    mailer.enqueue(email("Ann <ann@example.org>", subject="Your oder", text="Hi\nthere\nAnn"))
    mailer.enqueue(
        email(
            ["ben@example.org", "carl@example.org"],
            subject="Your order",
            text="Hi",
            headers={"X-Order": "42"},
            tags=["order", "shop"],
            attachments=[Attachment.from_bytes(b"%PDF", filename="a.pdf")],
        )
    )
    return box


@pytest.mark.parametrize(
    "criteria",
    [
        {"to": "ben@example.org"},
        {"to": ["carl@example.org", "ben@example.org"]},
        {"to": re.compile("^ben@")},
        {"recipients": "carl@example.org", "from_email": "shop@example.com"},
        {"subject": "Your order"},
        {"subject": re.compile("or.er$")},
        {"text": "Hi"},
        {"text": "Hi\n"},
        {"headers": {"X-Order": "42", "Subject": containing("order")}},
        {"tags": "shop"},
        {"attachments": re.compile("pdf$")},
        {"attachments": containing("a.")},
    ],
    ids=repr,
)
def test_an_email_is_found_by(two, criteria):
    assert two.one(**criteria) is two[1]
    with pytest.raises(AssertionError):
        two.none(**criteria)


@pytest.mark.parametrize(
    "criteria",
    [
        {"to": "ben@example.com"},
        {"to": ["ben@example.org"]},
        {"subject": "order"},
        {"subject": "Your order", "to": "ann@example.org"},
        {"headers": {"X-Order": "43"}},
        {"headers": {"X-Other": "42"}},
        {"html": containing("Hi")},
        {"attachments": []},
    ],
    ids=repr,
)
def test_an_email_is_not_found_by(two, criteria):
    assert [sent for sent in two.matching(**criteria) if sent is two[1]] == []


def test_a_failure_shows_in_what_each_email_differs(two):
    wanted = "to='ann@example.org', subject='Your order', text='Hi\\nhere\\nAnn'"
    with pytest.raises(AssertionError) as error:
        two.one(to="ann@example.org", subject="Your order", text="Hi\nhere\nAnn")
    assert str(error.value).splitlines() == [
        f"no email has {wanted}; of 2 that were sent",
        "1. 'Your oder' to ann@example.org",
        "   subject: expected 'Your order'",
        "                sent 'Your oder'",
        "   text: (- expected, + sent)",
        "       Hi",
        "     - here",
        "     + there",
        "     ? +",
        "       Ann",
        "2. 'Your order' to ben@example.org, carl@example.org",
        "   to: expected 'ann@example.org'",
        "           sent 'ben@example.org', 'carl@example.org'",
        "   text: (- expected, + sent)",
        "       Hi",
        "     - here",
        "     - Ann",
    ]


def test_a_failure_shows_which_emails_there_should_not_be(two):
    with pytest.raises(AssertionError, match="2 emails have anything, and only one should:"):
        two.one()
    with pytest.raises(AssertionError) as error:
        two.none(tags="shop")
    assert str(error.value).splitlines() == [
        "an email has tags='shop', and none should:",
        "1. 'Your order' to ben@example.org, carl@example.org",
    ]


def test_a_failure_says_that_nothing_was_sent(box):
    with pytest.raises(AssertionError, match="no email has subject='Hi'; and nothing was sent"):
        box.one(subject="Hi")


def test_a_criterion_that_there_is_not_is_a_mistake_of_the_test(two):
    with pytest.raises(TypeError, match="an email has no topic to look for, but to, cc"):
        two.none(topic="Hi")
