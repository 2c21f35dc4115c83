"""A Flask application with Flask-Mail's calls, as users write it; see user_code.py."""

from typing import assert_type

from flask import Flask, current_app

from mailer import Email, Mailer, Receipt
from mailer.contrib.flask import (
    AppMail,
    Attachment,
    BadHeaderError,
    Connection,
    Mail,
    Message,
    email_dispatched,
)

mail = Mail()


def create_app() -> Flask:
    """Make one of several."""
    app = Flask(__name__)
    assert_type(mail.init_app(app), AppMail)
    assert_type(Mail(app).state, AppMail | None)
    return app


def sending() -> None:
    """All that a `Message` can have, and all ways to send it."""
    message = Message(
        "Your order ✓",
        recipients=["ann@example.org", ("Jörg", "jm@example.org")],
        body="…",
        html="<p>…</p>",
        sender=("Shop", "shop@example.com"),
        cc=["cleo@example.org"],
        bcc=[],
        attachments=[Attachment("a.csv", "text/csv", "a,b")],
        reply_to="help@example.com",
        date=0.0,
        charset="utf-8",
        extra_headers={"X-Order": "42"},
        mail_options=["RET=HDRS"],
        rcpt_options=["NOTIFY=FAILURE"],
    )
    message.add_recipient("bob@example.org")
    message.attach("logo.png", "image/png", b"", "inline", {"Content-ID": "<logo>"})
    try:
        assert_type(mail.send(message), Receipt | None)
    except BadHeaderError as error:
        assert_type(error.field, str)
    assert_type(mail.send_message("Hi", recipients=["ann@example.org"]), Receipt | None)
    with mail.connect() as connection:
        assert_type(connection, Connection)
        assert_type(connection.send(message, "bounces@example.com"), Receipt | None)
    assert_type(message.receipt, Receipt | None)
    assert_type(message.as_bytes(), bytes)
    assert_type(mail.mailer, Mailer)
    mail.mailer.enqueue(Email(from_email="shop@example.com", to="ann@example.org"))


def testing() -> None:
    """What tests look at."""
    with mail.record_messages() as outbox:
        sending()
    assert_type(outbox, list[Message])
    assert_type(outbox[0].subject, str)

    @email_dispatched.connect
    def hear(app: Flask, message: Message) -> None:
        current_app.logger.info(message.subject)

    Message("Hi", recipients="ann@example.org")  # type: ignore[arg-type]  # a list is meant
