"""Bulk mail: one letter to a list of people, through real workers, and as a person types it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from email import message_from_bytes, policy

import pytest
from pages import ROOT, snippets

from mailer import Attachment, JobState
from mailer.templates import Letter
from mailer.testing import eventually, greylist, refuse

PEOPLE = 250


@pytest.fixture
def run(system, tmp_path):
    def run(
        *words: str, stdin: str = "", program: tuple[str, ...] = ("-m", "mailer.cli")
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *program, *words],
            input=stdin,
            env={**os.environ, **system.settings},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def people(number):
    return [{"to": f"ann{i}@example.org", "name": f"Ann {i}"} for i in range(number)]


def letter(**fields) -> Letter:
    usual = {"from_email": "News <news@example.com>", "subject": "News for {{ name }}"}
    return Letter(
        **usual | {"text": "Dear {{ name }},\n", "html": "<p>Dear {{ name }}</p>"} | fields
    )


def has_ended(system, name):
    def ended():
        batch = system.mailer.batch(name)
        return batch.ended == batch.jobs == batch.rows and batch

    return eventually(ended, 30)


def test_everybody_on_the_list_gets_their_own_email(system, smtp):
    """Though a worker is killed in the midst of it, and the call is made twice."""
    pdf = Attachment.from_bytes(b"%PDF" * 100_000, filename="news.pdf")
    smtp.faults += [greylist("ann7@"), refuse("ann8@")]
    made = letter(
        attachments=[pdf],
        list_unsubscribe=["https://example.com/u/{{ name | urlencode }}"],
        one_click_unsubscribe=True,
    )
    with system.worker("w1") as worker:
        system.mailer.enqueue_batch("news", made, people(PEOPLE))
        smtp.wait_for(20)
        worker.kill()
    again = system.mailer.enqueue_batch("news", made, people(PEOPLE))
    assert (again.created, again.known) == (0, PEOPLE)
    with system.worker("w2"):
        batch = has_ended(system, "news")
    assert batch.counts[JobState.SENT] == PEOPLE - 1
    assert batch.counts[JobState.FAILED] == 1
    arrived = {m.recipients[0]: m.data for m in smtp.received}
    assert arrived.keys() == {row["to"] for row in people(PEOPLE)} - {"ann8@example.org"}
    for i in (0, 7, PEOPLE - 1):
        message = message_from_bytes(arrived[f"ann{i}@example.org"], policy=policy.default)
        assert message["Subject"] == f"News for Ann {i}"
        assert message["List-Unsubscribe"] == f"<https://example.com/u/Ann%20{i}>"
        assert message.get_body(["plain"]).get_content().split() == ["Dear", "Ann", f"{i},"]
        (attached,) = message.iter_attachments()
        assert attached.get_content() == b"%PDF" * 100_000


def test_a_worker_without_jinja_leaves_batches_to_others(system, tmp_path):
    """And does its other work."""
    (tmp_path / "jinja2.py").write_text("raise ImportError('there is no Jinja2 here')\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    receipt = system.mailer.enqueue_batch("news", letter(), people(1))
    with system.worker("w1", PYTHONPATH=path) as lacking:
        assert system.ended(system.enqueue()).state is JobState.SENT
        held = eventually(lambda: system.mailer.get(receipt.job_id(0)).held)
        assert "pip install 'celery-mailer[templates]'" in held
        assert system.mailer.get(receipt.job_id(0)).state is JobState.QUEUED
        lacking.stop()
    system.mailer.retry(receipt.job_id(0))
    with system.worker("w2"):
        assert system.ended(receipt.job_id(0)).state is JobState.SENT


def test_the_page_on_bulk_mail_does_what_it_says(system, run, tmp_path):
    snippet, mistakes = (s.text for s in snippets("python") if s.page == "docs/bulk.md")
    (commands,) = (s.text for s in snippets("console") if s.page == "docs/bulk.md")
    (tmp_path / "people.csv").write_text("to,name,url\nann@example.org,Ann,https://example.com/\n")
    shutil.copytree(ROOT / "examples/templates", tmp_path / "emails")
    said = run("-c", snippet, program=()).stdout
    assert said.startswith("1000 enqueued, 0 were before\nAnn 0, our news of December\n0 of 1000")
    assert run("-c", snippet, program=()).stdout.startswith("0 enqueued, 1000 were before")
    (promised,) = re.findall(r"^print.*# (.*)$", mistakes, re.MULTILINE)
    assert run("-c", mistakes, program=()).stdout == f"{promised}\n"
    with system.worker():
        for line in re.findall(r"^\$ mailer (.*)$", commands, re.MULTILINE):
            done = run(*shlex.split(line))
            assert done.returncode == 0, done.stderr
    assert system.mailer.batch("welcome-1").counts[JobState.SENT] == 1


class TestCommand:
    LINES = "email;name\nann@example.org;Ann\nbob@example.org;Bob\n"
    SEND = ("send", "--from", "news@example.com", "--csv", "people.csv")
    LETTER = ("--subject", "Hi {{ name }}", "--text", "Dear {{ name }}")

    def test_a_list_is_sent_once_however_often_the_command_is_run(
        self, system, smtp, run, tmp_path
    ):
        (tmp_path / "people.csv").write_text(self.LINES)
        with system.worker():
            first = run(*self.SEND, *self.LETTER, "--wait")
        assert first.returncode == 0, first.stderr
        assert "2 enqueued; see: mailer batch" in first.stdout
        again = run(*self.SEND, *self.LETTER)
        assert again.stdout.startswith("0 enqueued, 2 were before;")
        subjects = {
            m.recipients[0]: re.search(rb"Subject: (.*)\r", m.data)[1] for m in smtp.received
        }
        assert subjects == {"ann@example.org": b"Hi Ann", "bob@example.org": b"Hi Bob"}

    def test_where_a_row_is_bad_nobody_gets_it_and_the_lines_are_named(self, system, run, tmp_path):
        bad = 'nobody;Nobody\n"c@example.org";"two\nlines"\nd@example.org\n'
        (tmp_path / "people.csv").write_text(self.LINES + bad)
        done = run(*self.SEND, *self.LETTER)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "line 4: to: 'nobody' has no @; an address looks like local@domain",
            "line 5: letter/subject.txt:1: a value has the control character '\\n' in it",
            "line 7: has a value; line 1 names 2 columns",
            "error: 3 bad rows; nothing was sent; --skip-bad-rows sends to the others",
        ]
        assert sum(system.mailer.counts().values()) == 0
        done = run(*self.SEND, *self.LETTER, "--skip-bad-rows", "--json", "--batch", "news")
        assert json.loads(done.stdout)["created"] == 2
        assert system.mailer.batch("news").counts[JobState.QUEUED] == 2
        done = run(*self.SEND, *self.LETTER, "--skip-bad-rows", "--batch", "news")
        assert done.stdout == "0 enqueued, 2 were before, 3 bad; see: mailer batch news\n"
        assert "send mended rows as a list of their own" in done.stderr

    def test_a_dry_run_sends_nothing(self, system, run, tmp_path):
        (tmp_path / "people.csv").write_text(self.LINES)
        done = run(*self.SEND, *self.LETTER, "--dry-run")
        assert done.stdout == "2 rows, 2 of them good; nothing was sent\n"
        assert sum(system.mailer.counts().values()) == 0

    def test_the_letter_can_be_a_template(self, system, run, tmp_path):
        (tmp_path / "people.csv").write_bytes("\ufeffto,name\r\nann@example.org,Änn\r\n".encode())
        folder = tmp_path / "emails" / "welcome"
        folder.mkdir(parents=True)
        (folder / "subject.txt").write_text("Welcome {{ name }}\n")
        (folder / "body.txt").write_text("Hello {{ name }}, you are {{ to }}\n")
        done = run(*self.SEND, "--template", "welcome", "--batch", "news")
        assert done.returncode == 0, done.stderr
        (job,) = system.mailer.list()
        assert job.subject == "Welcome Änn"
        assert b"you are ann@example.org" in system.mailer.message(job.id)

    def test_a_batch_is_looked_at_and_canceled(self, system, run):
        system.mailer.enqueue_batch("news", letter(), people(3))
        assert re.search(r"queued +3\n", run("batch", "news").stdout)
        done = run("batch", "news", "--cancel", "--json")
        assert json.loads(done.stdout)["counts"]["canceled"] == 3
        assert run("batch", "nosuch").stderr == (
            "error: no batch is recorded under the name 'nosuch'\n"
        )

    @pytest.mark.parametrize(
        ("content", "words", "message"),
        [
            (b"name\nAnn\n", (), "names no column to or email; it has name."),
            (b"", (), "names no column to or email; it has none."),
            (b"to,to\n", (), "names 'to' twice"),
            (b"to\na@example.org\n\xff@example.org\n", (), "line 3: is not UTF-8"),
            (b'to\n"a@example.org\n', (), "line 2: is no CSV"),
            (LINES.encode(), ("--to", "a@example.org"), "are for one email"),
            (LINES.encode(), ("--template", "nosuch"), "there is no folder"),
        ],
    )
    def test_a_mistake_is_one_sentence(self, system, run, tmp_path, content, words, message):
        (tmp_path / "people.csv").write_bytes(content)
        done = run(*self.SEND, *words, stdin="Hi" if not words else "")
        assert done.returncode in {1, 2}
        assert message in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
        assert sum(system.mailer.counts().values()) == 0
