"""What the documentation says is so: snippets run, and tables say what the code says."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from pages import NOT_RUN, PAGES, ROOT, named, rows, snippets, table
from sabotage.table import markdown as sabotage_table

from mailer import (
    Attachment,
    Email,
    JobState,
    RecipientState,
    RetryPolicy,
    Settings,
    load_settings,
)
from mailer.attachments.files import sha256_of
from mailer.dkim import signature
from mailer.dkim.signing import dkim_keys
from mailer.enqueueing import new_job
from mailer.job import TRANSITIONS
from mailer.message import Source
from mailer.mime import render
from mailer.store.blobs import PART_BYTES
from mailer.testing import eventually, greylist
from mailer.testing.sent import drawn
from workers import contents

# Tables

_SABOTAGE = "docs/reliability.md"


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory:
        return "the host's name"
    value = field.default
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(f"{part:g}" for part in value)
    if isinstance(value, float):
        value = f"{value:.10g}"
    return "—" if value in (None, "", {}) else f"`{value}`"


def settings_table() -> str:
    lines = ["| Setting | Default | |", "|---|---|---|"]
    lines += [
        f"| `MAILER_{name.upper()}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines)


def test_the_table_of_settings_says_what_the_code_says():
    right = settings_table()
    assert table("README.md", "settings") == right, f"paste this into README.md:\n\n{right}\n"


def test_every_job_state_has_its_row_with_the_states_that_can_follow():
    def following(state: JobState) -> str:
        states = [f"`{after}`" for before, after in TRANSITIONS if before is state]
        return ", ".join(states) or "none"

    found = [(row[0], row[2]) for row in rows(table("README.md", "states"))]
    assert found == [(f"`{state}`", following(state)) for state in JobState]


def test_every_recipient_state_has_its_row():
    found = [row[0] for row in rows(table("README.md", "recipients"))]
    assert found == [f"`{state}`" for state in RecipientState]


def transitions_table() -> str:
    lines = ["| From | To | Cause |", "|---|---|---|"]
    for (before, after), cause in TRANSITIONS.items():
        lines.append(f"| {f'`{before}`' if before else '—'} | `{after}` | {cause} |")
    return "\n".join(lines)


def test_the_lifecycle_has_every_transition_and_its_cause():
    right = transitions_table()
    assert table("docs/lifecycle.md", "transitions") == right, (
        f"paste this into docs/lifecycle.md:\n\n{right}\n"
    )


def test_the_state_diagram_draws_every_transition_and_no_other():
    diagram = next(snippets("mermaid")).text
    drawn = re.findall(r"^ +(\S+) --> (\w+)", diagram, re.MULTILINE)
    assert sorted(edge for edge in drawn if edge[1] != "[*]") == sorted(
        (before or "[*]", str(after)) for before, after in TRANSITIONS
    )


def test_the_table_of_removed_steps_says_what_is_tried():
    right = sabotage_table()
    assert table(_SABOTAGE, "sabotage") == right, f"paste this into {_SABOTAGE}:\n\n{right}\n"


def test_the_lifecycle_names_every_key_in_redis():
    from mailer.store import keys

    documented = re.findall(r"``\{p\}(:\S+?)``", keys.Keys.__doc__ or "")
    assert documented
    text = (ROOT / "docs/lifecycle.md").read_text()
    assert [key for key in documented if f"`{{p}}{key}`" not in text] == []


# Messages

PDF, PNG = b"%PDF-1.7 \x00\xff", b"\x89PNG\r\n\x1a\n"
AN_ATTACHMENT = Attachment.from_bytes(PDF, filename="a.pdf", content_id="1")
AN_INLINE_IMAGE = Attachment.from_bytes(PNG, filename="logo.png", content_id="logo")
LATER = datetime.now(UTC) + timedelta(days=1)
LEAST = {"from_email": "me@example.com", "bcc": "secret@example.org"}
VALUES: Mapping[str, Any] = {
    "from_email": "Shop <shop@example.net>",
    "to": ["ann@example.org", "bob@example.org"],
    "cc": "cleo@example.org",
    "bcc": "another@example.org",
    "reply_to": "help@example.com",
    "sender": "assistant@example.com",
    "subject": "Grüße",
    "text": "Hi\n",
    "html": "<p>Hi</p>\n",
    "text_from_html": True,
    "amp": "<!doctype html><html ⚡4email></html>\n",
    "calendar": "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n",
    "in_reply_to": "<1@example.org>",
    "references": ["<0@example.org>", "<1@example.org>"],
    "list_unsubscribe": "https://example.com/leave",
    "one_click_unsubscribe": True,
    "auto_submitted": "auto-generated",
    "importance": "high",
    "headers": {"X-Order": "42"},
    "attachments": [AN_ATTACHMENT],
    "envelope_sender": "bounces@example.com",
    "priority": "high",
    "scheduled_at": LATER,
    "expires_at": LATER,
    "tags": ["order"],
    "metadata": {"order": 42},
    "idempotency_key": "42",
    "supersede_key": "reset-ann",
    "delivery": "at-least-once",
    "relay": "marketing",
    "dsn_notify": ["failure", "delay"],
    "dsn_return": "headers",
    "retry": RetryPolicy(),
}
NEEDED = {
    "text_from_html": ("html",),
    "amp": ("html",),
    "one_click_unsubscribe": ("list_unsubscribe",),
}


def on_the_wire(email: Email, elsewhere: bytes = b"") -> EmailMessage:
    """Build the message that a worker sends to a relay without extensions.

    Args:
        email: as an application writes it.
        elsewhere: what its one attachment is, where a worker has to fetch or read it.
    """
    job = new_job(email, load_settings())
    message, found = job.message, job.blobs
    if elsewhere:
        source = Source(sha256_of(elsewhere), len(elsewhere))
        (reference,) = message.attachments
        reference = msgspec.structs.replace(reference, source=source)
        message = msgspec.structs.replace(message, attachments=(reference,))
        found = {source.sha256: elsewhere}
    draft = render(message, found)
    wire = bytes(draft).replace(job.id.encode(), b"id")
    return message_from_bytes(wire, policy=default)


def said(message: EmailMessage) -> set[tuple[str, str]]:
    """Name each header and its value, and each part of the body and its content."""
    of_a_part = {"Content-Type", "Content-Disposition", "Content-ID"}
    found = {(name, value) for name, value in message.items() if not name.startswith("Content-")}
    for part in message.walk():
        if part.get_content_disposition():
            found |= {(name, value) for name, value in part.items() if name in of_a_part}
        elif not part.is_multipart():
            found.add((part.get_content_type(), part.get_content()))
    return found


def test_every_field_of_an_email_has_its_row():
    found = [row[0] for row in rows(table("docs/messages.md", "fields"))]
    assert found == [f"`{field.name}`" for field in attrs.fields(Email)]
    assert {*VALUES, "prepared"} == {field.name for field in attrs.fields(Email)}, "all are tested"


@pytest.mark.parametrize("field", VALUES)
def test_a_field_writes_the_headers_and_parts_of_its_row_and_no_others(field):
    (row,) = [row for row in rows(table("docs/messages.md", "fields")) if row[0] == f"`{field}`"]
    without = LEAST | {name: VALUES[name] for name in NEEDED.get(field, ())}
    new = said(on_the_wire(Email(**without | {field: VALUES[field]})))
    assert {name for name, _ in new - said(on_the_wire(Email(**without)))} == set(named(row[1]))


def test_all_fields_together_write_the_headers_and_parts_of_all_rows():
    fields = dict(VALUES)
    del fields["text_from_html"]  # is instead of text
    fields["expires_at"] = LATER + timedelta(days=1)
    written = {name for name, _ in said(on_the_wire(Email(**fields)))}
    documented = {
        name for row in rows(table("docs/messages.md", "fields")) for name in named(row[1])
    }
    assert written == documented | {"MIME-Version", "Date"}
    assert set(named(_sentence("The mailer also writes"))) == {"MIME-Version", "Date", "Message-ID"}


def _sentence(beginning: str) -> str:
    text = (ROOT / "docs/messages.md").read_text()
    return text[text.index(beginning) :].partition(". ")[0]


CONSTRUCTORS = {
    "from_path": {"path": "a.pdf", "content_id": "1"},
    "from_bytes": {"content": PDF, "filename": "a.pdf", "content_id": "1"},
    "from_message": {"message": b"From: a@example.com\n\nHi\n"},
    "from_url": {"url": "https://files.example.com/a.pdf", "content_id": "1"},
    "from_uri": {"uri": "s3://invoices/a.pdf", "content_id": "1"},
}


def test_every_constructor_of_an_attachment_has_its_row():
    found = [(row[0], named(row[1])) for row in rows(table("docs/messages.md", "attachments"))]
    constructors = [name for name in vars(Attachment) if name.startswith("from_")]
    assert found == [
        (f"`{name}`", list(inspect.signature(getattr(Attachment, name)).parameters))
        for name in constructors
    ]
    assert constructors == [*CONSTRUCTORS], "all are tested"


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
def test_an_attachment_has_the_headers_of_its_row(constructor, tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(PDF)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAILER_ATTACHMENT_ROOTS", str(tmp_path))
    monkeypatch.setenv("MAILER_ATTACHMENT_HOSTS", "files.example.com")
    monkeypatch.setenv("MAILER_ATTACHMENT_URIS", "s3://invoices/")
    attachment = getattr(Attachment, constructor)(**CONSTRUCTORS[constructor])
    elsewhere = b"" if attachment.content else PDF
    message = on_the_wire(Email(**LEAST, attachments=[attachment]), elsewhere)
    (part,) = message.iter_attachments()
    table_rows = rows(table("docs/messages.md", "attachments"))
    (row,) = [row for row in table_rows if row[0] == f"`{constructor}`"]
    assert set(part.keys()) - {"Content-Transfer-Encoding"} == set(named(row[2]))
    if constructor == "from_message":
        assert part.get_content_type() == "message/rfc822"
    else:
        assert (part.get_filename(), part.get_content()) == ("a.pdf", PDF)


def test_parts_nest_as_drawn():
    text = f"{table('docs/messages.md', 'trees')}\n"
    trees = re.findall(
        r"^(\S[^\n]*?):[^\n]*\n\n```text\n(.*?)\n```\n", text, re.MULTILINE | re.DOTALL
    )
    assert len(trees) == text.count("```text")
    for caption, tree in trees:
        attached = [AN_INLINE_IMAGE] if "an inline image" in caption else []
        attached += [AN_ATTACHMENT] if "an attachment" in caption.lower() else []
        # an attachment with a content id is an inline image to an HTML body
        attached = [attrs.evolve(a, content_id=None) if a is AN_ATTACHMENT else a for a in attached]
        fields = {name: VALUES[name] for name in named(caption)}
        right = drawn(on_the_wire(Email(**LEAST, **fields, attachments=attached)))
        assert tree == right, f"{caption}\n\n{right}\n"


def test_the_sizes_of_large_files_are_those_of_the_code():
    text = (ROOT / "docs/messages.md").read_text()
    assert f"over {PART_BYTES // 1024} KiB are streamed" in text
    assert f"up to {contents._SHARED_BYTES // 1024**2} MiB in one" in text


@pytest.mark.parametrize("name", ["signed", "oversigned"])
def test_the_documentation_lists_the_headers_that_are_signed(name):
    documented = [header.lower() for header in named(table("docs/messages.md", name))]
    names = signature._NEVER_MORE
    if name == "signed":
        names += signature._IF_PRESENT
    assert sorted(documented) == sorted(name.decode() for name in names)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_dkim_keys_are_made_named_and_published_as_documented(tmp_path, monkeypatch):
    make, publish = [s.text for s in snippets("sh") if "openssl" in s.text]
    (config,) = [s.text for s in snippets("toml") if "[[dkim." in s.text]
    shell = ["sh", "-e", "-c"]
    subprocess.run([*shell, make], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    records = subprocess.run(
        [*shell, publish], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30
    ).stdout
    (tmp_path / "mailer.toml").write_text(config.replace("/etc/mailer/dkim", str(tmp_path)))
    monkeypatch.setitem(Settings.model_config, "toml_file", tmp_path / "mailer.toml")
    keys = dkim_keys(load_settings())["example.com"]
    assert records.splitlines() == [key.dns_record for key in keys]
    text = (ROOT / "docs/messages.md").read_text()
    assert [key.dns_name for key in keys if f"`{key.dns_name}`" not in text] == []


# Snippets


def test_every_snippet_is_run_or_says_why_not():
    silent = [
        str(snippet)
        for snippet in snippets("", "sh", "bash", "shell")
        if not snippet.note.startswith(NOT_RUN)
    ]
    assert silent == [], "put <!-- not run: the reason --> right above, or make it ```console"


@pytest.mark.parametrize("snippet", [s for s in snippets("python") if s.runs], ids=str)
def test_a_python_snippet_runs(snippet, system, tmp_path):
    with system.worker(MAILER_ATTACHMENT_ROOTS=str(tmp_path)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", snippet.text],
            env={**os.environ, **system.settings, "MAILER_ATTACHMENT_ROOTS": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", [s for s in snippets("console") if s.runs], ids=str)
def test_a_console_snippet_runs(snippet, system, smtp, tmp_path):
    """Each line after ``$``; ``ID`` stands for a job that was deferred."""
    smtp.faults.append(greylist("grey@", times=None))
    folder = Path(sys.executable).parent
    environment = {
        **os.environ,
        **system.settings,
        "MAILER_RETRY_DELAYS": "600",
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }
    with system.worker(MAILER_RETRY_DELAYS="600"):
        for line in re.findall(r"^\$ (.*)$", snippet.text, re.MULTILINE):
            words = shlex.split(line, comments=True)
            if "ID" in words:
                job_id = system.enqueue("grey@example.org")
                eventually(lambda job_id=job_id: _is_deferred(system, job_id))
                words[words.index("ID")] = job_id
            done = subprocess.run(
                words,
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def _is_deferred(system, job_id: str) -> bool:
    return system.mailer.get(job_id).state is JobState.DEFERRED


def test_the_readme_shows_the_flask_application_verbatim():
    shown = [s.text for s in snippets("python") if "Flask(__name__)" in s.text]
    assert shown == [(ROOT / "examples/flask_app.py").read_text()]


# The two commands


@pytest.mark.parametrize(
    ("target", "command"),
    [("demo", "/mailer demo"), ("test", "/python -m pytest -n auto --dist loadfile")],
)
def test_a_make_target_runs_what_the_tests_run(target, command):
    # a make of its own, although `make test` may have started us
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL"}}
    done = subprocess.run(
        ["make", "-n", target, "ARGS="],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.splitlines()[-1].strip().endswith(command)


@pytest.mark.slow
def test_the_demo_ends_as_it_should(tmp_path):
    """Every email ended as its scene says, or the exit code would be 1."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAILER_")}
    done = subprocess.run(
        [sys.executable, "-m", "mailer.cli", "demo"],
        env={**environment, "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,  # as promised
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every email ended as it should." in done.stdout
    assert re.search(r"relay partner is paused until .*", done.stdout), "it shows a paused relay"
    assert "news, main" in done.stdout, "it shows how one relay takes over from another"
    assert len(list(tmp_path.glob("mailer-demo-*/inbox/**/*.eml"))) == 10


# What the documentation names


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        found = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert found <= targets, page


def test_every_link_inside_the_repository_leads_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_every_setting_that_is_named_exists():
    known = {f"MAILER_{name.upper()}" for name in Settings.model_fields} | {"MAILER_CONFIG"}
    for page in [*PAGES, ROOT / "docker-compose.yml", ROOT / "Dockerfile"]:
        found = set(re.findall(r"\bMAILER_[A-Z][A-Z_]*[A-Z]\b(?!_)", page.read_text()))
        assert found <= known, page.name


def test_the_compose_file_has_the_services_of_the_try_out():
    """PyYAML is no dependency; this reads the names at the first level under ``services``."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert "\t" not in text
    services = re.search(r"^services:\n((?:  .*\n|\n)*)", text, re.MULTILINE)
    assert services
    names = re.findall(r"^  (\w+):$", services[1], re.MULTILINE)
    assert names == ["redis", "worker", "flower", "inbox"]
    for part in re.split(r"^  \w+:$", services[1], flags=re.MULTILINE)[1:]:
        assert "healthcheck:" in part
    assert "--appendonly yes" in text
    assert "noeviction" in text
    assert "replicas:" in text
