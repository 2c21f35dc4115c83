"""Flask-Mail's calls against a real Redis."""

import gc
import os
import subprocess
import sys

import pytest
import redis
from flask import Flask

from mailer import Email, StoreUnavailable
from mailer.contrib.flask import Mail, Message
from mailer.testing import eventually

ANN = "ann@example.org"


@pytest.fixture
def app(redis_server, key_prefix) -> Flask:
    app = Flask("shop")
    app.config.update(
        MAIL_DEFAULT_SENDER="shop@example.com",
        MAILER_REDIS_URL=redis_server.url,
        MAILER_KEY_PREFIX=key_prefix,
    )
    return app


def test_a_message_becomes_a_job_and_knows_its_receipt(app):
    mail = Mail(app)
    with app.app_context():
        message = Message("Hi", [ANN], "Hi", bcc=["archive@example.com"])
        receipt = mail.send(message)
    job = mail.mailer.get(receipt.id)
    assert (job.subject, job.from_email) == ("Hi", "shop@example.com")
    assert [recipient.address for recipient in job.recipients] == [ANN, "archive@example.com"]
    assert message.receipt == receipt
    assert message.msgId == job.message_id


def test_a_connection_sends_each_message_at_once(app):
    mail = Mail(app)
    with app.app_context(), mail.connect() as connection:
        assert mail.mailer.get(connection.send(Message("Hi", [ANN])).id)
        assert mail.mailer.get(connection.send_message("Hi", [ANN]).id)
        assert mail.mailer.get(Message("Hi", [ANN], date=0).send(connection).id)


def test_a_mailers_own_emails_go_through_the_same_mailer(app):
    mail = Mail(app)
    receipt = mail.mailer.enqueue(Email(from_email="shop@example.com", to=ANN, priority="high"))
    assert mail.mailer.get(receipt.id).priority == "high"


def test_what_could_not_be_stored_is_not_said_to_be_dispatched(app):
    app.config["MAILER_REDIS_URL"] = "redis://127.0.0.1:1"
    mail = Mail(app)
    with app.app_context(), mail.record_messages() as outbox, pytest.raises(StoreUnavailable):
        mail.send(Message("Hi", [ANN]))
    assert outbox == []


def test_suppression_can_be_switched(app):
    mail = Mail(app)
    with app.app_context():
        message = Message("Hi", [ANN])
        assert mail.send(message)
        mail.state.suppress = True
        assert mail.send(message) is None
        assert message.receipt is None


def test_connections_are_closed_with_the_application(redis_server, key_prefix):
    def connections() -> int:
        return sum(client["name"] == key_prefix for client in server.client_list())

    def live_and_die():
        app = Flask("shop")
        app.config.update(MAILER_REDIS_URL=f"{redis_server.url}?client_name={key_prefix}")
        Mail(app).mailer.counts()
        assert connections() == 1

    with redis.Redis.from_url(redis_server.url) as server:
        live_and_die()
        gc.collect()
        eventually(lambda: connections() == 0)


PRELOADED = """
import os, sys
from flask import Flask
from mailer.contrib.flask import Mail, Message
from mailer.testing import eventually

app = Flask("shop")
app.config.from_prefixed_env()
mail = Mail(app)

def send():
    with app.app_context():
        receipt = mail.send(Message("Hi", ["ann@example.org"], sender="me@example.com"))
    os.write(1, f"{receipt.id}\\n".encode())

send()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        for _ in range(5):
            send()
        sys.exit()
    children.append(child)
for _ in range(5):
    send()
for child in children:
    assert os.waitpid(child, 0)[1] == 0
send()
"""


def test_an_application_that_is_loaded_before_the_fork_sends_from_each_process(
    redis_server, key_prefix
):
    settings = {"FLASK_MAILER_REDIS_URL": redis_server.url, "FLASK_MAILER_KEY_PREFIX": key_prefix}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELOADED],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 22
