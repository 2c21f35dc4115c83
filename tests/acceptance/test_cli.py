"""The ``mailer`` command, as a person types it."""

import email
import email.policy
import json
import os
import subprocess
import sys
import time

import pytest

from mailer import Attachment, JobState
from mailer.testing import EmbeddedRedis, SmtpServerThread, eventually, greylist, lose_reply, refuse

COMMANDS = [
    *("demo", "worker", "flower", "send", "show", "explain", "list"),
    *("cancel", "retry", "resolve", "reschedule", "stats", "doctor"),
    *("suppress", "unsuppress", "suppressed", "preview", "batch", "events"),
]


@pytest.fixture
def run(system):
    """Run ``mailer`` with the system's settings; the result has its exit code and texts."""

    def run(*words: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mailer.cli", *words],
            input=stdin,
            env={**os.environ, **system.settings, **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def send(run, *words: str, **more) -> str:
    done = run("send", "--from", "me@example.com", "--to", "ann@example.org", *words, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(run, command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"mailer {command}" in done.stdout.partition("Example")[2]


def test_help_is_there_at_once():
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mailer.cli", "--help"], check=True, capture_output=True)
    assert time.perf_counter() - begin < 5, "0.3 s on an idle machine"


def test_send_takes_the_text_from_standard_input_and_files_from_here(run, system, smtp, tmp_path):
    (tmp_path / "page.html").write_text("<p>Hello</p>")
    (tmp_path / "list.csv").write_text("a,b\n")
    files = ["--html-file", str(tmp_path / "page.html"), "--attach", str(tmp_path / "list.csv")]
    job_id = send(run, "--subject", "Hi ✓", "--header", "X-A: b", *files, stdin="Hello\n")
    with system.worker():
        assert system.ended(job_id).state is JobState.SENT
    data = smtp.received[0].data
    assert b"X-A: b" in data
    assert b"list.csv" in data
    assert b"Hello" in data


def test_send_waits_and_tells_what_became_of_it(run, system, smtp):
    smtp.faults.append(refuse("nobody@"))
    with system.worker():
        words = ["send", "--from", "me@example.com", "--text", "x", "--wait"]
        good = run(*words, "--to", "ann@example.org")
        bad = run(*words, "--to", "nobody@example.org")
    assert good.returncode == 0
    assert "250 2.0.0" in good.stdout
    assert bad.returncode == 3
    assert "550 5.1.1 No such user here" in bad.stdout


def test_explain_tells_each_attempt_and_what_comes_next(run, system, smtp):
    smtp.faults += [greylist("ann@")]
    job_id = send(run, "--to", "bob@example.org")
    with system.worker(MAILER_RETRY_DELAYS="600"):
        eventually(lambda: system.mailer.get(job_id).state is JobState.DEFERRED)
    done = run("explain", job_id)
    assert done.returncode == 0, done.stderr
    for part in (
        "attempt 1 by",
        "rcpt: 450 4.7.1",
        "bob@example.org: 250",
        "the retry policy waits 10 minutes after attempt 1",
        "The next attempt is at",
        "ann@example.org deferred: 450 4.7.1",
    ):
        assert part in done.stdout, done.stdout
    unknown = run("explain", "nosuch")
    assert unknown.returncode == 1
    assert "nosuch" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_show_tells_when_and_why_it_is_tried_again(run, system, smtp):
    smtp.faults.append(greylist("ann@", times=None))
    job_id = send(run, "--text", "x")
    with system.worker(MAILER_RETRY_DELAYS="600"):
        eventually(lambda: system.mailer.get(job_id).state is JobState.DEFERRED)
    shown = run("show", job_id).stdout
    assert "450 4.7.1 Greylisted" in shown
    assert "in 10 min" in shown or "in 11 min" in shown or "in 12 min" in shown
    assert json.loads(run("show", job_id, "--json").stdout)["state"] == "deferred"


def test_list_and_stats_count_what_is_there(run, system):
    first = send(run, "--text", "x", "--at", "2h")
    second = send(run, "--text", "x")
    assert second in run("list").stdout
    listed = json.loads(run("list", "--state", "scheduled", "--json").stdout)
    assert [job["id"] for job in listed] == [first]
    counts = json.loads(run("stats", "--json").stdout)["counts"]
    assert (counts["scheduled"], counts["queued"]) == (1, 1)
    assert "scheduled" in run("stats").stdout


def test_list_finds_jobs_by_recipient_and_tag(run):
    order = send(run, "--text", "x", "--tag", "order")
    news = send(run, "--text", "x", "--tag", "news", "--to", "bob@example.net")
    listed = run("list", "--tag", "order", "--recipient", "ann@example.org").stdout
    assert order in listed
    assert news not in listed
    assert news in run("list", "--recipient", "@example.net").stdout
    done = run("list", "--recipient", "ann")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: recipient: is an address such as")


def test_cancel_retry_and_reschedule_change_a_job(run, system):
    job_id = send(run, "--text", "x", "--at", "1d")
    assert run("reschedule", job_id, "--at", "2h").returncode == 0
    assert run("cancel", job_id).stdout.strip() == f"{job_id} canceled"
    assert system.mailer.get(job_id).state is JobState.CANCELED
    assert run("retry", job_id).returncode == 0
    assert system.mailer.get(job_id).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "nope"], 1, "no job is recorded under the id 'nope'"),
        (["send", "--from", "me", "--to", "a@b.c", "--text", "x"], 1, "from_email: 'me' has no @"),
        (["send", "--from", "a@b.c", "--text", "x"], 1, "to: names nobody"),
        (["send", "--from", "a@b.c", "--to", "a@b.c", "--at", "tomorrow"], 2, "is no time"),
        (["send", "--from", "a@b.c", "--to", "a@b.c", "--header", "x"], 2, "Name: value"),
        (["list", "--state", "lost"], 2, "lost"),
        (["send", "--from", "a@b.c", "--to", "a@b.c", "--retry", "x"], 1, "no policy 'x'"),
        (["suppress"], 2, "name addresses, or a --file of them"),
        (["unsuppress", "a@"], 1, "'a@' has a malformed domain"),
        (["suppressed", "--address", "a"], 1, "address: 'a' has no @"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(run, words, code, sentence):
    done = run(*words)
    assert done.returncode == code
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(run):
    done = run("worker", MAILER_BATCH_SIZE="many")
    assert done.returncode == 1
    assert "MAILER_BATCH_SIZE" in done.stderr
    assert "Traceback" not in done.stderr


def test_redis_away_is_told_without_its_password(run):
    done = run("stats", MAILER_REDIS_URL="redis://:s3cret@127.0.0.1:1/1")
    assert done.returncode == 1
    assert "MAILER_REDIS_URL" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout


def findings(done) -> dict[str, dict]:
    return {finding["subject"]: finding for finding in json.loads(done.stdout)}


def test_doctor_finds_a_healthy_system_healthy(run, system):
    with EmbeddedRedis(appendonly=True) as server:
        system.settings["MAILER_REDIS_URL"] = server.url
        with system.worker():
            done = run("doctor", "--json")
    assert done.returncode == 0
    assert {finding["verdict"] for finding in findings(done).values()} == {"good"}


def test_doctor_says_what_to_change(run, system):
    with (
        EmbeddedRedis(options={"maxmemory-policy": "allkeys-lru"}) as server,
        SmtpServerThread(users={"shop": "right"}) as smtp,
    ):
        url = smtp.url.replace("smtp://", "smtp://shop:wr0ng@")
        settings = {"MAILER_REDIS_URL": server.url, "MAILER_RELAY_URL": url}
        done = run("doctor", "--json", **settings, MAILER_REDIS_URI="x", MAILER_SANDBOX="true")
        for_people = run("doctor", **settings)
    assert done.returncode == 1
    found = findings(done)
    assert found["eviction"]["verdict"] == "bad"
    assert "noeviction" in found["eviction"]["advice"]
    assert found["persistence"]["verdict"] == "doubtful"
    assert found["workers"]["verdict"] == "doubtful"
    assert found["relay"]["verdict"] == "bad"
    assert "535" in found["relay"]["found"]
    assert found["sandbox"]["verdict"] == "doubtful"
    assert found["sandbox"]["found"] == "sandbox mode: no email leaves"
    assert found["settings"]["advice"] == "did you mean MAILER_REDIS_URL?"
    assert "→ set maxmemory-policy noeviction" in for_people.stdout
    assert "wr0ng" not in done.stdout + done.stderr + for_people.stdout + for_people.stderr


def test_doctor_of_a_relay_that_is_not_there(run):
    found = findings(run("doctor", "--json", MAILER_RELAY_URL="smtp://127.0.0.1:1"))
    assert found["relay"]["verdict"] == "bad"
    assert "MAILER_RELAY_URL" in found["relay"]["advice"]


def test_doctor_names_the_table_of_a_relay_that_is_not_there(run, system, tmp_path):
    del system.settings["MAILER_RELAY_URL"]
    config = tmp_path / "mailer.toml"
    config.write_text('[relays.backup]\nurl = "smtp://127.0.0.1:1"\n')
    found = findings(run("doctor", "--json", MAILER_CONFIG=str(config)))
    assert "relays.backup.url" in found["relay"]["advice"]


def test_worker_starts_by_celerys_own_command_and_by_ours(system, tmp_path):
    for words in (["celery", "-A", "workers", "worker", "-n", "c@%h"], ["mailer.cli", "worker"]):
        job_id = system.enqueue()
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env={**os.environ, **system.settings},
                stdout=log,
                stderr=log,
            )
        try:
            assert system.ended(job_id).state is JobState.SENT
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_a_worker_refuses_other_pools_and_says_why(system, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", "worker", "--pool=solo"],
        env={**os.environ, **system.settings},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "workers use threads" in done.stdout + done.stderr


def test_a_preview_is_what_a_relay_would_get_and_nothing_is_sent(run, system, tmp_path):
    (tmp_path / "list.csv").write_text("a,b\n")
    words = ["send", "--from", "me@example.com", "--to", "ann@example.org", "--subject", "Größe"]
    words += ["--text", "Grüße", "--attach", str(tmp_path / "list.csv"), "--preview"]
    done = run(*words, MAILER_REDIS_URL="redis://127.0.0.1:1")  # not needed for it
    assert done.returncode == 0, done.stderr
    message = email.message_from_string(done.stdout, policy=email.policy.default)
    assert message["Subject"] == "Größe"
    assert [part.get_filename() for part in message.iter_attachments()] == ["list.csv"]
    assert system.mailer.list() == []
    refused = run(*words, "--priority", "urgent")
    assert refused.returncode == 1
    assert "priority: is one of high, normal, low" in refused.stderr


def test_show_prints_the_very_message_as_long_as_it_is_kept(run, system, smtp, tmp_path):
    smtp.faults += [greylist("ann@")]
    (tmp_path / "path.bin").write_bytes(os.urandom(100_000))
    roots = {"MAILER_ATTACHMENT_ROOTS": str(tmp_path)}
    attachments = [
        Attachment.from_path(tmp_path / "path.bin"),
        Attachment.from_bytes(os.urandom(700_000), filename="a.bin"),
    ]
    producer = system.producer(attachment_roots=[tmp_path])
    job_id = producer.enqueue(system.email(text="Grüße\n", attachments=attachments)).id
    shown = run("show", job_id, "--eml", **roots)
    assert shown.returncode == 0, shown.stderr
    with system.worker(**roots):
        assert system.ended(job_id).state is JobState.SENT
    assert smtp.received[0].data.decode().replace("\r\n", "\n") == shown.stdout
    gone = run("show", job_id, "--eml", **roots)
    assert gone.returncode == 1
    assert gone.stderr == f"error: the job {job_id} was sent, and its content is kept no more\n"


def test_suppress_and_unsuppress_change_the_list(run, system, tmp_path):
    done = run("suppress", "Ann@example.org", "ben@example.org", "--reason", "asked [to]")
    assert (done.returncode, done.stdout) == (0, "2 suppressed, 0 on the list already\n")
    listed = json.loads(run("suppressed", "--json").stdout)
    assert {(e["address"], e["tag"], e["reason"], e["by"]) for e in listed} == {
        ("ann@example.org", None, "asked [to]", "cli"),
        ("ben@example.org", None, "asked [to]", "cli"),
    }
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfann@example.org\r\n\n carl@example.org \n")
    done = run("suppress", "--file", str(tmp_path / "list.txt"), "--tag", "news")
    assert done.stdout == "2 suppressed, 0 on the list already\n"
    shown = run("suppressed", "--tag", "news").stdout
    assert "carl@example.org" in shown
    assert "ben@example.org" not in shown
    assert "asked [to]" in run("suppressed", "--address", "ANN@example.org").stdout
    assert system.mailer.get(send(run, "--text", "x")).state is JobState.SUPPRESSED
    done = run("unsuppress", "ann@example.org", "carl@example.org")
    assert done.returncode == 1
    assert done.stdout == ("ann@example.org may be sent to\ncarl@example.org is not on the list\n")


def test_a_list_with_a_bad_line_changes_nothing_and_names_all_of_them(run, system, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"ann@example.org\nnobody\n\nj\xf6rg@example.org\nx@\n")
    done = run("suppress", "ben@example.org", "--file", str(tmp_path / "list.txt"))
    assert done.returncode == 1
    first, *mistakes = done.stderr.splitlines()
    assert first == "error: nothing was changed"
    assert [line.partition(": ")[0] for line in mistakes] == ["line 2", "line 4", "line 5"]
    assert "has no @" in mistakes[0]
    assert system.mailer.suppressions() == []
    assert run("suppressed").stderr == "nobody\n"


def test_send_takes_a_retry_policy_by_its_name(run, system, smtp, tmp_path):
    (tmp_path / "mailer.toml").write_text(
        "[retry_policies.urgent]\ndelays = [0.1]\nmax_attempts = 2\n"
    )
    smtp.faults.append(greylist("ann@", times=None))
    words = ["--text", "x", "--retry", "urgent"]
    job_id = send(run, *words, MAILER_CONFIG=str(tmp_path / "mailer.toml"))
    with system.worker(MAILER_RETRY_DELAYS="600"):
        job = system.ended(job_id)
    assert [attempt.n for attempt in job.attempts] == [1, 2]
    assert "given up after 2 attempts" in job.attempts[-1].reply


def test_a_person_ends_the_doubt_about_an_unconfirmed_email_or_has_it_sent_again(run, system, smtp):
    smtp.faults += [lose_reply(times=3)]
    once = {"delivery": "at-most-once"}
    with system.worker():
        sent, failed, again = (system.ended(system.enqueue(**once)).id for _ in range(3))
        listed = run("list", "--state", "unconfirmed").stdout
        assert all(job_id in listed for job_id in (sent, failed, again))
        story = run("explain", again).stdout
        for words in ("dot", "perhaps it was delivered", "mailer resolve", "mailer retry"):
            assert words in " ".join(story.split())
        assert run("resolve", sent, "--sent").stdout.split() == [sent, "sent"]
        assert run("resolve", failed, "--failed").stdout.split() == [failed, "failed"]
        twice = run("resolve", sent, "--failed")
        assert (twice.returncode, "not unconfirmed" in twice.stderr) == (1, True)
        assert smtp.state.count == 3, "nothing was sent by saying so"
        assert run("retry", again).returncode == 0
        job = system.ended(again)
    assert job.state is JobState.SENT
    assert [m.message_id for m in smtp.received].count(job.message_id) == 2, "as was asked for"
