"""`Mail` where nothing leaves: what an application's own tests see."""

import pytest
from flask import Flask

from mailer import InvalidEmail
from mailer.contrib.flask import BadHeaderError, Mail, Message, email_dispatched

ANN = "ann@example.org"


def app_under_test(**config) -> Flask:
    app = Flask("shop")
    nowhere = "redis://nowhere.invalid"
    app.config.update(
        TESTING=True, MAIL_DEFAULT_SENDER="shop@example.com", MAILER_REDIS_URL=nowhere
    )
    app.config.update(config)
    return app


@pytest.fixture
def mail():
    app = app_under_test()
    mail = Mail(app)
    with app.app_context():
        yield mail


def test_messages_are_recorded_and_none_leaves(mail):
    with mail.record_messages() as outbox:
        assert mail.send(Message("One", [ANN])) is None
        assert mail.send_message("Two", recipients=[ANN]) is None
        with mail.connect() as connection:
            connection.send(Message("Three", [ANN]))
            connection.send_message("Four", [ANN])
            Message("Five", [ANN]).send(connection)
    mail.send(Message("Six", [ANN]))
    assert [message.subject for message in outbox] == ["One", "Two", "Three", "Four", "Five"]
    assert outbox[0].receipt is None
    assert outbox[0].msgId is None


def test_what_is_no_message_is_refused(mail):
    with pytest.raises(InvalidEmail, match="message: is a Message, not dict"):
        mail.send({"subject": "Hi"})


def test_the_signal_comes_with_the_application_and_the_message(mail):
    heard = []

    def hear(app, message):
        heard.append((app, message))

    message = Message("Hi", [ANN])
    with email_dispatched.connected_to(hear):
        mail.send(message)
    assert heard == [(mail.app, message)]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (lambda: Message("Hi\nthere", [ANN]), BadHeaderError),
        (lambda: Message("Hi", ["nobody"]), InvalidEmail),
        (lambda: Message("Hi", [f"{i}@example.org" for i in range(1001)]), InvalidEmail),
    ],
)
def test_a_mistake_shows_in_tests_as_it_would_in_production(mail, message, error):
    with mail.record_messages() as outbox, pytest.raises(error):
        mail.send(message())
    assert outbox == []


def test_applications_of_a_factory_have_settings_of_their_own():
    mail = Mail()
    first, second = app_under_test(), app_under_test(MAIL_DEFAULT_SENDER="other@example.com")
    for app in (first, second):
        mail.init_app(app)
    with mail.record_messages() as outbox:
        for app in (first, second):
            with app.app_context():
                mail.send(Message("Hi", [ANN]))
    assert [message.sender for message in outbox] == ["shop@example.com", "other@example.com"]
    assert first.extensions["mail"].mailer is not second.extensions["mail"].mailer


def test_the_extension_of_the_current_application_sends_as_well(mail):
    with mail.record_messages() as outbox:
        mail.app.extensions["mail"].send(Message("Hi", [ANN]))
    assert len(outbox) == 1


def test_an_application_without_the_extension_is_told_so():
    with Flask("shop").app_context(), pytest.raises(RuntimeError, match="init_app"):
        Mail().send(Message("Hi", [ANN], sender="me@example.com"))
