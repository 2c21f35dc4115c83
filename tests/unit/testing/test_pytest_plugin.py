"""docs/testing.md does what it says, in a pytest of its own and in a process of its own."""

import inspect
import json
import shlex
import smtplib
import subprocess
import sys

import attrs
import pytest
from pages import snippets, table

from mailer.testing import Options, faults

pytest_plugins = ["pytester"]
PAGE = "docs/testing.md"


def _snippet(kind):
    (found,) = [snippet.text for snippet in snippets(kind) if snippet.page == PAGE]
    return found


def test_the_example_passes_with_the_plugin(pytester):
    pytester.makepyfile(_snippet("python"))
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=2)


def test_the_plugin_is_there_without_being_asked_for():
    """As the metadata of the installed package says."""
    from importlib.metadata import entry_points

    plugins = {point.value for point in entry_points(group="pytest11")}
    assert "mailer.testing.pytest_plugin" in plugins, "run: make setup"


def test_the_command_runs_a_server(tmp_path):
    words = shlex.split(_snippet("sh"))
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


@pytest.mark.parametrize(("name", "right"), [("options", options_table), ("faults", faults_table)])
def test_the_tables_say_what_the_code_says(name, right):
    assert table(PAGE, name) == right(), f"paste this:\n\n{right()}\n"
