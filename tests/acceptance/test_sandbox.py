"""Sandbox mode, through a real worker: nobody gets email but who should."""

import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pages import snippet

from mailer import (
    Attachment,
    Decision,
    Email,
    JobState,
    Mailer,
    RecipientState,
    RetryPolicy,
    load_settings,
)
from mailer.dkim.keys import DkimKey
from mailer.testing import LiveWorker, lose_reply, refuse

STAGING = "staging@example.com"
INSTEAD = f", for {STAGING} instead (MAILER_REDIRECT_TO)"
SETTINGS = {
    "MAILER_SANDBOX": "true",
    "MAILER_RETRY_DELAYS": "0.1",
    "MAILER_RETRY_JITTER": "0",
    "MAILER_SUPPRESS_UNKNOWN_USERS": "true",
}


PRIVATE = Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
)
KEY = DkimKey.load("example.com", "s1", PRIVATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attachments")


@pytest.fixture(scope="module")
def closed(folder):
    """A worker that lets email leave for two domains, and keeps all other back."""
    own = {
        "MAILER_ALLOW_DOMAINS": "allowed.example,*.allowed.example",
        "MAILER_ATTACHMENT_ROOTS": str(folder),
    }
    with LiveWorker(SETTINGS | own) as worker:
        yield worker


@pytest.fixture(scope="module")
def redirecting():
    """A worker that sends all other email to one address."""
    own = {
        "MAILER_ALLOW_DOMAINS": "allowed.example",
        "MAILER_REDIRECT_TO": STAGING,
        "MAILER_DKIM": json.dumps({"example.com": [{"selector": "s1", "key": PRIVATE.decode()}]}),
    }
    with LiveWorker(SETTINGS | own) as worker:
        yield worker


@pytest.fixture(autouse=True)
def clear(request):
    yield
    for name in {"closed", "redirecting"} & {*request.fixturenames}:
        request.getfixturevalue(name).clear()


def ended(worker, *to, **fields):
    email = Email(**{"from_email": "shop@example.com", "to": to, "text": "Hi\n", **fields})
    return worker.wait(worker.mailer.enqueue(email))


def mailer_command(worker, *words):
    return subprocess.run(
        [sys.executable, "-m", "mailer.cli", *words],
        env={**os.environ, **worker.settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


GIVES_UP = RetryPolicy(delays=(0.1,), jitter=0, max_attempts=2)


@pytest.mark.parametrize(
    ("name", "fields", "state", "decisions", "reply"),
    [
        ("success", {}, "sent", "sent", "250 2.0.0 Accepted (simulated)"),
        ("bounce+1", {}, "failed", "fail", "550 5.1.1 No such user (simulated)"),
        ("defer", {"retry": GIVES_UP}, "failed", "retry fail", "451 4.3.0 Not now (simulated)"),
        ("defer-once", {}, "sent", "retry sent", "250 2.0.0 Accepted (simulated)"),
        ("greylist", {}, "sent", "retry sent", "250 2.0.0 Accepted (simulated)"),
        (
            "timeout",
            {"retry": GIVES_UP},
            "failed",
            "retry fail",
            "no reply in time (simulated) after the final dot; perhaps it was delivered",
        ),
        (
            "timeout",
            {"delivery": "at-most-once"},
            "unconfirmed",
            "unconfirmed",
            "no reply in time (simulated) after the final dot; perhaps it was delivered",
        ),
    ],
)
def test_a_simulated_recipient(closed, name, fields, state, decisions, reply):
    job = ended(closed, f"{name}@simulator.test", **fields)
    assert job.state == state
    assert [attempt.decision for attempt in job.attempts] == decisions.split()
    assert {attempt.relay for attempt in job.attempts} == {"sandbox"}
    assert job.recipients[0].reply == reply
    assert closed.smtp.received == []
    assert closed.mailer.paused_relays() == {}


def test_recipients_of_one_email_fare_each_in_their_own_way(closed):
    names = ("success", "bounce+2", "defer-once", "timeout")
    people = [f"{name}@simulator.test" for name in names]
    job = ended(closed, *people, retry=GIVES_UP)
    assert job.state is JobState.PARTIALLY_SENT
    assert [recipient.state for recipient in job.recipients] == [
        *(RecipientState.ACCEPTED, RecipientState.REFUSED),
        *(RecipientState.ACCEPTED, RecipientState.REFUSED),
    ]


def test_a_message_that_can_t_be_built_fails_in_the_simulator_too(closed, folder):
    file = folder / "a.pdf"
    file.write_bytes(b"1")
    own = {"redis_url": closed.settings["MAILER_REDIS_URL"], "attachment_roots": (folder,)}
    with Mailer(settings=load_settings(key_prefix="test", **own)) as mailer:
        email = Email(
            from_email="shop@example.com",
            to="success@simulator.test",
            attachments=[Attachment.from_path(file)],
            scheduled_at=datetime.now(UTC) + timedelta(seconds=0.5),
        )
        receipt = mailer.enqueue(email)
    file.write_bytes(b"2")
    assert closed.wait(receipt).state is JobState.FAILED


def test_who_is_not_allowed_is_kept_back_and_told_why(closed):
    job = ended(closed, "ann@example.org")
    assert job.state is JobState.SUPPRESSED
    (recipient,), (attempt,) = job.recipients, job.attempts
    assert recipient.state is RecipientState.SUPPRESSED
    assert "example.org is not among MAILER_ALLOW_DOMAINS" in recipient.reply
    assert (attempt.decision, job.retries) == (Decision.SUPPRESSED, 0)
    assert closed.smtp.received == []
    told = mailer_command(closed, "explain", job.id).stdout
    assert "sandbox mode keeps it back: example.org is not among" in " ".join(told.split())


def test_who_is_allowed_is_sent_to_as_usual(closed):
    people = ["ann@example.org", "ben@allowed.example", "carl@a.allowed.example"]
    job = ended(closed, *people)
    assert job.state is JobState.PARTIALLY_SENT
    (message,) = closed.smtp.received
    assert message.recipients == ("ben@allowed.example", "carl@a.allowed.example")
    assert b"X-Original-To" not in message.data


def test_a_redirect_changes_the_envelope_and_adds_a_header(redirecting):
    people = ("Ann <ann@example.org>", "ben@example.net")
    job = ended(redirecting, *people, bcc="carl@example.org", subject="Hi")
    assert job.state is JobState.SENT
    assert {recipient.reply for recipient in job.recipients} == {f"250 2.0.0 Accepted{INSTEAD}"}
    (message,) = redirecting.smtp.received
    assert message.recipients == (STAGING,)
    assert message.sender == "shop@example.com"
    assert f"SIZE={len(message.data)}" in message.parameters
    parsed = message_from_bytes(message.data, policy=policy.default)
    originally = ["ann@example.org", "ben@example.net", "carl@example.org"]
    assert parsed.get_all("X-Original-To") == originally
    assert parsed["To"] == ", ".join(people)
    assert (parsed["Message-ID"], parsed["Subject"]) == (job.message_id, "Hi")


@pytest.mark.parametrize("size", [10, 1024 * 1024], ids=["in one write", "streamed"])
def test_a_redirected_message_keeps_its_dkim_signature(redirecting, size):
    attachment = Attachment.from_bytes(os.urandom(size), filename="a.bin")
    assert ended(redirecting, "ann@example.org", attachments=[attachment]).state is JobState.SENT
    (message,) = redirecting.smtp.received
    assert message.data.startswith(b"X-Original-To: ann@example.org\r\nDKIM-Signature:")
    assert dkim.verify(message.data, dnsfunc=lambda *_, **__: KEY.dns_record.encode())


def test_a_redirected_message_that_was_perhaps_delivered_is_unconfirmed(redirecting):
    redirecting.smtp.faults = [lose_reply()]
    job = ended(redirecting, "ann@example.org", delivery="at-most-once")
    assert job.state is JobState.UNCONFIRMED
    assert job.recipients[0].state is RecipientState.UNCONFIRMED


def test_who_is_allowed_or_simulated_is_not_redirected(redirecting):
    job = ended(redirecting, "a@example.org", "b@allowed.example", "success@simulator.test")
    assert job.state is JobState.SENT
    assert [message.recipients for message in redirecting.smtp.received] == [
        (STAGING,),
        ("b@allowed.example",),
    ]


def test_a_refusal_of_the_new_address_is_told_and_suppresses_nobody(redirecting):
    redirecting.smtp.faults = [refuse(STAGING)]
    job = ended(redirecting, "ann@example.org", "ben@example.org")
    assert job.state is JobState.FAILED
    said = f"550 5.1.1 No such user here{INSTEAD}"
    assert [recipient.reply for recipient in job.recipients] == [said] * 2
    ended(redirecting, "bounce+3@simulator.test")  # who is unknown, is suppressed after it
    (entry,) = redirecting.mailer.suppressions()
    assert entry.address == "bounce+3@simulator.test"


def test_a_worker_says_aloud_that_it_is_in_sandbox_mode(redirecting):
    said = redirecting.process.log.read_text()
    assert "SANDBOX MODE (MAILER_SANDBOX)" in said
    assert "all email goes to MAILER_REDIRECT_TO, but for allowed.example" in said
    assert STAGING not in said


def test_the_example_of_the_documentation_bounces(closed):
    line = snippet("docs/sandbox.md", "$ mailer send").removeprefix("$ mailer ")
    done = mailer_command(closed, *shlex.split(line))
    assert "No such user (simulated)" in done.stdout + done.stderr
