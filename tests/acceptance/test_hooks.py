"""Hooks and events as docs/hooks.md has them: real workers, and processes of an application."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from email import message_from_bytes

import pytest
from pages import snippets

from mailer import Email, JobState, Vetoed
from mailer.testing import eventually, greylist, lose_reply, refuse
from mailer.testing.processes import Process

PAGE = "docs/hooks.md"
STATES = "queued,sent,partially_sent,deferred,failed"
MORE_HOOKS = """
import os
from mailer import Outgoing

def pre_send(outgoing: Outgoing):
    if "fault" in outgoing.tags and not os.path.exists("mended"):
        raise KeyError(outgoing.text)
"""


def snippet(kind: str, words: str) -> str:
    (found,) = [s.text for s in snippets(kind) if s.page == PAGE and words in s.text]
    return found


def environment(system, folder, **settings: str) -> dict[str, str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**system.settings, "PYTHONPATH": path, **settings}


@pytest.fixture
def hooked(system, tmp_path, monkeypatch):
    """A system whose producers and worker have the hooks of the page, and another one."""
    (tmp_path / "mail_hooks.py").write_text(snippet("python", "mail_hooks.py"))
    (tmp_path / "more_hooks.py").write_text(MORE_HOOKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mail_hooks", raising=False)
    names = "mail_hooks,more_hooks"
    with (
        system.producer(hooks=names) as mailer,
        system.worker(**environment(system, tmp_path, MAILER_HOOKS=names)) as worker,
    ):
        yield mailer, worker


def test_emails_go_through_the_hooks_of_the_page(system, smtp, hooked, tmp_path):
    mailer, worker = hooked
    with pytest.raises(Vetoed, match="the account that it is for"):
        mailer.enqueue(system.email())

    changed = mailer.enqueue(system.email(metadata={"account": 7})).id
    assert system.ended(changed).state is JobState.SENT
    (received,) = smtp.received
    message = message_from_bytes(received.data)
    assert received.sender == "bounces+7@example.com"
    assert message["X-Account"] == "7"
    assert message.get_payload(decode=True) == b"Hi\r\n\r\n-- \r\nAccount 7\r\n"
    assert mailer.get(changed).tags == ("account-7",)

    built = b"From: shop@example.com\nTo: ann@example.org\nSubject: Hi\n\nHi\n"
    whole = mailer.enqueue(Email.from_message(built, metadata={"account": 7})).id
    assert system.ended(whole).state is JobState.SENT
    assert smtp.received[1].data.startswith(b"Date: ")
    assert b"\r\nX-Account: 7\r\n" in smtp.received[1].data

    vetoed = mailer.enqueue(system.email("veto@example.org", metadata={"account": 42})).id
    job = system.ended(vetoed)
    assert job.state is JobState.FAILED
    assert [a.reply for a in job.attempts] == ["vetoed: the account is closed"]
    assert job.recipients[0].reply == "vetoed: the account is closed"
    assert not any("veto@example.org" in m.recipients for m in smtp.received)

    # a fault of a hook defers an email until it is mended
    text = "canary-text\n"
    faulty = system.email("fault@example.org", text=text, tags=["fault"], metadata={"account": 7})
    fault = mailer.enqueue(faulty).id
    eventually(lambda: mailer.get(fault).attempts)
    attempt = mailer.get(fault).attempts[0]
    place = f"{tmp_path / 'more_hooks.py'}, line 7"
    assert attempt.reply == f"the hook more_hooks.pre_send raised KeyError ({place})"
    assert attempt.rule == "not ready"
    (tmp_path / "mended").touch()
    assert system.ended(fault).state is JobState.SENT
    log = worker.log.read_text()
    assert place in log
    assert "canary" not in log


def test_a_copy_that_is_sent_twice_is_the_same_with_its_hooks(system, smtp, hooked):
    mailer, _ = hooked
    smtp.faults.append(lose_reply("ann@"))
    job_id = mailer.enqueue(system.email(metadata={"account": 7})).id
    assert system.ended(job_id).state is JobState.SENT
    one, other = smtp.received
    assert one.data == other.data
    assert b"X-Account: 7" in one.data


def test_a_worker_does_not_start_with_hooks_that_can_not_be_imported(system):
    worker = system.worker(MAILER_HOOKS="nosuchmodule").start()
    eventually(lambda: not worker.running, timeout=30)
    assert "MAILER_HOOKS: can't import nosuchmodule: ModuleNotFoundError" in worker.log.read_text()


# Events


def events_are_recorded(system) -> bool:
    import redis

    with redis.Redis.from_url(system.redis.url) as raw:
        return bool(raw.exists(f"{{{system.settings['MAILER_KEY_PREFIX']}}}:events:on"))


def test_the_application_of_the_page_learns_who_was_not_reached(
    system, smtp, tmp_path, monkeypatch
):
    smtp.faults.append(refuse("nobody@"))
    (tmp_path / "orders.py").write_text(snippet("python", "orders.py"))
    monkeypatch.chdir(tmp_path)
    own = environment(system, tmp_path)
    reader = Process(["flask", "--app", "orders", "follow-mail"], own, tmp_path / "reader.log")

    def unreached() -> dict[str, str]:
        with closing(sqlite3.connect(tmp_path / "orders.db")) as db:
            if not db.execute("SELECT * FROM sqlite_master").fetchall():
                return {}  # the reader has not made its table yet
            return dict(db.execute("SELECT * FROM unreached"))

    with system.worker(MAILER_EVENTS=STATES):
        eventually(lambda: events_are_recorded(system))
        system.enqueue(metadata={"order": 1})
        system.ended(system.enqueue("nobody@example.org", metadata={"order": 2}))
        with reader:
            eventually(lambda: len(unreached()) == 1)
            system.enqueue(["nobody@example.org", "ann@example.org"], metadata={"order": 3})
            eventually(lambda: len(unreached()) == 2)
    assert unreached().keys() == {"2", "3"}
    assert all(reason.startswith("550") for reason in unreached().values())
    ask = "import orders; print(orders.app.test_client().get('/orders/2').json['unreached'])"
    environ = {**os.environ, **own}
    answer = subprocess.run(
        [sys.executable, "-c", ask], env=environ, capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("550")


def test_readers_of_the_page_and_the_command_tell_what_happens(system, tmp_path):
    environ = {**os.environ, **system.settings}

    def printed(*words: str, ends: bool) -> list[str]:
        """Run a program, and enqueue emails until it has printed what it waits for."""
        command = [sys.executable, "-W", "error", *words]
        with (tmp_path / "out").open("w+") as out:
            process = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
            try:
                while process.poll() is None:
                    text = (tmp_path / "out").read_text()
                    if not ends and text.endswith("\n"):
                        break
                    system.ended(system.enqueue())
            finally:
                process.kill()
                process.wait()
            text = (tmp_path / "out").read_text()
            assert process.returncode == (0 if ends else -9), text
        return text.splitlines()

    with system.worker(MAILER_EVENTS=STATES):
        eventually(lambda: events_are_recorded(system))
        system.ended(first := system.enqueue())
        program = snippet("python", "asyncio.run(main())")
        *lines, last = printed("-c", program, ends=True)
        assert [line.split()[2:] for line in lines[:2]] == [
            [first, "queued", "0"],
            [first, "sent", "1"],
        ]
        assert last.endswith("was sent")

        kept, new = re.findall(r"^mailer (.*?) *#", snippet("sh", "mailer events"), re.MULTILINE)
        assert printed("-m", "mailer.cli", *kept.split(), ends=True) == []
        line, *_ = printed("-m", "mailer.cli", *new.split(), ends=False)
        assert json.loads(line).keys() == {"id", "job_id", "state", "at", "tries"}
        every = printed("-m", "mailer.cli", "events", ends=True)
        assert every[0].split()[2:5] == [first, "queued", "0"]


# each line is written at once, so that a kill tears none
READER = """
import os
from mailer import Mailer

