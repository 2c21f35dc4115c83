"""The shops under examples/: real processes, a real worker, and what the SMTP server receives."""

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from web import FlaskProcess, UvicornProcess, ask, post_json

from mailer import JobState
from mailer.testing import eventually
from mailer.testing.smtp_state import Received

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def world(shared_system):
    """One worker for all of them."""
    with shared_system.worker():
        yield shared_system


def received_by(world, address: str) -> tuple[Received, EmailMessage]:
    """Wait for the only message to an address."""

    def found() -> list[Received]:
        return [message for message in world.smtp.received if address in message.recipients]

    (received,) = eventually(found)
    return received, message_from_bytes(received.data, policy=default)


# Flask


@pytest.fixture(scope="module")
def flask_shop(world) -> Iterator[str]:
    settings = {
        **world.settings,
        "FLASK_DATABASE_URL": f"sqlite:///{world.folder}/shop.db",
        "FLASK_MAIL_SERVER": "smtp.example.com",
        "FLASK_MAIL_PASSWORD": "s3cret",
    }
    app = FlaskProcess(EXAMPLES / "flask_shop", settings, world.folder / "flask_shop.log")
    with app:
        yield app.url
    said = app.log.read_text()
    assert "MAIL_SERVER, MAIL_PASSWORD: without effect" in said
    assert "s3cret" not in said


def test_a_line_that_was_written_for_flask_mail_sends(world, flask_shop):
    status, answer = ask(
        f"{flask_shop}/questions", email="Jörg <jm@example.org>", question="Blue?", page="/pens"
    )
    assert status == 202
    assert world.ended(answer["email"]).state is JobState.SENT
    received, message = received_by(world, "help@example.com")
    assert received.sender == "shop@example.com"
    assert (message["From"], message["Subject"]) == ("Shop <shop@example.com>", "A question")
    assert message["Reply-To"].addresses[0].display_name == "Jörg"
    assert message.get_body().get_content().strip() == "Blue?"
    (page,) = message.iter_attachments()
    assert (page.get_filename(), page.get_content().strip()) == ("page.txt", "/pens")


def test_a_connection_of_flask_mail_sends_to_everybody(world, flask_shop):
    assert ask(f"{flask_shop}/news", reader=["a@news.example", "b@news.example"])[0] == 202
    for reader in ("a@news.example", "b@news.example"):
        _, message = received_by(world, reader)
        assert message["To"] == reader
        assert "<b>pens</b>" in message.get_content()


@pytest.mark.parametrize("email", ["jm@@example.org", "jm@example.org\r\nBcc: all@example.org"])
def test_the_shop_answers_a_bad_address_with_the_reason(world, flask_shop, email):
    before = sum(world.mailer.counts().values())
    status, answer = ask(f"{flask_shop}/questions", email=email, question="?")
    assert (status, answer["error"].partition(":")[0]) == (400, "reply_to")
    assert sum(world.mailer.counts().values()) == before


def test_an_order_and_its_email_are_both_there_or_neither(world, flask_shop):
    assert ask(f"{flask_shop}/orders", email="none@orders.example", pens="0")[0] == 409
    assert ask(f"{flask_shop}/orders", email="some@orders.example", pens="2")[0] == 201
    _, message = received_by(world, "some@orders.example")
    assert message.get_content().strip() == "Thank you for 2 pens!"
    assert not [m for m in world.smtp.received if "none@orders.example" in m.recipients]


# FastAPI


@pytest.fixture(scope="module")
def fastapi_shop(world) -> Iterator[str]:
    log = world.folder / "fastapi_shop.log"
    with UvicornProcess("fastapi_shop.main:app", EXAMPLES, world.settings, log) as app:
        yield app.url


def test_a_request_to_the_fastapi_shop_becomes_a_message(world, fastapi_shop):
    order = {"email": "Jörg <jm@fastapi.example>", "pens": 2}
    status, answer, _ = post_json(f"{fastapi_shop}/orders", order)
    assert status == 202
    _, message = received_by(world, "jm@fastapi.example")
    assert message.get_content().strip() == "2 pens for 6 €. Thank you!"
    url = f"{fastapi_shop}/emails/{answer['email']}"
    eventually(lambda: ask(url) == (200, {"state": "sent"}))
    assert ask(f"{fastapi_shop}/emails/unknown")[0] == 404


def test_an_order_that_is_repeated_is_confirmed_once(fastapi_shop):
    order = {"email": "again@fastapi.example", "pens": 1}
    answers = [
        post_json(f"{fastapi_shop}/orders", order, Idempotency_Key="order-1")[1] for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_the_fastapi_shop_answers_a_bad_address_with_the_reason(fastapi_shop):
    status, answer, _ = post_json(f"{fastapi_shop}/orders", {"email": "jm@@", "pens": 1})
    assert (status, answer["detail"].partition(":")[0]) == (422, "to")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A Redis that takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


def test_a_redis_that_hangs_holds_up_no_other_requests(world, silent_server, tmp_path):
    settings = {
        **world.settings,
        "MAILER_REDIS_URL": silent_server,
        "MAILER_STORE_TIMEOUT_SECONDS": "1",
    }
    order = {"email": "ann@example.org", "pens": 1}
    answers = []

    def buy() -> None:
        answers.append(post_json(f"{app.url}/orders", order))

    with UvicornProcess("fastapi_shop.main:app", EXAMPLES, settings, tmp_path / "log") as app:
        buyers = [threading.Thread(target=buy) for _ in range(5)]
        for buyer in buyers:
            buyer.start()
        times = []
        while any(buyer.is_alive() for buyer in buyers):
            begun = time.monotonic()
            assert ask(app.url) == (200, {"pens": "blue"})
            times.append(time.monotonic() - begun)
    assert len(times) > 20
    assert statistics.median(times) < 0.1
    for status, answer, headers in answers:
        assert (status, headers["retry-after"]) == (503, "5")
        assert "127.0.0.1" not in answer["detail"]
    assert len(answers) == 5
