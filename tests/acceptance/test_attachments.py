"""Attachments by reference, from enqueue to what the SMTP server received."""

import email.policy
import os
import threading
from email.parser import BytesParser
from hashlib import sha256

import psutil
import pytest
import redis

from mailer import Attachment, Email, InvalidEmail, JobState
from mailer.testing import eventually, greylist

MB = 1024 * 1024


def parsed(data: bytes):
    return BytesParser(policy=email.policy.default).parsebytes(data)


def attached(data: bytes) -> dict[str, bytes]:
    return {part.get_filename(): part.get_content() for part in parsed(data).iter_attachments()}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "invoices"
    root.mkdir()
    return root


def blobs(system):
    prefix = system.settings["MAILER_KEY_PREFIX"]
    with redis.Redis.from_url(system.redis.url) as raw:
        return {key: raw.strlen(key) for key in raw.scan_iter(f"{{{prefix}}}:blob:*")}


def test_every_kind_of_attachment_arrives(system, smtp, root):
    large = os.urandom(3 * MB + 1)
    (root / "large.bin").write_bytes(large)
    (root / "uploaded.bin").write_bytes(large[:-7])
    producer = system.producer(attachment_roots=[root])
    message = system.email(
        attachments=[
            Attachment.from_bytes(b"a,b\n", filename="a.csv"),
            Attachment.from_bytes(b"", filename="empty.txt"),
            Attachment.from_bytes(large[:-3], filename="given.bin"),
            Attachment.from_path(root / "large.bin"),
            Attachment.from_path(root / "uploaded.bin", upload=True),
        ]
    )
    job_id = producer.enqueue(message).id
    (root / "uploaded.bin").unlink()  # the worker needs it no more
    assert sorted(blobs(system).values()) == [0, 4, len(large) - 7, len(large) - 3]
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(root)):
        assert system.ended(job_id).state is JobState.SENT
    (received,) = smtp.received
    found = attached(received.data)
    assert found.pop("a.csv").encode() == b"a,b\n"
    assert found.pop("empty.txt") == ""
    assert {name: sha256(data).digest() for name, data in found.items()} == {
        "given.bin": sha256(large[:-3]).digest(),
        "large.bin": sha256(large).digest(),
        "uploaded.bin": sha256(large[:-7]).digest(),
    }
    assert blobs(system) == {}


def test_a_content_is_uploaded_once_however_many_emails_have_it(system):
    brochure = Attachment.from_bytes(os.urandom(2 * MB), filename="brochure.pdf")
    with redis.Redis.from_url(system.redis.url) as raw:
        before = raw.info("stats")["total_net_input_bytes"]
        system.mailer.enqueue_many([system.email(attachments=[brochure]) for _ in range(50)])
        system.enqueue(attachments=[brochure])
        sent = raw.info("stats")["total_net_input_bytes"] - before
    assert list(blobs(system).values()) == [2 * MB]
    assert sent < 3 * MB


def test_what_is_refused_leaves_no_content_behind(system, root):
    large = Attachment.from_bytes(os.urandom(MB), filename="a.bin")
    system.enqueue(idempotency_key="k", text="one")
    with pytest.raises(Exception, match="known, with other content"):
        system.enqueue(idempotency_key="k", text="two", attachments=[large])
    assert blobs(system) == {}


@pytest.mark.parametrize("upload", [False, True])
def test_a_file_that_is_too_large_is_refused_unread(system, root, upload):
    with (root / "huge.bin").open("wb") as file:
        file.truncate(200 * MB)
    producer = system.producer(attachment_roots=[root])
    huge = system.email(attachments=[Attachment.from_path(root / "huge.bin", upload=upload)])
    with pytest.raises(InvalidEmail, match="MAILER_MAX_ATTACHMENT_BYTES") as caught:
        producer.enqueue(huge)
    assert caught.value.field == "attachments[0]"
    assert "209715200 bytes" in caught.value.reason


def overwrite(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path):
    with path.open("ab") as file:
        file.write(b"x")


def move_out(path):
    path.symlink_to(path.rename(path.parents[1] / path.name))


CHANGES = {
    overwrite: "has changed since it was enqueued",
    shorten: "has changed since it was enqueued",
    lengthen: "has changed since it was enqueued",
    os.unlink: "does not exist",
    move_out: "outside the allowed folders",
}