for event in Mailer().events(group="app"):
    os.write(1, f"{event.job_id} {event.state}\\n".encode())
"""


def test_no_event_is_missed_though_workers_and_readers_are_killed(system, smtp, tmp_path):
    (tmp_path / "reader.py").write_text(READER)
    smtp.faults.append(greylist("grey"))
    reader = Process(["reader"], environment(system, tmp_path), tmp_path / "reader.log")

    def told() -> list[tuple[str, str]]:
        return [tuple(line.split()) for line in reader.log.read_text().splitlines()]

    workers = [
        system.worker(f"w{i}", MAILER_EVENTS=STATES, MAILER_CONNECTIONS="1") for i in range(3)
    ]
    with workers[0]:
        eventually(lambda: events_are_recorded(system))
        emails = [
            system.email(f"{'grey' if i % 10 == 0 else 'ann'}{i}@example.org") for i in range(300)
        ]
        ids = [receipt.id for receipt in system.mailer.enqueue_many(emails)]
        for i, worker in enumerate(workers[1:]):
            reader.start()
            eventually(lambda i=i: len(smtp.received) >= 60 * (i + 1))
            workers[i].kill()
            eventually(lambda: reader.log.read_text().count("\n") > 50)
            reader.kill()
            worker.start()
        reader.start()
        assert {system.ended(job_id, 60).state for job_id in ids} == {JobState.SENT}
    # the stream has each change once, and what a reader had when it was killed comes again
    stream = [(e.job_id, str(e.state)) for e in system.mailer.events(follow=False)]
    for state in ("queued", "sent"):
        assert sorted(job for job, its in stream if its == state) == sorted(ids)
    eventually(lambda: set(told()) == set(stream))
    reader.kill()
