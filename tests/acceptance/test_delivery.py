"""What becomes of emails, through a real worker and a real SMTP server."""

import email.policy
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser

from mailer import Attachment, Decision, JobState, RecipientState, RetryPolicy
from mailer.testing import (
    SmtpServerThread,
    eventually,
    greylist,
    lose_reply,
    refuse,
)


def parsed(data: bytes):
    return BytesParser(policy=email.policy.default).parsebytes(data)


def test_each_recipient_has_an_outcome_of_its_own(system, smtp):
    """250, 450 and 550 in one message: one accepted, one retried alone, one refused."""
    smtp.faults += [greylist("grey@"), refuse("nobody@")]
    with system.worker():
        job_id = system.enqueue(["ann@example.org", "grey@example.org", "nobody@example.org"])
        job = system.ended(job_id)
    assert job.state is JobState.PARTIALLY_SENT
    assert [(r.state, r.reply.split()[0]) for r in job.recipients] == [
        (RecipientState.ACCEPTED, "250"),
        (RecipientState.ACCEPTED, "250"),
        (RecipientState.REFUSED, "550"),
    ]
    assert [m.recipients for m in smtp.received] == [("ann@example.org",), ("grey@example.org",)]
    assert len({m.message_id for m in smtp.received}) == 1
    assert smtp.received[0].data == smtp.received[1].data, "a retry is the same, byte for byte"
    first, second = job.attempts
    assert first.replies == {
        "ann@example.org": job.recipients[0].reply,
        "nobody@example.org": job.recipients[2].reply,
    }
    assert (first.n, first.decision, first.code, first.enhanced_code) == (
        1,
        Decision.RETRY,
        450,
        "4.7.1",
    )
    assert first.next_attempt_at > first.started_at
    assert (second.n, second.decision) == (2, Decision.FAIL)


def test_a_retry_waits_on_the_agenda_and_not_in_celery(system, smtp):
    smtp.faults += [greylist("ann@")]
    with system.worker(MAILER_RETRY_DELAYS="600"):
        job_id = system.enqueue()
        eventually(lambda: system.mailer.get(job_id).state is JobState.DEFERRED)
        job = system.mailer.get(job_id)
        wait = job.next_attempt_at - job.attempts[0].ended_at
        assert job.attempts[0].because.startswith("the retry policy waits 10 minutes after attempt")
        assert timedelta(seconds=600) <= wait <= timedelta(seconds=720)
        eventually(system.broker_is_empty)
        system.mailer.retry(job_id)
        assert system.ended(job_id).state is JobState.SENT


def test_an_email_may_bring_its_own_retry_policy(system, smtp):
    smtp.faults += [greylist("ann@", times=None)]
    with system.worker(MAILER_RETRY_DELAYS="600"):
        job_id = system.enqueue(retry=RetryPolicy(delays=(0.1,), max_attempts=3))
        job = system.ended(job_id)
    assert job.state is JobState.FAILED
    assert [a.n for a in job.attempts] == [1, 2, 3]
    assert "given up after 3 attempts" in job.attempts[-1].reply


def test_a_relay_that_is_down_is_paused_and_says_so_once(system, smtp):
    """Jobs wait, unharmed; the log has one line about it, and `paused_relays` the reason."""
    with SmtpServerThread() as other:
        port = other.port
    with system.worker(MAILER_RELAY_URL=f"smtp://127.0.0.1:{port}") as worker:
        jobs = [system.enqueue() for _ in range(20)]
        pause = eventually(lambda: next(iter(system.mailer.paused_relays().values()), None))
        assert pause.relay == f"127.0.0.1:{port}"
        assert "connect" in pause.reason.lower()
        assert pause.since <= pause.until
        with SmtpServerThread(port=port) as revived:
            assert all(system.ended(job).state is JobState.SENT for job in jobs)
            assert len(revived.received) == 20
        assert eventually(lambda: not system.mailer.paused_relays())
    assert all(system.mailer.get(job).retries == 1 for job in jobs)
    pauses = worker.log.read_text().count("relay paused")
    assert 1 <= pauses <= 6, "one line for each pause, not one for each job"


def test_wrong_credentials_pause_the_relay_and_stay_secret(system):
    with SmtpServerThread(users={"shop": "right"}) as smtp:
        url = smtp.url.replace("smtp://", "smtp://shop:wr0ng-secret@")
        with system.worker(MAILER_RELAY_URL=url) as worker:
            job_id = system.enqueue()
            eventually(lambda: system.mailer.get(job_id).state is JobState.DEFERRED)
            job = system.mailer.get(job_id)
            note = repr(system.mailer.paused_relays())
        assert job.retries == 0
        assert (job.attempts[0].phase, job.attempts[0].code) == ("auth", 535)
        for text in (worker.log.read_text(), note, repr(job)):
            assert "wr0ng-secret" not in text
        with system.worker("w2", MAILER_RELAY_URL=url.replace("wr0ng-secret", "right")):
            assert system.ended(job_id).state is JobState.SENT


def test_a_lost_reply_after_the_final_dot_is_retried_and_marked(system, smtp):
    """Nobody knows whether the server has it: sent again with the same Message-ID."""
    smtp.faults += [lose_reply()]
    with system.worker():
        job = system.ended(system.enqueue())
    assert job.state is JobState.SENT
    assert "perhaps it was delivered" in job.attempts[0].reply
    assert job.attempts[0].phase == "dot"
    assert len(smtp.received) == 2
    assert {m.message_id for m in smtp.received} == {job.message_id}
    assert smtp.received[0].data == smtp.received[1].data