def test_a_file_that_is_not_what_was_enqueued_is_never_sent(system, smtp, root):
    """Neither a small one, which is read at once, nor one of which half is on the wire already."""
    producer = system.producer(attachment_roots=[root])
    expected = {}
    for size in (1000, 3 * MB):
        for change, reason in CHANGES.items():
            path = root / f"{change.__name__}-{size}.bin"
            path.write_bytes(os.urandom(size))
            message = system.email(attachments=[Attachment.from_path(path)])
            expected[producer.enqueue(message).id] = reason
            change(path)
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(root)):
        for job_id, reason in expected.items():
            job = system.ended(job_id)
            assert job.state is JobState.FAILED
            assert reason in job.recipients[0].reply
        assert system.ended(system.enqueue()).state is JobState.SENT, "sessions are in order"
    assert len(smtp.received) == 1


def test_a_content_that_vanished_from_the_store_fails_the_email(system, smtp):
    job_id = system.enqueue(attachments=[Attachment.from_bytes(os.urandom(MB), filename="a")])
    with redis.Redis.from_url(system.redis.url) as raw:
        assert raw.delete(*blobs(system)) == 1
    with system.worker():
        job = system.ended(job_id)
    assert job.state is JobState.FAILED
    assert "gone from the store" in job.recipients[0].reply


def test_a_retry_sends_the_same_bytes_although_its_content_is_streamed(system, smtp):
    smtp.faults += [greylist("grey@")]
    large = Attachment.from_bytes(os.urandom(2 * MB), filename="a.bin")
    with system.worker():
        job_id = system.enqueue(["ann@example.org", "grey@example.org"], attachments=[large])
        assert system.ended(job_id).state is JobState.SENT
    first, second = smtp.received
    assert first.data == second.data


@pytest.mark.slow
def test_ten_large_emails_at_a_time_take_little_memory(system, smtp, root):
    """25 MB each, all of them different: streamed, below 3 chunks for each transaction."""
    count, size = 10, 25 * MB - 1000
    for i in range(count):
        with (root / f"{i}.bin").open("wb") as file:
            file.write(i.to_bytes(4))
            file.truncate(size)
    producer = system.producer(attachment_roots=[root])
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(root), MAILER_CONNECTIONS="10") as worker:
        system.ended(system.enqueue())
        process = psutil.Process(worker.pid)
        idle = peak = process.memory_info().rss
        done = threading.Event()

        def watch():
            nonlocal peak
            while not done.wait(0.01):
                peak = max(peak, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        receipts = producer.enqueue_many(
            system.email(attachments=[Attachment.from_path(root / f"{i}.bin")])
            for i in range(count)
        )
        states = {system.ended(receipt.id, 60).state for receipt in receipts}
        done.set()
        watcher.join()
    assert states == {JobState.SENT}
    assert min(len(m.data) for m in smtp.received[1:]) > size * 4 / 3
    assert (peak - idle) / MB < 60


def test_a_large_content_shared_by_a_batch_is_read_once(system, smtp, root):
    terms = os.urandom(5 * MB)
    (root / "terms.pdf").write_bytes(terms)
    producer = system.producer(attachment_roots=[root])
    attachment = Attachment.from_path(root / "terms.pdf")
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(root)) as worker:
        system.ended(system.enqueue())
        process = psutil.Process(worker.pid)
        before = process.io_counters().read_chars
        receipts = producer.enqueue_many(system.email(attachments=[attachment]) for _ in range(20))
        for receipt in receipts:
            assert system.ended(receipt.id).state is JobState.SENT
        read = process.io_counters().read_chars - before
    assert read < 4 * len(terms), "read once for each of a few batches"
    assert all(attached(m.data) == {"terms.pdf": terms} for m in smtp.received[1:])


def test_prepared_messages_go_as_they_are(system, smtp):
    from email.message import EmailMessage

    made = EmailMessage()
    made["From"], made["To"], made["Bcc"] = (
        "Größe <a@example.com>",
        "b@example.org",
        "c@example.org",
    )
    made["Subject"], made["X-Own"] = "Grüße", "as it is"
    made.set_content("Hallo\n.\nGrüße\n", cte="8bit")
    made.add_attachment(os.urandom(1 * MB), maintype="application", subtype="pdf", filename="a.pdf")
    with system.worker():
        receipt = system.mailer.enqueue(Email.from_message(made, tags=["prepared"]))
        job = system.ended(receipt.id)
    assert (job.state, job.subject, job.tags) == (JobState.SENT, "Grüße", ("prepared",))
    (received,) = smtp.received
    assert received.recipients == ("b@example.org", "c@example.org")
    message = parsed(received.data)
    assert (message["Subject"], message["X-Own"], message["Bcc"]) == ("Grüße", "as it is", None)
    assert message["Message-ID"] == receipt.message_id
    assert message["Date"]
    assert message.get_body().get_content() == "Hallo\r\n.\r\nGrüße\r\n"
    sent = next(message.iter_attachments()).get_content()
    assert sent == next(made.iter_attachments()).get_content()
    eventually(lambda: blobs(system) == {})
