"""What is checked against the settings at the moment of enqueueing."""

import pytest

from mailer import Attachment, Email, InvalidEmail, load_settings
from mailer.enqueueing import new_job
from mailer.store.records import encode_head, encode_message

RELAYS = {"main": {"url": "smtp://a.example"}, "bulk": {"url": "smtp://b.example"}}


def an_email(**fields):
    return Email(from_email="a@b.example", to="c@d.example", **fields)


def test_a_relay_that_the_settings_name_is_kept_with_the_job():
    assert new_job(an_email(relay="bulk"), load_settings(relays=RELAYS)).head.relay == "bulk"


def test_one_that_they_do_not_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidEmail, match="there is no relay 'bulky'; there are main, bulk"):
        new_job(an_email(relay="bulky"), load_settings(relays=RELAYS))


def test_a_producer_that_knows_no_relays_leaves_that_to_the_workers():
    assert new_job(an_email(relay="bulky"), load_settings()).head.relay == "bulky"


class Marked(str):
    """A text as template engines make it: safe, they say, to stand in HTML."""

    __slots__ = ()

    def __str__(self):
        return self


def test_texts_that_a_template_engine_has_marked_are_stored_as_plain_ones():
    email = Email(
        from_email=Marked("Shop <a@b.example>"),
        to=[Marked("Ann <c@d.example>")],
        subject=Marked("Hi"),
        text=Marked("Hi"),
        html=Marked("<p>Hi</p>"),
        headers={Marked("X-Order"): Marked("42")},
        tags=[Marked("order")],
        relay=Marked("main"),
        in_reply_to=Marked("<1@b.example>"),
        attachments=[Attachment.from_bytes(b"x", filename=Marked("a.txt"))],
        idempotency_key=Marked("1"),
    )
    job = new_job(email, load_settings())
    assert encode_message(job.message)
    assert encode_head(job.head, job.id)
    assert type(email.html) is type(email.idempotency_key) is str
