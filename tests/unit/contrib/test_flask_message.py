"""Flask-Mail's `Message`: what is sent of it."""

import pickle
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from flask import Flask

from mailer import InvalidEmail
from mailer.contrib.flask import Attachment, BadHeaderError, Mail, Message

ANN = "ann@example.org"


@pytest.fixture(autouse=True)
def app():
    app = Flask("shop")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="shop@example.com")
    Mail(app)
    with app.app_context():
        yield app


def sent(*args, **fields) -> EmailMessage:
    message = Message(*args, **({"recipients": [ANN]} | fields))
    return message_from_bytes(message.as_bytes(), policy=default)


def error_of(**fields) -> InvalidEmail:
    with pytest.raises(InvalidEmail) as caught:
        Message(**({"recipients": [ANN]} | fields)).as_bytes()
    return caught.value


def attached(*args, **fields) -> EmailMessage:
    message = Message("Hi", [ANN], "Hi", **fields)
    message.attach(*args)
    (part,) = message_from_bytes(message.as_bytes(), policy=default).iter_attachments()
    return part


def kinds(part) -> object:
    kind = part.get_content_type()
    return {kind: [kinds(child) for child in part.iter_parts()]} if part.is_multipart() else kind


def test_the_arguments_are_in_the_order_of_flask_mail():
    message = Message(
        *("Hi", [ANN], "text", "<p>html", [("calendar", "BEGIN")], "me@example.com", ["c@x.org"]),
        *(["b@x.org"], [], "r@x.org", 0, "latin-1", {"X-A": "1"}, ["RET=FULL"], ["NOTIFY=NEVER"]),
    )
    assert (message.subject, message.recipients, message.body) == ("Hi", [ANN], "text")
    assert message.alts == {"html": "<p>html", "calendar": "BEGIN"}
    assert (message.sender, message.cc, message.bcc) == ("me@example.com", ["c@x.org"], ["b@x.org"])
    assert (message.attachments, message.reply_to, message.date) == ([], "r@x.org", 0)
    assert (message.charset, message.extra_headers) == ("latin-1", {"X-A": "1"})
    assert (message.mail_options, message.rcpt_options) == (["RET=FULL"], ["NOTIFY=NEVER"])
    assert message.send_to == {ANN, "c@x.org", "b@x.org"}


def test_every_header_is_written_and_bcc_is_not():
    message = sent(
        "Grüße ✓",
        recipients=[("Jörg Müller", "jm@bücher.example"), "Ann <ann@example.org>"],
        sender=("Shop", "me@example.com"),
        cc=["cleo@example.org"],
        bcc=["secret@example.org"],
        reply_to="help@example.com",
        extra_headers={"X-Order": "42", "In-Reply-To": "<1@example.org>"},
    )
    assert message["Subject"] == "Grüße ✓"
    assert message["From"] == "Shop <me@example.com>"
    jm, ann = message["To"].addresses
    assert (jm.display_name, jm.addr_spec) == ("Jörg Müller", "jm@xn--bcher-kva.example")
    assert ann.addr_spec == ANN
    assert (message["Cc"], message["Reply-To"]) == ("cleo@example.org", "help@example.com")
    assert (message["X-Order"], message["In-Reply-To"]) == ("42", "<1@example.org>")
    assert b"secret" not in bytes(message)
    assert message["Date"]


def test_the_default_sender_may_be_a_pair(app):
    app.extensions["mail"].default_sender = ("Shop", "shop@example.com")
    assert Message("Hi").sender == "Shop <shop@example.com>"
    assert sent("Hi")["From"] == "Shop <shop@example.com>"


