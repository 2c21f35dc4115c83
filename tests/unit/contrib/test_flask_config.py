"""What the settings of a Flask application mean."""

import logging

import pytest
from flask import Flask

from mailer import InvalidSetting
from mailer.contrib.flask import Mail
from mailer.contrib.flask.config import relay_url
from workers.relays.relay import Relay, Tls


@pytest.mark.parametrize(
    ("config", "url"),
    [
        ({}, "smtp://127.0.0.1:25?starttls=opportunistic"),
        ({"MAIL_SERVER": "smtp.x.org"}, "smtp://smtp.x.org:25?starttls=opportunistic"),
        ({"MAIL_SERVER": "::1", "MAIL_PORT": 2525}, "smtp://[::1]:2525?starttls=opportunistic"),
        (
            {"MAIL_SERVER": "smtp.x.org", "MAIL_PORT": "587", "MAIL_USE_TLS": True},
            "smtp://smtp.x.org:587?starttls=required",
        ),
        (
            {"MAIL_SERVER": "smtp.x.org", "MAIL_USERNAME": "shop", "MAIL_PASSWORD": "secret"},
            "smtp://USER:PASSWORD@smtp.x.org:25?starttls=required",
        ),
        (
            {"MAIL_SERVER": "smtp.x.org", "MAIL_PORT": 465, "MAIL_USE_SSL": True},
            "smtps://smtp.x.org:465",
        ),
    ],
)
def test_the_settings_of_flask_mail_are_written_as_the_url_of_a_relay(config, url):
    assert relay_url(config) == url
    relay = Relay.parse(url)
    relay.check("MAILER_RELAY_URL")
    assert relay.tls is not Tls.OFF


def test_what_workers_decide_is_named_once_and_no_secret_with_it(caplog):
    app = Flask("shop")
    app.config.update(
        MAIL_SERVER="smtp.x.org",
        MAIL_USE_TLS=False,
        MAIL_USERNAME="shop@x.org",
        MAIL_PASSWORD="s3cret",
        MAIL_MAX_EMAILS=10,
        MAIL_DEBUG=True,
    )
    with caplog.at_level(logging.WARNING):
        Mail(app)
    relay, most, debug = [record.getMessage() for record in caplog.records]
    assert relay.startswith("MAIL_SERVER, MAIL_USERNAME, MAIL_PASSWORD: without effect")
    assert "MAILER_RELAY_URL=smtp://USER:PASSWORD@smtp.x.org:25?starttls=required" in relay
    assert "messages_per_connection" in most
    assert "MAILER_LOG_LEVEL=DEBUG" in debug
    assert "s3cret" not in caplog.text
    assert "shop@x.org" not in caplog.text


def test_an_application_that_has_taken_them_out_hears_nothing(caplog):
    app = Flask("shop")
    app.config.update(MAIL_DEFAULT_SENDER="shop@example.com", MAIL_SUPPRESS_SEND=False)
    Mail(app)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("config", "suppressed"),
    [
        ({}, False),
        ({"TESTING": True}, True),
        ({"TESTING": True, "MAIL_SUPPRESS_SEND": False}, False),
        ({"MAIL_SUPPRESS_SEND": True}, True),
    ],
)
def test_nothing_leaves_a_test_unless_it_is_asked_to(config, suppressed):
    app = Flask("shop")
    app.config.update(config)
    assert Mail(app).state.suppress is suppressed


@pytest.mark.parametrize(
    ("setting", "value"), [("MAILER_DURABLE", "perhaps"), ("MAILER_REDIS", "redis://x")]
)
def test_a_wrong_setting_of_the_mailer_is_named(setting, value):
    app = Flask("shop")
    app.config[setting] = value
    with pytest.raises(InvalidSetting, match=setting):
        Mail(app)