def test_attachments_arrive_whole_from_bytes_and_from_files(system, smtp, tmp_path):
    (tmp_path / "terms.pdf").write_bytes(b"%PDF" + bytes(range(256)) * 400)
    with (
        system.worker(MAILER_ATTACHMENT_ROOTS=str(tmp_path)),
        system.producer(attachment_roots=(tmp_path,)) as mailer,
    ):
        receipt = mailer.enqueue(
            system.email(
                text="Grüße\n",
                html="<p>Grüße <img src=cid:logo></p>",
                attachments=[
                    Attachment.from_path(tmp_path / "terms.pdf"),
                    Attachment.from_bytes(b"a,b\n", filename="Übersicht.csv"),
                    Attachment.from_bytes(b"\x89PNG", filename="l.png", content_id="logo"),
                ],
            )
        )
        assert system.ended(receipt.id).state is JobState.SENT
    message = parsed(smtp.received[0].data)
    files = {p.get_filename(): p.get_content() for p in message.walk() if p.get_filename()}
    assert files["terms.pdf"] == (tmp_path / "terms.pdf").read_bytes()
    assert files["Übersicht.csv"] in ("a,b\n", "a,b\r\n", b"a,b\n")
    assert message.get_body(("plain",)).get_content().splitlines() == ["Grüße"]


def test_a_file_that_changed_after_enqueue_is_never_sent(system, smtp, tmp_path):
    (tmp_path / "terms.pdf").write_bytes(b"first")
    with system.producer(attachment_roots=(tmp_path,)) as mailer:
        receipt = mailer.enqueue(
            system.email(attachments=[Attachment.from_path(tmp_path / "terms.pdf")])
        )
    (tmp_path / "terms.pdf").write_bytes(b"other")
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(tmp_path)):
        job = system.ended(receipt.id)
    assert job.state is JobState.FAILED
    assert "has changed since it was enqueued" in job.attempts[0].reply
    assert smtp.received == []


def test_a_scheduled_email_leaves_at_its_time(system, smtp):
    with system.worker():
        at = datetime.now(UTC) + timedelta(seconds=1.5)
        job_id = system.enqueue(scheduled_at=at)
        assert system.mailer.get(job_id).state is JobState.SCHEDULED
        job = system.ended(job_id)
    lateness = job.attempts[0].started_at - at
    assert timedelta(0) <= lateness < timedelta(seconds=0.5)


def test_a_canceled_email_never_leaves(system, smtp):
    job_id = system.enqueue()
    assert system.mailer.cancel(job_id)
    with system.worker():
        system.ended(system.enqueue())
    assert len(smtp.received) == 1
    assert system.mailer.get(job_id).state is JobState.CANCELED


def test_an_email_that_expires_before_its_turn_is_not_sent(system, smtp):
    job_id = system.enqueue(expires_at=datetime.now(UTC) + timedelta(seconds=0.2))
    eventually(lambda: datetime.now(UTC) > system.mailer.get(job_id).expires_at)
    with system.worker():
        assert system.ended(job_id).state is JobState.EXPIRED
    assert smtp.received == []


def test_a_utf8_local_part_is_sent_only_where_the_relay_takes_it(system, smtp):
    with system.worker() as first:
        assert system.ended(system.enqueue("jörg@bücher.example")).state is JobState.SENT
        first.stop()
    assert smtp.received[0].recipients == ("jörg@xn--bcher-kva.example",)
    with (
        SmtpServerThread(extensions=("PIPELINING", "8BITMIME")) as plain,
        system.worker("w2", MAILER_RELAY_URL=plain.url),
    ):
        job = system.ended(system.enqueue("jörg@example.org"))
    assert job.state is JobState.FAILED
    assert "SMTPUTF8" in job.attempts[0].reply


def test_a_message_that_the_relay_would_not_take_is_not_sent_at_all(system):
    with (
        SmtpServerThread(extensions=("PIPELINING", "SIZE 2000")) as small,
        system.worker(MAILER_RELAY_URL=small.url),
    ):
        fits = system.ended(system.enqueue(text="x" * 1000))
        job = system.ended(system.enqueue(text="x\n" * 1000))
        assert len(small.received[0].data) < 2000
    assert (fits.state, job.state) == (JobState.SENT, JobState.FAILED)
    assert "bytes; the relay takes 2000 (SIZE)" in job.recipients[0].reply
    assert len(small.received) == 1


def test_a_connection_that_the_server_closed_while_idle_costs_nothing(system, smtp):
    with system.worker():
        assert system.ended(system.enqueue()).state is JobState.SENT
        smtp.close_connections()
        job = system.ended(system.enqueue())
    assert job.state is JobState.SENT
    assert len(job.attempts) == 1


def test_many_emails_share_few_connections(system, smtp):
    system.mailer.enqueue_many(system.email() for _ in range(500))
    with system.worker(MAILER_CONNECTIONS="5"):
        smtp.wait_for(500)
        eventually(lambda: system.mailer.counts()[JobState.SENT] == 500)
    assert smtp.state.connections <= 5


def test_the_relay_is_told_which_reports_are_wanted(system, smtp):
    with system.worker():
        job_id = system.enqueue(dsn_notify=["failure", "delay"], dsn_return="headers")
        system.ended(job_id)
        system.ended(system.enqueue())
    asked, plain = smtp.received
    assert {"RET=HDRS", f"ENVID={job_id}"} <= {*asked.parameters}
    assert asked.recipient_parameters["ann@example.org"] == (
        "NOTIFY=FAILURE,DELAY",
        "ORCPT=rfc822;ann@example.org",
    )
    assert plain.recipient_parameters["ann@example.org"] == ()
    assert not any(p.startswith(("RET", "ENVID")) for p in plain.parameters)