@pytest.mark.parametrize("name", ["Müller (Berlin)", 'Ann "Pen" Lee', "Lee, Ann"])
def test_a_senders_name_may_have_special_characters(name):
    (sender,) = sent("Hi", sender=(name, "me@example.com"))["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (name, "me@example.com")


def test_a_sender_that_is_given_needs_no_application():
    assert Message("Hi", sender="me@example.com").sender == "me@example.com"


def test_the_bodies_are_alternatives():
    assert kinds(sent(body="Hi")) == "text/plain"
    assert kinds(sent(html="<p>Hi")) == "text/html"
    assert kinds(sent(body="Hi", html="<p>Hi")) == {
        "multipart/alternative": ["text/plain", "text/html"]
    }
    message = Message(html="<p>Hi")
    message.html = None
    assert message.alts == {}


class LazyText:
    """As flask-babel makes them."""

    def __str__(self):
        return "später übersetzt"


def test_a_lazy_translation_is_made_when_it_is_sent():
    message = sent(LazyText(), body=LazyText())
    assert message["Subject"] == "später übersetzt"
    assert message.get_content().strip() == "später übersetzt"


# Attachments


def test_an_attachment_has_name_and_type():
    part = attached("größe.csv", "text/csv", "größe\nXL\n")
    assert part.get_filename() == "größe.csv"
    assert part.get_content_type() == "text/csv"
    assert part.get_payload(decode=True) == "größe\nXL\n".encode()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("a.pdf", None, b"%PDF"), "application/pdf"),
        (("a", None, b"?"), "application/octet-stream"),
        (("a", None, "?"), "text/plain"),
    ],
)
def test_the_type_of_an_attachment_is_guessed(arguments, kind):
    assert attached(*arguments).get_content_type() == kind


def test_only_the_base_name_of_a_path_is_shown():
    assert attached("/srv/invoices/42.pdf", None, b"%PDF").get_filename() == "42.pdf"


def test_names_of_attachments_are_ascii_where_that_is_asked_for(app):
    app.extensions["mail"].ascii_attachments = True
    assert attached("ünïcödé  ←→ ✓.txt", None, b"").get_filename() == "unicode .txt"
    assert attached("✓", None, b"").get_filename() == "attachment"


def test_an_image_with_a_content_id_is_part_of_the_html():
    message = Message("Hi", [ANN], html='<img src="cid:logo">')
    message.attach("logo.png", "image/png", b"\x89PNG", "inline", {"Content-ID": "<logo>"})
    wire = message_from_bytes(message.as_bytes(), policy=default)
    assert kinds(wire) == {"multipart/related": ["text/html", "image/png"]}
    image = wire.get_payload(1)
    assert (image["Content-ID"], image.get_content_disposition()) == ("<logo>", "inline")


def test_an_attachment_needs_content():
    with pytest.raises(ValueError, match="data"):
        Attachment("a.txt", "text/plain")


# What only MIME can say


def test_a_date_is_written_as_given():
    message = sent("Hi", body="Grüße", date=1_700_000_000, bcc=["secret@example.org"], cc=[ANN])
    assert message["Date"].datetime.timestamp() == 1_700_000_000
    assert message.get_content().strip() == "Grüße"
    assert message["Message-ID"]
    assert "secret" not in str(message)


def test_a_charset_is_used():
    message = sent("Grüße", body="Grüße", charset="iso-8859-1")
    assert message.get_content_charset() == "iso-8859-1"
    assert message.get_payload(decode=True) == "Grüße\r\n".encode("latin-1")
    assert message["Subject"] == "Grüße"


def test_other_alternatives_are_written_in_their_order():
    message = sent(body="Hi", html="<p>Hi", alts={"calendar": "BEGIN:VCALENDAR", "markdown": "#"})
    assert kinds(message) == {
        "multipart/alternative": ["text/plain", "text/calendar", "text/markdown", "text/html"]
    }


def test_a_part_has_headers_of_its_own():
    part = attached("a.txt", "text/plain", b"Hi", "inline", {"X-Pages": "2"})
    assert (part["X-Pages"], part.get_content_disposition()) == ("2", "inline")
    assert (part.get_filename(), part.get_payload(decode=True)) == ("a.txt", b"Hi")
    assert attached("größe.txt", None, b"", None, {"X-A": "1"}).get_filename() == "größe.txt"


