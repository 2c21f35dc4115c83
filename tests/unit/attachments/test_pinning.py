"""What `enqueue` reads and refuses of an email's attachments."""

import os
from hashlib import sha256

import pytest

from mailer import Attachment, Email, InvalidEmail, load_settings
from mailer.enqueueing import new_job
from mailer.message import Source

HOSTS = {"attachment_hosts": ["files.example.com"], "attachment_uris": ["s3://invoices/"]}


def enqueued(*attachments, **settings):
    email = Email(from_email="a@b.example", to="c@d.example", attachments=attachments)
    return new_job(email, load_settings(**settings))


def refused(*attachments, **settings):
    with pytest.raises(InvalidEmail) as caught:
        enqueued(*attachments, **settings)
    return caught.value


def test_a_path_is_pinned_to_what_it_holds(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"content")
    job = enqueued(Attachment.from_path(tmp_path / "a.txt"), attachment_roots=[tmp_path])
    digest = sha256(b"content").hexdigest()
    assert job.message.attachments[0].source == Source(digest, 7, path=str(tmp_path / "a.txt"))
    assert job.blobs == {}


def test_an_upload_is_read_now_and_leaves_no_trace_of_its_path(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"content")
    attachment = Attachment.from_path(tmp_path / "a.txt", upload=True)
    job = enqueued(attachment, attachment_roots=[tmp_path])
    digest = sha256(b"content").hexdigest()
    assert job.message.attachments[0].source == Source(digest, 7)
    assert job.blobs == {digest: b"content"}


def test_equal_contents_are_one_blob():
    attachments = [Attachment.from_bytes(b"x", filename=f"{i}.bin") for i in range(3)]
    assert list(enqueued(*attachments).blobs.values()) == [b"x"]


def test_remote_contents_are_named_and_not_read():
    url = Attachment.from_url("https://files.example.com/terms%20of%20use.pdf?sig=1")
    uri = Attachment.from_uri("s3://invoices/2026/42.csv", sha256="0" * 64)
    job = enqueued(url, uri, **HOSTS)
    first, second = job.message.attachments
    assert (first.filename, first.content_type) == ("terms of use.pdf", "application/pdf")
    assert first.source == Source(uri="https://files.example.com/terms%20of%20use.pdf?sig=1")
    assert (second.filename, second.content_type) == ("42.csv", "text/csv")
    assert second.source == Source("0" * 64, uri="s3://invoices/2026/42.csv")


@pytest.mark.parametrize(
    "url",
    [
        *("https://169.254.169.254/latest/meta-data", "https://[::1]/a", "https://2130706433/a"),
        *("https://0177.0.0.1/a", "https://localhost/a", "https://other.example.com/a"),
        *("https://files.example.com.evil.example/a", "https://files.example.com@evil.example/a"),
        *("https://files.example.com:8443/a", "https://user:pw@files.example.com/a"),
        "https://evil.example\\@files.example.com/a",
    ],
)
def test_a_url_elsewhere_is_refused_before_anything_is_stored(url):
    error = refused(Attachment.from_url(url, filename="a"), **HOSTS)
    assert error.field == "attachments[0]"


def test_without_allowed_hosts_and_prefixes_nothing_remote_is_attached():
    error = refused(Attachment.from_url("https://files.example.com/a"))
    assert "MAILER_ATTACHMENT_HOSTS" in error.reason
    error = refused(Attachment.from_uri("s3://invoices/a"))
    assert "MAILER_ATTACHMENT_URIS" in error.reason


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://other/a", "s3://invoices/../other/a", "s3://invoices-2/a", "gs://invoices/a"),
        *("simplecache::s3://invoices/a", "file:///etc/passwd", "s3://invoices/%2e%2e/a"),
    ],
)
def test_a_uri_elsewhere_is_refused_before_anything_is_stored(uri):
    assert refused(Attachment.from_uri(uri, filename="a"), **HOSTS).field == "attachments[0]"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Attachment.from_url("http://files.example.com/a"), "url"),
        (lambda: Attachment.from_url("file:///etc/passwd"), "url"),
        (lambda: Attachment.from_url("https://[x/a"), "url"),
        (lambda: Attachment.from_url("https://files.example.com/a\r\nX: y"), "url"),
        (lambda: Attachment.from_url("https://files.example.com/"), "filename"),
        (lambda: Attachment.from_url("https://files.example.com/a%2F..%2Fb"), "filename"),
        (lambda: Attachment.from_url("https://files.example.com/%0d%0aX: y"), "filename"),
        (lambda: Attachment.from_url(42), "url"),
        (lambda: Attachment.from_uri("https://files.example.com/a"), "uri"),
        (lambda: Attachment.from_url("https://files.example.com/a", sha256="abc"), "sha256"),
        (lambda: Attachment.from_message("text"), "message"),
        (lambda: Attachment(filename="a", content_type="a/b"), "content"),
    ],
)
def test_a_malformed_reference_is_refused_where_it_is_made(make, field):
    with pytest.raises(InvalidEmail) as caught:
        make()
    assert caught.value.field == field


def test_a_secret_in_a_url_does_not_show():
    attachment = Attachment.from_url("https://files.example.com/a?signature=canary")
    assert "canary" not in repr(attachment)
    assert "canary" not in repr(enqueued(attachment, **HOSTS))
    assert "canary" not in str(refused(attachment))


def test_https_is_https_in_capitals_too():
    job = enqueued(Attachment.from_url("HTTPS://files.example.com/a.pdf"), **HOSTS)
    assert job.message.attachments[0].source.uri == "https://files.example.com/a.pdf"


def test_texts_are_bounded():
    email = Email(from_email="a@b.example", to="c@d.example", text="ü" * 60, html="x" * 60)
    with pytest.raises(InvalidEmail, match=r"180 bytes; 100 are the most \(MAILER_MAX_TEXT_BYTES"):
        new_job(email, load_settings(max_text_bytes=100))


def test_all_attachments_together_are_bounded(tmp_path):
    with (tmp_path / "200mb").open("wb") as file:
        os.truncate(file.fileno(), 200 * 1024 * 1024)
    for upload in (False, True):
        large = Attachment.from_path(tmp_path / "200mb", upload=upload)
        error = refused(large, attachment_roots=[tmp_path])
        assert (error.field, "MAILER_MAX_ATTACHMENT_BYTES" in error.reason) == (
            "attachments[0]",
            True,
        )
    halves = [Attachment.from_bytes(bytes(60), filename="a") for _ in range(2)]
    error = refused(*halves, max_attachment_bytes=100)
    assert error.field == "attachments[1]"
    assert "60 bytes; together at most 40 more" in error.reason
