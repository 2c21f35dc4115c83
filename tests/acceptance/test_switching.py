"""docs/switching.md: the code before and after a switch is run, and the same arrives."""

import ast
import asyncio
import inspect
import shlex
import smtplib
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import django_project  # noqa: F401 - sets Django up
import pytest
import trustme
from django.core.mail import EmailMultiAlternatives
from django.test import override_settings
from django.utils import timezone
from flask import Flask
from pages import named, rows, run_as_application, snippets, table
from web import UvicornProcess, ask

from mailer import AsyncMailer, Email, load_settings
from mailer.contrib.django import get_mailer
from mailer.testing import SmtpServerThread, refuse
from mailer.testing.sent import SentEmail
from mailer.testing.smtp_state import Received

PAGE = "docs/switching.md"
NOTE = "run by tests/acceptance/test_switching.py: "
RECIPES = {s.note.removeprefix(NOTE): s.text for s in snippets("python", "sh") if s.page == PAGE}
PAIRS = ("session", "text", "login", "HTML", "attachments", "built", "task")
RUN_HERE = {
    *(f"{name} {time}" for name in PAIRS for time in ("before", "after")),
    *("the worker", "text as it is", "django-celery-email", "Flask-Mail"),
    *(f"post-office {name}" for name in ("settings", "send", "export", "template", "drain")),
    *("fastapi-mail as it is", "fastapi-mail"),
}
LOCAL, REMOTE = '"localhost", 25', '"smtp.example.com", 587'


def test_every_recipe_is_run_here():
    notes = {s.note.removeprefix(NOTE) for s in snippets("python", "sh") if s.page == PAGE}
    assert notes - RUN_HERE == {"not run: the other library's"}
    assert notes >= RUN_HERE


def exported(recipe: str) -> dict[str, str]:
    """Read the environment variables that a recipe for the shell sets."""
    lines = [line for line in RECIPES[recipe].splitlines() if line.startswith("export ")]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line, True)[1:])


@pytest.fixture(scope="module")
def world(shared_system):
    """One worker for all, set as the recipe for a session says."""
    given = exported("session after")
    url = given["MAILER_RELAY_URL"].replace(":25", f":{shared_system.smtp.port}")
    with shared_system.worker(**given | {"MAILER_RELAY_URL": url}):
        yield shared_system


@pytest.fixture(autouse=True)
def _fresh(world, tmp_path, monkeypatch):
    world.smtp.forget()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(world, tmp_path) -> Callable[..., str]:
    """Run code as an application's."""

    def run(code: str, **settings: str) -> str:
        code = code.replace(LOCAL, f'"localhost", {world.smtp.port}')
        return run_as_application(code, world.settings | settings, tmp_path, timeout=30)

    return run


def sent(received: Received) -> SentEmail:
    return SentEmail(received.data, received.recipients, received.sender, (), {}, "")


def told(received: Received) -> dict[str, Any]:
    """Tell what recipients see, and who they are."""
    email = sent(received)
    names = ("From", "To", "Cc", "Bcc", "Reply-To", "Subject")
    return {
        "envelope": (email.envelope_sender, sorted(email.recipients)),
        "headers": {name: email.headers[name] for name in names if name in email.headers},
        "bodies": [body and body.strip() for body in (email.text, email.html)],
        "attachments": [(a.filename, a.content_type, a.content) for a in email.attachments],
    }


# smtplib, and a task around it


def test_a_session_can_be_had(run):
    run(RECIPES["session before"])


def test_a_text(world, run):
    run(RECIPES["text before"])
    receipt = run(RECIPES["text after"])
    built, _, _ = RECIPES["text before"].partition("try:")
    run(f"{built}\nfrom mailer import Email, Mailer\nmailer = Mailer()\n{RECIPES['text as it is']}")
    before, *after = world.smtp.wait_for(3)
    assert told(before)["headers"]["From"] == "Shop <shop@example.com>"
    assert [told(each) for each in after] == [told(before)] * 2
    assert {each.client for each in (before, *after)} == {"shop.example.com"}
    assert world.mailer.get(receipt.strip()).subject == "Your order"


@pytest.mark.parametrize("name", ["HTML", "attachments", "task"])
def test_what_arrives_is_what_arrived_before(name, world, run):
    Path("order.csv").write_bytes(b"item,price\r\n\xfc,2\n")
    eager = 'app = Celery("shop")\napp.conf.task_always_eager = True\n'
    run(RECIPES[f"{name} before"].replace('app = Celery("shop")\n', eager))
    run(RECIPES[f"{name} after"])
    before, after = world.smtp.wait_for(2)
    assert told(after) == told(before)
    assert any(told(before)["bodies"])
    assert len(told(before)["attachments"]) == (name == "attachments")


def test_who_was_refused_is_told(world, run):
    world.smtp.faults = [refuse("nobody@")]
    built, _, _ = RECIPES["built before"].partition("with smtplib")
    before = ast.literal_eval(run(RECIPES["built before"]))
    after = ast.literal_eval(run(built + RECIPES["built after"]))
    assert after == {who: f"{code} {why.decode()}" for who, (code, why) in before.items()}
    assert after.keys() == {"nobody@example.org"}
    first, second = world.smtp.wait_for(2)
    assert told(second) == told(first)
    assert "archive@example.com" in second.recipients
    assert b"archive@" not in second.data


