"""The examples, as they stand: real processes, and what the SMTP server receives of them."""

import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest
import trustme
from web import FlaskProcess, ask

from mailer import JobState
from mailer.testing import eventually, greylist
from mailer.testing.processes import FlowerProcess
from mailer.testing.smtp_state import Received

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TERMS = b"%PDF-1.7 our terms"


# The web application


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


# The scripts


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def file_server(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """An HTTPS server on loopback: its port, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("https")
    (folder / "files").mkdir()
    (folder / "files/terms.pdf").write_bytes(TERMS)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    handler = partial(QuietHandler, directory=str(folder / "files"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port, folder / "ca.pem"
        server.shutdown()
        thread.join()


SHELF = """
from fsspec.implementations.dirfs import DirFileSystem

class Shelf(DirFileSystem):
    protocol = "shelf"

    def __init__(self, **options):
        super().__init__(path={root!r}, target_protocol="file", **options)
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> tuple[Path, Path]:
    """An fsspec file system as a package brings it: its root, and where the package lies.

    None of those that come with fsspec reaches another process without a network, and is allowed.
    """
    folder, packages = tmp_path_factory.mktemp("shelf"), tmp_path_factory.mktemp("packages")
    (packages / "shelf.py").write_text(SHELF.format(root=str(folder)))
    (packages / "shelf-1.dist-info").mkdir()
    (packages / "shelf-1.dist-info/METADATA").write_text("Name: shelf\nVersion: 1\n")
    (packages / "shelf-1.dist-info/entry_points.txt").write_text(
        "[fsspec.specs]\nshelf = shelf:Shelf\n"
    )
    return folder, packages


class Arrived(EmailMessage):
    """A message as a parser sees it, and as it came."""

    received: Received


@attrs.frozen
class Gallery:
    """Runs scripts beside one worker that may fetch whatever they attach."""

    system: object
    settings: dict[str, str]
    folder: Path
    url: str

    def send(self, name: str, *arguments: str) -> list[Arrived]:
        """Run a script, and return the messages of the jobs that it names, in their order."""
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
            env={**os.environ, **self.settings},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        job_ids = done.stdout.split()
        assert job_ids, "it prints the ids of its jobs"
        return [self.message(job_id) for job_id in job_ids]

    def message(self, job_id: str) -> Arrived:
        job = self.system.ended(job_id)
        assert job.state is JobState.SENT, (job.recipients, job.attempts)
        (received,) = [m for m in self.system.smtp.received if m.message_id == job.message_id]
        message = message_from_bytes(received.data, Arrived, policy=default)
        assert not message.defects
        assert message["Bcc"] is None
        message.received = received
        return message


@pytest.fixture(scope="module")
def gallery(shared_system, file_server, shelf) -> Iterator[Gallery]:
    port, certificate = file_server
    folder, packages = shelf
    host = f"localhost:{port}"
    allowed = {
        "MAILER_ATTACHMENT_ROOTS": str(shared_system.folder),
        "MAILER_ATTACHMENT_HOSTS": host,
        "MAILER_ATTACHMENT_URIS": "shelf://invoices/",
    }
    for_workers = {
        "MAILER_ATTACHMENT_PRIVATE_HOSTS": host,
        "SSL_CERT_FILE": str(certificate),
        "PYTHONPATH": str(packages),
    }
    (folder / "invoices").mkdir()
    (folder / "invoices/42.csv").write_bytes(b"item,price\npen,2\n")
    with shared_system.worker(**allowed, **for_workers):
        settings = {**shared_system.settings, **allowed}
        yield Gallery(shared_system, settings, shared_system.folder, f"https://{host}")


def tree(part: EmailMessage) -> object:
    """Name a part; one made of others with the list of them."""
    kind, disposition = part.get_content_type(), part.get_content_disposition()
    if part.is_multipart():
        kind = f"{kind} {disposition}" if disposition else kind
        return {kind: [tree(child) for child in part.iter_parts()]}
    name = part.get_filename()
    return f"{kind} {disposition} {name}" if name else kind


def content(message: EmailMessage, kind: str) -> object:
    (found,) = [part for part in message.walk() if part.get_content_type() == kind]
    data = found.get_content()
    return data.replace("\r\n", "\n") if isinstance(data, str) else data


def test_an_email_in_text_and_html(gallery):
    (message,) = gallery.send("text_and_html")
    assert tree(message) == {"multipart/alternative": ["text/plain", "text/html"]}
    assert message["From"] == "Shop <shop@example.com>"
    assert message["To"] == "Ann <ann@example.org>"
    assert message["Reply-To"] == "help@example.com"
    assert message["Subject"] == "Your order is on its way ✓"
    assert content(message, "text/plain") == "Your order left us today.\n\nThe shop\n"
    assert "<b>today</b>" in content(message, "text/html")


def test_the_addresses_of_an_example_can_be_given(gallery):
    (message,) = gallery.send("text_and_html", "me@example.net", "you@example.net", "b@example.net")
    assert message.received.sender == message["From"] == "me@example.net"
    assert message["To"] == "you@example.net, b@example.net"
    assert message.received.recipients == ("you@example.net", "b@example.net")


def test_an_email_from_a_folder_of_templates(gallery):
    english, german = gallery.send("template")
    for message in (english, german):
        assert tree(message) == {"multipart/alternative": ["text/plain", "text/html"]}
        assert '<a class="button" ' in content(message, "text/html")
        assert 'style="background: #0b5' in content(message, "text/html")
    assert english["Subject"] == "Welcome, Ann"
    assert content(english, "text/plain") == (
        "Hello Ann,\n\nyou have an account now: https://example.com/Ann\n\n"
        "The shop, Main Street 1\n"
    )
    assert german["Subject"] == "Willkommen, Jm"
    assert "Der Laden, Hauptstraße 1" in content(german, "text/html")


def test_an_image_within_the_html(gallery):
    (message,) = gallery.send("inline_image")
    related = {"multipart/related": ["text/html", "image/png inline square.png"]}
    assert tree(message) == {"multipart/alternative": ["text/plain", related]}
    html, image = message.get_body().iter_parts()
    assert image["Content-ID"] == "<square>"
    assert 'src="cid:square"' in html.get_content()
    png = image.get_content()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82"), "the checksum is right"


def test_attachments_from_files_and_bytes(gallery):
    folder = gallery.folder / "invoices"
    folder.mkdir()
    (message,) = gallery.send("attachments", str(folder))
    assert tree(message) == {
        "multipart/mixed": [
            "text/plain",
            "text/plain attachment terms.txt",
            "text/csv attachment größe.csv",
            "application/json attachment order.json",
        ]
    }
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [
        b"Pay within 14 days.\n",
        b"size\nXL\n",
        b'{"order": 42}',
    ]


def test_an_attachment_fetched_by_https(gallery):
    (message,) = gallery.send("attachment_by_url", f"{gallery.url}/terms.pdf")
    assert tree(message) == {
        "multipart/mixed": ["text/plain", "application/pdf attachment terms.pdf"]
    }
    assert content(message, "application/pdf") == TERMS


def test_an_attachment_read_through_fsspec(gallery):
    (message,) = gallery.send("attachment_by_uri", "shelf://invoices/42.csv")
    assert tree(message) == {"multipart/mixed": ["text/plain", "text/csv attachment 42.csv"]}
    assert message.get_payload(1).get_payload(decode=True) == b"item,price\npen,2\n"


def test_an_invitation(gallery):
    (message,) = gallery.send("invitation")
    assert tree(message) == {"multipart/alternative": ["text/plain", "text/calendar"]}
    _, calendar = message.iter_parts()
    assert calendar["Content-Type"].params["method"] == "REQUEST"
    lines = calendar.get_content().split("\r\n")  # RFC 5545, 3.1
    assert [lines[0], *lines[-2:]] == ["BEGIN:VCALENDAR", "END:VCALENDAR", ""]
    assert "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:ann@example.org" in lines


def test_a_forwarded_message(gallery):
    (message,) = gallery.send("forwarded")
    assert tree(message) == {
        "multipart/mixed": ["text/plain", {"message/rfc822 attachment": ["text/plain"]}]
    }
    inner = message.get_payload(1).get_content()
    assert inner["Message-ID"] == "<pen.1@example.net>"
    assert content(inner, "text/plain") == "I have been waiting for two weeks.\n"


def test_a_newsletter(gallery):
    messages = gallery.send("newsletter")
    assert [message.received.recipients for message in messages] == [
        ("ann@example.org",),
        ("bob@example.org",),
    ]
    message = messages[0]
    assert tree(message) == {
        "multipart/alternative": ["text/plain", "text/x-amp-html", "text/html"]
    }
    assert message["List-Unsubscribe"] == (
        "<https://example.com/leave?reader=1>, <mailto:leave@example.com?subject=1>"
    )
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Importance"] == "low"
    assert "reader=2" in messages[1]["List-Unsubscribe"]
    assert "https://example.com/pens" in content(message, "text/plain"), "derived from the HTML"
    assert "⚡4email" in content(message, "text/x-amp-html")


def test_a_newsletter_that_is_enqueued_again_is_sent_once(gallery):
    first = gallery.send("newsletter", "news@example.com", "cleo@example.org")
    again = gallery.send("newsletter", "news@example.com", "cleo@example.org")
    assert again[0]["Message-ID"] == first[0]["Message-ID"]


def test_answers_in_a_thread(gallery):
    first, second = gallery.send("reply_in_thread")
    question = "<pen.1@example.net>"
    assert (first["In-Reply-To"], first["References"]) == (question, question)
    assert second["In-Reply-To"] == first["Message-ID"]
    assert second["References"] == f"{question} {first['Message-ID']}"


def test_groups_and_secret_recipients(gallery):
    club, surprise = gallery.send("groups_and_bcc")
    assert club["To"] == "Fountain pen club: ann@example.org;"
    assert club["Cc"] == "Bob <bob@example.org>"
    assert club.received.recipients == ("ann@example.org", "bob@example.org", "archive@example.com")
    assert b"archive" not in club.received.data
    assert surprise["To"] == "undisclosed-recipients:;"
    assert surprise.received.recipients == ("ann@example.org",)


def test_a_message_of_the_standard_library(gallery):
    (message,) = gallery.send("prepared_message")
    alternative = {"multipart/alternative": ["text/plain", "text/html"]}
    assert tree(message) == {"multipart/mixed": [alternative, "text/csv attachment order.csv"]}
    assert message["Subject"] == "Built elsewhere ✓"
    assert message["Date"]
    assert message.received.sender == "bounces@example.com"
    assert message.received.recipients == ("ann@example.org", "archive@example.com")
    assert b"archive" not in message.received.data


def test_addresses_of_all_scripts(gallery):
    everybody, smtputf8 = gallery.send("international")
    assert everybody.received.sender == "laden@xn--bcher-kva.example"
    assert everybody.received.recipients == ("yamada@xn--r8jz45g.example",)
    (to,) = everybody["To"].addresses
    assert (to.display_name, to.addr_spec) == ("山田太郎", "yamada@xn--r8jz45g.example")
    assert everybody["From"].addresses[0].display_name == "Bücher Müller"
    assert smtputf8.received.recipients == ("jörg@xn--bcher-kva.example",)
    assert "To: Jörg <jörg@bücher.example>\r\n".encode() in smtputf8.received.data


def test_every_script_is_tested():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"flask_app"}
    assert scripts == set(re.findall(r'\.send\(\s*"(\w+)"', Path(__file__).read_text()))
