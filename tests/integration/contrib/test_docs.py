"""docs/flask.md, docs/fastapi.md and docs/transactions.md: snippets run, tables are complete."""

import inspect
import json
import re
from pathlib import Path

import pytest
from pages import named, rows, run_as_application, snippets, table

from mailer import Mailer, load_settings
from mailer.contrib.flask import Message
from mailer.contrib.flask.config import without_effect

HERE = Path(__file__).relative_to(Path(__file__).parents[3])
OURS = {str(s): s.text for s in snippets("python") if s.note == f"run by {HERE}"}
CRASHED = """
with db:  # as if the loop had ended between enqueue and the mark
    db.execute("UPDATE outbox SET done = 0")
    post(db, from_email="shop@example.com", to="bob@example.org")
    db.execute("INSERT INTO outbox (email) VALUES ('{}')")
with Mailer() as mailer:
    assert relay(db, mailer) == 3
    assert relay(db, mailer) == 0
print(json.dumps(db.execute("SELECT error FROM outbox WHERE error IS NOT NULL").fetchall()))
"""


@pytest.fixture
def run(redis_server, key_prefix, tmp_path):
    settings = {"MAILER_REDIS_URL": redis_server.url, "MAILER_KEY_PREFIX": key_prefix}

    return lambda code: run_as_application(code, settings, tmp_path)


@pytest.fixture
def mailer(redis_server, key_prefix):
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    with Mailer(settings=settings) as mailer:
        yield mailer


def snippet(words: str) -> str:
    (found,) = [text for text in OURS.values() if words in text]
    return found


@pytest.mark.parametrize("name", OURS)
def test_a_snippet_runs_and_enqueues_at_most_one_email(name, run, mailer):
    run(OURS[name])
    enqueues = "lifespan=" not in OURS[name] and "TESTING=True" not in OURS[name]
    assert sum(mailer.counts().values()) == enqueues


def test_an_outbox_that_is_interrupted_enqueues_each_email_once(run, mailer):
    said = run(snippet("def relay_for_ever") + CRASHED)
    assert sorted(job.recipients[0].address for job in mailer.list()) == [
        "ann@example.org",
        "bob@example.org",
    ]
    assert json.loads(said) == [["from_email: is missing"]], (
        "a row that can't be sent holds up none"
    )


def test_the_settings_of_flask_mail_are_in_the_table():
    lines = rows(table("docs/flask.md", "settings"))
    settings = {name: "without effect" in line[1] for line in lines for name in named(line[0])}
    assert len(settings) == 11, "as many as Flask-Mail has"
    said = " ".join(without_effect(dict.fromkeys(settings, "given")))
    without = {name for name, is_without in settings.items() if is_without}
    assert set(re.findall(r"\bMAIL_\w+", said)) == without


def test_every_argument_of_a_message_is_in_the_table():
    documented = table("docs/flask.md", "arguments")
    arguments = inspect.signature(Message).parameters
    assert [name for name in arguments if f"`{name}`" not in documented] == []
