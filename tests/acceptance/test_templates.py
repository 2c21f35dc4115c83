"""Templates as docs/templates.md has them, and ``mailer preview`` as a person types it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from pages import ROOT, snippets

TEMPLATES = ROOT / "examples/templates"
PAGE = "docs/templates.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the templates of the example, and other sample data."""
    shutil.copytree(TEMPLATES, tmp_path / "templates")
    (tmp_path / "ann.toml").write_text('name = "Änne"\nurl = "https://example.com/"\n')
    return tmp_path


@pytest.fixture
def run(folder):
    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("MAILER_")}
        return subprocess.run(
            [sys.executable, *words],
            env={**ours, "MAILER_TEMPLATES": "templates", "TMPDIR": str(folder), **settings},
            cwd=folder,
            capture_output=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def preview(run):
    def preview(*words: str, **settings: str) -> str:
        done = run("-m", "mailer.cli", "preview", *words, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    return preview


def mistake(run, *words: str, **settings: str) -> str:
    done = run("-m", "mailer.cli", "preview", *words, **settings)
    assert done.returncode == 1
    assert done.stdout == b""
    error = done.stderr.decode()
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error.removeprefix("error: ").rstrip("\n")


def test_without_a_name_templates_are_listed(preview):
    assert preview() == "welcome de\n"


def test_a_template_is_shown_with_its_sample_data(preview):
    assert preview("welcome") == (
        "Subject: Welcome, Ann <3\n\n"
        "Hello Ann <3,\n\n"
        "you have an account now: https://example.com/account?a=1&b=2\n\n"
        "Your first order is 10 % cheaper.\n\n"
        "The shop, Main Street 1\n"
    )


def test_a_template_is_shown_in_a_language_and_with_other_data(preview):
    shown = preview("welcome", "--locale", "de-AT", "--data", "ann.toml")
    assert shown.startswith("Subject: Willkommen, Änne\n\nHallo Änne,\n")
    assert shown.endswith("Der Laden, Hauptstraße 1\n")


def test_html_is_shown_as_it_is_sent(preview):
    html = preview("welcome", "--html")
    assert "Hello Ann &lt;3," in html
    assert (
        'class="button" href="https://example.com/account?a=1&amp;b=2" style="background:' in html
    )


def test_a_browser_gets_the_html(preview, folder):
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\ncp "${{1#file://}}" {folder}/seen.html\n')
    browser.chmod(0o755)
    opened = preview("welcome", "--open", BROWSER=f"{browser} %s")
    seen = (folder / "seen.html").read_text()
    assert seen == Path(opened.strip()).read_text()
    assert "Hello Ann &lt;3," in seen


def test_the_whole_message_can_be_had(run):
    words = ["welcome", "--eml", "--from", "Me <me@example.net>", "--to", "jm@example.net"]
    message = message_from_bytes(run("-m", "mailer.cli", "preview", *words).stdout, policy=default)
    assert message["From"] == "Me <me@example.net>"
    assert message["To"] == "jm@example.net"
    assert message["Subject"] == "Welcome, Ann <3"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_a_text_that_is_derived_is_shown(preview, folder):
    (folder / "templates/welcome/body.txt").unlink()
    assert "See your account" in preview("welcome")


def test_a_missing_variable_is_told_in_one_line(run, folder):
    (folder / "templates/welcome/sample.json").unlink()
    assert mistake(run, "welcome") == (
        "welcome/subject.txt:1: 'name' is undefined; welcome/sample.json or --data would give it "
        "data"
    )


def test_a_mistake_with_sample_data_is_told_with_all_there_is(run, folder):
    (folder / "templates/welcome/body.txt").write_text("\n{{ name + 1 }}")
    assert mistake(run, "welcome") == (
        'welcome/body.txt:2: TypeError in an expression: can only concatenate str (not "int") '
        "to str"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nix"], "nix: there is no such template in "),
        (["welcome", "--data", "none.json"], "none.json: can't be read: No such file"),
        (["--templates", "elsewhere"], "folder: there is no folder "),
    ],
)
def test_what_there_is_not_is_told_in_one_line(run, words, told):
    assert mistake(run, *words).startswith(told)


def test_there_may_be_no_html_to_show(run, folder):
    (folder / "templates/welcome/body.html").unlink()
    assert mistake(run, "welcome", "--html") == "welcome: has no body.html"


def test_a_missing_extra_is_named(run, folder):
    (folder / "jinja2.py").write_text("raise ImportError('no jinja2')\n")
    told = mistake(run, "welcome", PYTHONPATH=f"{folder}{os.pathsep}{os.getenv('PYTHONPATH', '')}")
    assert told.endswith("pip install 'celery-mailer[templates]'")


# The page


@pytest.mark.parametrize("snippet", [s for s in snippets("python") if s.page == PAGE], ids=str)
def test_a_python_snippet_of_the_page_runs(snippet, run, system):
    done = run("-W", "error", "-c", snippet.text, **system.settings)
    assert done.returncode == 0, done.stderr.decode()
    for said in re.findall(r"^print.*  # (.*)$", snippet.text, re.MULTILINE):
        assert said in done.stdout.decode()


@pytest.mark.parametrize("snippet", [s for s in snippets("console") if s.page == PAGE], ids=str)
def test_a_console_snippet_of_the_page_runs(snippet, preview):
    lines = re.findall(r"^\$ mailer preview(.*)$", snippet.text, re.MULTILINE)
    assert len(lines) == snippet.text.count("$")
    for line in lines:
        assert preview(*shlex.split(line.partition(">")[0], comments=True))


def test_the_page_shows_the_example_as_it_is():
    shown = [s for s in snippets("jinja") if s.page == PAGE]
    assert shown
    for snippet in shown:
        assert snippet.text == (ROOT / snippet.note).read_text()
    tree = next(s.text for s in snippets("text") if s.page == PAGE)
    named = sorted(re.findall(r"[\w.]+\.(?:txt|html|json)", tree))
    assert named == sorted(path.name for path in TEMPLATES.rglob("*.*"))
