"""docs/testing.md does what it says, in a pytest of its own and in a process of its own."""

import inspect
import json
import shlex
import smtplib
import subprocess
import sys

import attrs
import pytest
from pages import ROOT, named, rows, snippet, table

from mailer.testing import Options, SentEmail, faults

pytest_plugins = ["pytester"]
PAGE = "docs/testing.md"


def test_the_example_of_a_server_passes_with_the_plugin(pytester):
    pytester.makepyfile(snippet(PAGE, "client.sendmail"))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2)


FAILURE = """

def test_a_failure(mailer_outbox):
    welcome("ann@example.org")
    welcome("ben@example.org")
    mailer_outbox.one(to="ann@example.org", subject="Welcome!")


def test_that_asks_for_no_outbox():
    welcome("ann@example.org")
"""


def test_the_example_of_an_outbox_passes_and_a_failure_reads_as_shown(pytester, monkeypatch):
    """In tests of which none sends, as the conftest.py beside them has it."""
    monkeypatch.setenv("MAILER_REDIS_URL", "redis://127.0.0.1:1/0")
    pytester.makeconftest(snippet(PAGE, "autouse=True"))
    pytester.makepyfile(snippet(PAGE, "mailer = Mailer()") + FAILURE)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2, failed=1)
    first, *others = snippet(PAGE, "AssertionError: no email has").splitlines()
    result.stdout.fnmatch_lines([f"E  *{first}", *(f"E  *{line}" for line in others)])


def test_the_plugin_is_there_without_being_asked_for():
    """As the metadata of the installed package says."""
    from importlib.metadata import entry_points

    plugins = {point.value for point in entry_points(group="pytest11")}
    assert "mailer_pytest" in plugins, "run: make setup"


def test_the_plugin_loads_nothing_of_the_mailer_for_those_who_do_not_use_it():
    code = "import sys, mailer_pytest; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).split()
    assert "mailer_pytest" in loaded
    assert not {"mailer", "redis", "pydantic"} & {*loaded}


def test_the_command_runs_a_server(tmp_path):
    words = shlex.split(snippet(PAGE, "python -m mailer.testing"))
    assert words[:3] == ["python", "-m", "mailer.testing"]
    words[words.index("1025")] = "0"
    with subprocess.Popen(
        [sys.executable, *words[1:]], stdout=subprocess.PIPE, cwd=tmp_path
    ) as server:
        try:
            port = json.loads(server.stdout.readline())["port"]
            with smtplib.SMTP("127.0.0.1", port) as client:
                client.login("shop", "secret")
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.sendmail("a@b.example", "c@d.example", "hi")
            assert (tmp_path / "inbox").is_dir()
        finally:
            server.terminate()


@pytest.mark.parametrize(
    "wrong", [["--fault", "rcpt"], ["--user", "shop"], ["--fault", "x=450 no"]]
)
def test_a_mistake_in_the_command_is_explained(wrong):
    done = subprocess.run(
        [sys.executable, "-m", "mailer.testing", *wrong],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert wrong[0] in done.stderr
    assert "Traceback" not in done.stderr


def options_table():
    lines = ["| Option | Default |", "|---|---|"]
    for field in attrs.fields(Options):
        default = field.default
        if isinstance(default, attrs.Factory):
            default = default.factory()
        shown = "—" if default in (None, (), [], {}) else f"`{default!r}`"
        lines.append(f"| `{field.name}` | {shown} |")
    return "\n".join(lines)


def faults_table():
    lines = ["| Fault | What happens |", "|---|---|"]
    for name, function in vars(faults).items():
        if inspect.isfunction(function) and function.__module__ == faults.__name__:
            names = ", ".join(inspect.signature(function).parameters)
            lines.append(f"| `{name}({names})` | {inspect.getdoc(function).splitlines()[0]} |")
    return "\n".join(lines)


def test_every_attribute_of_a_sent_email_has_its_row():
    documented = {name for row in rows(table(PAGE, "sent")) for name in named(row[0])}
    properties = {name for name in vars(SentEmail) if not name.startswith("_")}
    assert documented == properties | {field.name for field in attrs.fields(SentEmail)}


@pytest.mark.parametrize(("name", "right"), [("options", options_table), ("faults", faults_table)])
def test_the_tables_say_what_the_code_says(name, right):
    assert table(PAGE, name) == right(), f"paste this:\n\n{right()}\n"