def test_a_remote_server_with_login(world, run, tmp_path):
    authority, tls = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with SmtpServerThread(starttls=tls, users={"shop": "s3cret/"}) as server:
        settings = exported("the worker") | {
            "MAILER_REDIS_URL": world.redis.url,
            "MAILER_KEY_PREFIX": f"{world.settings['MAILER_KEY_PREFIX']}-remote",
            "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        }
        relay = settings["MAILER_RELAY_URL"]
        settings["MAILER_RELAY_URL"] = relay.replace(
            "smtp.example.com:587", f"localhost:{server.port}"
        )
        with world.worker("w2", **settings):
            run(RECIPES["login before"].replace(REMOTE, f'"localhost", {server.port}'), **settings)
            server.wait_for(1)
            run(RECIPES["login after"], **settings)
            before, after = server.wait_for(2)
    assert told(after) == told(before)
    assert [(each.user, each.secure) for each in (before, after)] == [("shop", True)] * 2


def test_every_argument_and_exception_of_smtplib_is_in_a_table():
    arguments = table(PAGE, "smtplib")
    calls = (smtplib.SMTP, smtplib.SMTP.sendmail)
    wanted = {name for call in calls for name in inspect.signature(call).parameters} - {
        "self",
        "msg",
    }
    assert [name for name in wanted if name not in arguments] == []
    documented = {name for row in rows(table(PAGE, "exceptions")) for name in named(row[0])}
    errors = {
        name for name in vars(smtplib) if name.startswith("SMTP") and name.endswith(("ed", "Error"))
    }
    assert errors - documented == set()


# Django


@pytest.fixture
def django(world, tmp_path) -> Iterator[None]:
    """Django with the settings of the recipes, and templates in a folder of the test."""
    given: dict[str, Any] = {"INSTALLED_APPS": []}
    exec(RECIPES["post-office settings"], given)
    here = {
        "REDIS_URL": world.redis.url,
        "KEY_PREFIX": world.settings["MAILER_KEY_PREFIX"],
    }
    engine = "django.template.backends.django.DjangoTemplates"
    with override_settings(
        EMAIL_BACKEND=given["EMAIL_BACKEND"],
        MAILER=given["MAILER"] | here,
        TEMPLATES=[{"BACKEND": engine, "DIRS": [tmp_path / "templates"]}],
    ):
        yield


def test_django_celery_email_takes_one_line(world, django):
    given: dict[str, Any] = {}
    exec(RECIPES["django-celery-email"], given)
    message = EmailMultiAlternatives("Hi", "Hello.", "shop@example.com", ["ann@example.org"])
    with override_settings(EMAIL_BACKEND=given["EMAIL_BACKEND"]):
        assert message.send() == 1
    (received,) = world.smtp.wait_for(1)
    assert sent(received).text == "Hello.\n"


def test_mail_send_of_post_office(world, django):
    now = timezone.now()
    code = {"in_a_second": now + timedelta(seconds=0.2), "tomorrow": now + timedelta(days=1)}
    exec(RECIPES["post-office send"], code)
    (received,) = world.smtp.wait_for(1)
    everybody = ["ann@example.org", "archive@example.com", "books@example.com"]
    assert told(received) == {
        "envelope": ("shop@example.com", everybody),
        "headers": {
            "From": "Shop <shop@example.com>",
            "To": "ann@example.org",
            "Cc": "books@example.com",
            "Reply-To": "help@example.com",
            "Subject": "Your order",
        },
        "bodies": ["Thank you, Ann!", "<p>Thank you, Ann!</p>"],
        "attachments": [("terms.txt", "text/plain", b"Be kind.")],
    }
    job = get_mailer().get(code["message"].job_id)
    assert (job.priority, job.attempts[0].started_at > code["in_a_second"]) == ("high", True)
    assert job.expires_at


class Rows(list):
    """As much of Django's QuerySet as the recipes use."""

    def update(self, **changes: Any) -> None:
        for row in self:
            vars(row).update(changes)


class Table:
    """Likewise of a manager."""

    def __init__(self, *rows: SimpleNamespace) -> None:
        self.objects = self
        self.rows = rows

    def all(self) -> Rows:
        return Rows(self.rows)

    def filter(self, pk: int | None = None, status__in: tuple[int, ...] = ()) -> Rows:
        return Rows(row for row in self.rows if row.pk == pk or row.status in status__in)


@pytest.fixture
def post_office(monkeypatch) -> ModuleType:
    """A stand-in for its models: it is no dependency of ours."""
    models = ModuleType("post_office.models")
    models.STATUS = SimpleNamespace(sent=0, failed=1, queued=2, requeued=3)
    monkeypatch.setitem(sys.modules, "post_office", ModuleType("post_office"))
    monkeypatch.setitem(sys.modules, "post_office.models", models)
    return models


def test_templates_of_post_office_become_files(world, django, post_office):
    fields = {"content": "Halo {{ name }}.\n", "html_content": "<p>Halo {{ name }}.</p>"}
    post_office.EmailTemplate = Table(
        SimpleNamespace(
            name="welcome", language="", subject="Welcome", content="", html_content=""
        ),
        SimpleNamespace(name="welcome", language="id", subject="Selamat datang", **fields),
    )
    for _ in range(2):
        exec(RECIPES["post-office export"], {})
    assert Path("templates/emails/welcome/subject.txt").read_text() == "Welcome"
    exec(RECIPES["post-office template"], {})
    (received,) = world.smtp.wait_for(1)
    email = sent(received)
    assert (email.subject, email.text) == ("Selamat datang", "Halo Ann.\n")
    assert email.html == "<p>Halo Ann.</p>"


def test_what_waits_in_post_office_is_moved_once(world, django, post_office):
    def row(pk: int, status: int, **fields: Any) -> SimpleNamespace:
        message = EmailMultiAlternatives(f"{pk}", "Hi", "shop@example.com", ["ann@example.org"])
        times = {"scheduled_time": None, "expires_at": None, **fields}
        return SimpleNamespace(
            pk=pk, status=status, priority=pk % 4, email_message=lambda: message, **times
        )

    status = post_office.STATUS
    tomorrow = timezone.now().replace(microsecond=0) + timedelta(days=1)
    post_office.Email = Table(
        row(1, status.queued), row(2, status.requeued, scheduled_time=tomorrow), row(3, status.sent)
    )
    before = {job.id for job in get_mailer().list()}
    exec(RECIPES["post-office drain"], {})
    post_office.Email.rows[0].status = status.queued  # as if it had been killed right before
    exec(RECIPES["post-office drain"], {})
    moved = {job.subject: job for job in get_mailer().list() if job.id not in before}
    assert moved.keys() == {"1", "2"}
    assert (moved["2"].next_attempt_at, moved["2"].priority) == (tomorrow, "high")
    assert {row.status for row in post_office.Email.rows} == {status.sent}
    assert [sent(each).subject for each in world.smtp.wait_for(1)] == ["1"]


# Flask-Mail, fastapi-mail


def test_flask_mail_takes_one_line(world):
    code: dict[str, Any] = {}
    exec(RECIPES["Flask-Mail"], code)
    app = Flask("shop")
    app.config.update(
        MAIL_DEFAULT_SENDER=("Shop", "shop@example.com"),
        MAILER_REDIS_URL=world.redis.url,
        MAILER_KEY_PREFIX=world.settings["MAILER_KEY_PREFIX"],
    )
    mail = code["Mail"](app)
    with app.app_context():
        mail.send(code["Message"]("Hi", recipients=["ann@example.org"], html="<p>Hi</p>"))
    (received,) = world.smtp.wait_for(1)
    assert told(received)["bodies"] == [None, "<p>Hi</p>"]
    mail.mailer.close()


def built_by_fastapi_mail() -> Message:
    """As its ``MailMsg`` does it."""
    message = MIMEMultipart("mixed")
    message.set_charset("utf-8")
    message.attach(MIMEText("<p>Grüße</p>", "html", "utf-8"))
    for name, value in {
        "To": "ann@example.org",
        "From": "shop@example.com",
        "Subject": "Hi",
    }.items():
        message[name] = value
    message["Bcc"] = "Archive <archive@example.com>"
    return message


async def test_a_message_of_fastapi_mail_is_sent_as_it_is(world):
    prefix = world.settings["MAILER_KEY_PREFIX"]
    settings = load_settings(redis_url=world.redis.url, key_prefix=prefix)
    fast_mail = SimpleNamespace(get_message=lambda _: asyncio.sleep(0, built_by_fastapi_mail()))
    async with AsyncMailer(settings=settings) as mailer:
        code = {"mailer": mailer, "Email": Email, "fast_mail": fast_mail}
        exec(RECIPES["fastapi-mail as it is"], code)
        await code["send_message"](None)
    (received,) = await asyncio.to_thread(world.smtp.wait_for, 1)
    assert received.recipients == ("ann@example.org", "archive@example.com")
    assert b"archive@" not in received.data
    assert sent(received).subject == "Hi"


def test_an_application_with_fastapi_mail(world, tmp_path):
    (tmp_path / "templates/welcome").mkdir(parents=True)
    (tmp_path / "templates/welcome/body.html").write_text("<p>Hello {{ name }}</p>")
    (tmp_path / "shop_of_fastapi.py").write_text(RECIPES["fastapi-mail"])
    with UvicornProcess("shop_of_fastapi:app", tmp_path, world.settings, tmp_path / "log") as app:
        status, answer = ask(f"{app.url}/signup?address=ann@example.org", signup="now")
    assert status == 202
    (received,) = world.smtp.wait_for(1)
    assert told(received)["bodies"] == ["Hello Ann", "<p>Hello Ann</p>"]
    assert world.mailer.get(answer["email"]).subject == "Welcome"