def test_an_attachment_without_a_name_is_sent():
    message = Message("Hi", [ANN], "Hi", attachments=[Attachment(None, "text/csv", b"a,b")])
    wire = message_from_bytes(message.as_bytes(), policy=default)
    assert kinds(wire) == {"multipart/mixed": ["text/plain", "text/csv"]}


# Delivery reports


def test_esmtp_options_that_concern_reports_become_fields(app):
    from mailer.contrib.flask.conversion import email_of

    message = Message(
        recipients=[ANN],
        mail_options=["BODY=8BITMIME", "smtputf8", "RET=HDRS"],
        rcpt_options=["NOTIFY=SUCCESS,DELAY"],
    )
    email = email_of(message, envelope_from="bounces@example.com")
    assert (email.dsn_return, email.dsn_notify) == ("headers", ("success", "delay"))
    assert str(email.envelope_sender) == "bounces@example.com"


# Mistakes


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"subject": "Hi\r\nBcc: all@example.org"}, "subject"),
        ({"subject": "Hi\nthere"}, "subject"),
        ({"subject": "Hi\r\n \r\n"}, "subject"),
        ({"subject": "\r\n Hi"}, "subject"),
        ({"sender": "me@example.com\r\n"}, "sender"),
        ({"sender": ("Me\n", "me@example.com")}, "sender"),
        ({"reply_to": "me@example.com\r"}, "reply_to"),
        ({"recipients": [ANN, "b@x.org\r\n"]}, "recipients[1]"),
        ({"recipients": [("Ann\n", ANN)]}, "recipients[0]"),
        ({"cc": ["b@x.org\n"]}, "cc[0]"),
        ({"bcc": ["b@x.org\n"]}, "bcc[0]"),
        ({"extra_headers": {"X-A": "1\r\nBcc: b@x.org"}}, "extra_headers['X-A']"),
    ],
)
def test_a_line_end_in_a_header_is_a_bad_header(fields, field):
    assert Message(**({"recipients": [ANN]} | fields)).has_bad_headers()
    error = error_of(**fields)
    assert isinstance(error, BadHeaderError)
    assert error.field == field


def test_a_folded_subject_is_joined():
    assert not Message("A long\r\n subject").has_bad_headers()
    assert sent("A long\r\n subject")["Subject"] == "A long subject"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"recipients": []}, "recipients"),
        ({"recipients": ANN}, "recipients"),
        ({"recipients": [ANN, "nobody"]}, "recipients[1]"),
        ({"recipients": [("Ann", "nobody")]}, "recipients[0]"),
        ({"sender": "nobody"}, "sender"),
        ({"body": b"Hi"}, "body"),
        ({"extra_headers": {"Date": "today"}}, "extra_headers['Date']"),
        ({"mail_options": ["HOLDFOR=60"]}, "mail_options"),
        ({"rcpt_options": ["ORCPT=rfc822;a@x.org"]}, "rcpt_options"),
        ({"rcpt_options": ["NOTIFY=SOON"]}, "rcpt_options"),
        ({"date": "today"}, "message"),
        ({"charset": "klingon", "body": "Hi"}, "message"),
        ({"charset": "ascii", "body": "✓"}, "message"),
        ({"date": 0, "recipients": ["jörg@example.org"]}, "message"),
    ],
)
def test_a_mistake_is_named_as_it_was_written(fields, field):
    assert error_of(**fields).field == field


def test_a_missing_sender_says_which_setting_would_do(app):
    app.extensions["mail"].default_sender = None
    assert "MAIL_DEFAULT_SENDER" in str(error_of())


def test_a_message_can_be_passed_to_another_process():
    message = pickle.loads(pickle.dumps(Message("Hi", [ANN], "Hi")))
    assert "Hi" in str(message)
    assert bytes(message)
    assert ANN not in repr(message)
