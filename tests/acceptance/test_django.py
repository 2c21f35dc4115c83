"""Django through a real worker: what arrives is what its SMTP backend sends; and the example."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage as LibraryMessage
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.policy import default
from pathlib import Path

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django_project import DEPRECATED

from mailer.contrib.django import EmailBackend
from mailer.testing import SmtpServerThread, eventually
from mailer.testing.ports import free_port
from mailer.testing.processes import Process
from mailer.testing.smtp_state import Received

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"
OWN = {"date", "message-id", "mime-version"}  # that differ from message to message

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]


@pytest.fixture(scope="module")
def worker(shared_system) -> Iterator[None]:
    with shared_system.worker():
        yield


# What arrives

MESSAGES: list[Callable[[], EmailMessage]] = []


def compared(make: Callable[[], EmailMessage]) -> Callable[[], EmailMessage]:
    MESSAGES.append(make)
    return make


def message(kind: type = EmailMessage, **fields) -> EmailMessage:
    return kind(
        **{
            "subject": "Your order ✓",
            "body": "Grüße\n\nThe shop\n",
            "from_email": "Shop <shop@example.com>",
            "to": ["Jörg Müller <jm@example.org>", '"Doe, Jane" <jane@example.org>'],
            **fields,
        }
    )


def alternatives(*contents: tuple[object, str], **fields) -> EmailMessage:
    made = message(EmailMultiAlternatives, **fields)
    for content, kind in contents:
        made.attach_alternative(content, kind)
    return made


HTML = ("<p>Grüße</p>\n", "text/html")
PDF = ("a.pdf", b"%PDF-1.7 \x00\xff", "application/pdf")


@compared
def a_text():
    return message(
        cc=["c@example.org"],
        bcc=["secret@example.org"],
        reply_to=["help@example.com", "Ö <o@bücher.example>"],
        headers={"X-Order": "42", "List-Unsubscribe": "<mailto:unsub@example.com>"},
    )


@compared
def nothing():
    return message(subject="", body="")


@compared
def long_lines_and_dots():
    return message(body=f".\n..\n{'x' * 2000}\n{'ü' * 1500}\nFrom here\n")


@compared
def text_and_html():
    return alternatives(HTML)


@compared
def html_alone():
    made = message(body="<p>Grüße</p>")
    made.content_subtype = "html"
    return made


@compared
def html_and_no_text():
    return alternatives(HTML, body="")


@compared
def many_alternatives():
    invitation = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
    amp = "<!doctype html><html ⚡4email></html>"
    return alternatives(
        (amp, "text/x-amp-html"),
        HTML,
        (invitation, "text/calendar; method=REQUEST"),
        (b"{}", "application/json"),
    )


@compared
def attachments_of_all_kinds():
    made = alternatives(HTML)
    made.attach(*PDF)
    made.attach("größe.csv", "größe\n1\n", "text/csv")
    made.attach("page.html", "<p>ü</p>", "text/html")
    made.attach("empty.bin", b"", "application/octet-stream")
    made.attach("binary.txt", b"\xff\xfe", "text/plain")
    made.attach("path/../name.pdf", b"%PDF", "application/pdf")
    made.attach(None, b"no name", "application/pdf")
    return made


@compared
def one_attachment_and_no_text():
    return message(body="", attachments=[PDF])


@compared
def a_message_forwarded():
    made = message()
    made.attach(
        "inner.eml",
        message(subject="Inner", headers={"Message-ID": "<1@x.example>"}),
        "message/rfc822",
    )
    return made


@compared
def an_inline_image():
    image = MIMEImage(PNG, "png")
    image.add_header("Content-ID", "<logo>")
    image.add_header("Content-Disposition", "inline", filename="logo.png")
    made = alternatives(('<img src="cid:logo">', "text/html"))
    made.attach(image)
    return made


@compared
def a_part_as_it_is():
    part = MIMEBase("application", "x-thing", charset="us-ascii")
    part.set_payload("thing")
    return message(attachments=[part])


@compared
def headers_that_django_lets_one_set():
    return message(
        headers={
            "From": "Office <office@example.com>",
            "To": "list@example.com",
            "Sender": "Jörg <jm@example.com>",
            "Message-ID": "<given@example.com>",
            "Date": "Fri, 09 Nov 2001 01:08:47 -0000",
            "References": "<1@example.com> <2@example.com>",
            "X-Words": "Grüße ✓ " * 12,
            "X-Number": "42",
        }
    )


@compared
def another_charset():
    made = message(subject="Grüße", to=["jm@example.org"])
    made.encoding = "iso-8859-1"
    return made


@compared
def encoded_words():
    return message(
        subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", to=["=?utf-8?q?J=C3=B6rg?= <j@example.org>"]
    )


@compared
def international_domains():
    return message(from_email="laden@bücher.example", to=["Jörg <jm@bücher.example>"])


def headers(message: LibraryMessage) -> list[tuple[str, object]]:
    return sorted(
        (name.lower(), addresses(value) if hasattr(value, "addresses") else str(value))
        for name, value in message.items()
        if name.lower() not in OWN and not name.lower().startswith("content-")
    )


def addresses(value) -> list[Address]:
    return [Address(a.display_name, addr_spec=a.addr_spec) for a in value.addresses]


def parts(message: LibraryMessage) -> list[tuple]:
    """List all parts: what each is, and what a reader gets of it."""
    found = []
    for part in message.walk():
        kind, charset = part.get_content_type(), part.get_content_charset()
        content = None
        if part.get_content_maintype() == "text":
            content = part.get_content().replace("\r\n", "\n").removesuffix("\n")
        elif not part.is_multipart():
            content = part.get_payload(decode=True)
        params = {
            k: v for k, v in part["Content-Type"].params.items() if k not in {"boundary", "charset"}
        }
        about = (part.get_content_disposition(), part.get_filename(), part["Content-ID"])
        found.append((kind, params, charset, *about, content))
    return found


def parsed(received: Received) -> LibraryMessage:
    message = message_from_bytes(received.data, policy=default)
    assert not message.defects
    return message


@pytest.fixture(scope="module")
def theirs() -> Iterator[SmtpServerThread]:
    with SmtpServerThread() as server:
        yield server


@pytest.fixture(scope="module")
def ours(shared_system, worker) -> EmailBackend:
    settings = shared_system.settings
    return EmailBackend(
        redis_url=settings["MAILER_REDIS_URL"], key_prefix=settings["MAILER_KEY_PREFIX"]
    )


@pytest.mark.parametrize("make", MESSAGES, ids=lambda make: make.__name__)
def test_what_arrives_is_what_django_s_smtp_backend_sends(make, theirs, ours, shared_system):
    sent = make()
    assert ours.send_messages([sent]) == 1
    smtp_backend = SmtpBackend(host="127.0.0.1", port=theirs.port, alias="theirs")
    assert smtp_backend.send_messages([sent]) == 1
    expected = theirs.received[-1]
    assert shared_system.ended(sent.job_id).state == "sent"
    (arrived,) = [m for m in shared_system.smtp.received if m.message_id == sent.receipt.message_id]
    assert arrived.sender == expected.sender
    assert arrived.recipients == expected.recipients
    assert parts(parsed(arrived)) == parts(parsed(expected))
    assert headers(parsed(arrived)) == headers(parsed(expected))
    given = {name.lower() for name in sent.extra_headers} & {"message-id", "date"}
    for name in given:
        assert parsed(arrived)[name] == parsed(expected)[name]


# The example


class Shop(Process):
    """``manage.py runserver`` of the example, on a free port, with a database of its own."""

    folder = ROOT / "examples/django_shop"

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        paths = [str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **settings,
            "PYTHONPATH": os.pathsep.join(paths),
            "SHOP_DATABASE": str(folder / "shop.sqlite3"),
        }
        run = ["manage", "runserver", "--noreload", "--nothreading", str(self.port)]
        super().__init__(run, self.environment, folder / "shop.log")

    def manage(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, str(self.folder / "manage.py"), *words],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def ask(self, path: str, **form: str) -> tuple[int, str]:
        data = urllib.parse.urlencode(form).encode() if form else None
        try:
            with urllib.request.urlopen(self.url + path, data, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def _ready(self) -> bool:
        try:
            return self.running and bool(self.ask("/admin/login/"))
        except urllib.error.URLError:
            return False


@pytest.fixture(scope="module")
def shop(shared_system, worker) -> Iterator[Shop]:
    shop = Shop(shared_system.settings, shared_system.folder)
    shop.manage("migrate", "--verbosity=0")
    with shop:
        yield shop


def test_an_order_in_the_django_shop_becomes_a_message(shop, shared_system):
    status, answer = shop.ask("/orders", email="jm@example.org", item="Pen & ink")
    assert status == 202, answer
    order = json.loads(answer)["order"]
    state = f"/orders/{order}/email"
    eventually(lambda: shop.ask(state) == (200, '{"email": "sent"}'))
    (job,) = shared_system.mailer.list(tag="shop")
    assert job.metadata == {"order": order}
    (arrived,) = [m for m in shared_system.smtp.received if m.message_id == job.message_id]
    received = parsed(arrived)
    assert received["Subject"] == f"Your order {order} ✓"
    text, html = received.iter_parts()
    assert "your order of: Pen & ink" in text.get_content()
    assert "<b>Pen &amp; ink</b>" in html.get_content()


def test_an_order_that_fails_after_its_email_was_sent_leaves_nothing(shop, shared_system):
    """The email was handed to the backend already; the request's transaction is rolled back."""
    before = len(shared_system.mailer.list(tag="shop"))
    status, answer = shop.ask("/orders", email="jm@example.org", item="unicorn")
    assert status == 500
    assert "SoldOut" in answer
    assert len(shared_system.mailer.list(tag="shop")) == before
    assert "unicorn" not in shop.manage("dumpdata", "shop")


def test_a_wrong_order_is_answered_with_the_reason(shop):
    status, answer = shop.ask("/orders", email="nobody", item="Pen")
    assert status == 400
    assert json.loads(answer)["errors"].keys() == {"email"}


def test_the_mailer_command_of_the_shop_reads_its_redis(shop, shared_system):
    shop.ask("/orders", email="list@example.org", item="Pen")
    (job,) = shared_system.mailer.list(recipient="list@example.org")
    listed = json.loads(shop.manage("mailer", "list", "--recipient=list@example.org", "--json"))
    assert [each["id"] for each in listed] == [job.id]
