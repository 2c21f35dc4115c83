"""The web application of the README, as it stands, with a worker and Flower beside it."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailer import JobState
from mailer.testing import eventually, greylist
from mailer.testing.ports import free_port
from mailer.testing.processes import FlowerProcess, Process

ROOT = Path(__file__).parents[2]


class FlaskProcess(Process):
    """``flask run``, on a free port."""

    def __init__(self, app: Path, settings: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["flask", "--app", str(app.with_suffix("")), "run", "-p", str(self.port)], settings, log
        )

    def _ready(self) -> bool:
        return self.running and b"Running on" in self.log.read_bytes()


def ask(url: str, **form: str) -> tuple[int, dict]:
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        with urllib.request.urlopen(url, data, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def shop(system) -> Iterator[str]:
    app = FlaskProcess(ROOT / "examples/flask_app.py", system.settings, system.folder / "flask.log")
    with app:
        yield app.url


def test_a_request_to_the_flask_application_becomes_a_message(system, smtp, shop):
    with system.worker():
        status, answer = ask(f"{shop}/orders", email="Jörg <jm@example.org>")
        assert status == 202
        (message,) = smtp.wait_for(1)
        assert message.recipients == ("jm@example.org",)
        assert b"Thanks!" in message.data
        eventually(lambda: ask(f"{shop}/emails/{answer['email']}") == (200, {"state": "sent"}))


def test_the_flask_application_answers_a_bad_address_with_the_reason(system, shop):
    status, answer = ask(f"{shop}/orders", email="jm@@example.org\r\nBcc: all@example.org")
    assert status == 400
    assert "to" in answer["error"]
    assert sum(system.mailer.counts().values()) == 0


def test_flower_shows_the_retry_of_an_email_from_the_flask_application(system, smtp, shop):
    """One row, of the job's id: RETRY, how often, when next, and the relay's reply."""
    smtp.faults.append(greylist("grey@", times=None))
    settings = {**system.settings, "FLOWER_UNAUTHENTICATED_API": "true"}
    flower = FlowerProcess(settings, system.folder / "flower.log")
    with flower, system.worker(MAILER_RETRY_DELAYS="600"):
        # Flower shows what it hears, and it takes a moment until it listens
        eventually(lambda: ask(f"{flower.url}/api/workers?refresh=1")[1])
        _, answer = ask(f"{shop}/orders", email="grey@example.org")
        job_id = answer["email"]
        row = eventually(lambda: _row(flower.url, job_id, "RETRY"))
        rows = _rows(flower.url)
        job = system.mailer.get(job_id)
    assert job.state is JobState.DEFERRED
    assert row["name"] == "mailer.email"
    assert row["retries"] == 1
    assert row["exception"] == "450 4.7.1 Greylisted, try again"
    assert row["eta"] == job.next_attempt_at.isoformat(timespec="seconds")
    assert list(rows) == [job_id], "carrier tasks are not shown"
    shown = json.dumps(row)
    assert "Thanks!" not in shown
    assert "grey@" not in shown


def _rows(url: str) -> dict:
    return ask(f"{url}/api/tasks")[1]


def _row(url: str, job_id: str, state: str) -> dict | None:
    row = _rows(url).get(job_id)
    return row if row and row["state"] == state else None
