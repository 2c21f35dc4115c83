"""What the documentation says is so: snippets run, and tables say what the code says."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from mailer import JobState, RecipientState, Settings
from mailer.job import TRANSITIONS
from mailer.testing import eventually, greylist

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_NOT_RUN = ("not run", "run by")


@attrs.frozen
class Snippet:
    """A fenced block, and the HTML comment right above it."""

    page: str
    line: int
    kind: str
    text: str
    note: str

    @property
    def runs(self) -> bool:
        return not self.note.startswith(_NOT_RUN)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(*kinds: str) -> Iterator[Snippet]:
    for page in PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start("kind")) + 1
            if match["kind"] in kinds:
                name = str(page.relative_to(ROOT))
                yield Snippet(name, line, match["kind"], match["text"], match["note"] or "")


def table(page: str, name: str) -> str:
    """Return what lies between ``<!-- name -->`` and ``<!-- end -->``."""
    match = re.search(
        rf"<!-- {name} -->\n(.*?)\n<!-- end -->", (ROOT / page).read_text(), re.DOTALL
    )
    assert match, f"{page} has no part marked <!-- {name} -->"
    return match[1]


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in text.splitlines()[2:]]


# Tables


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


def test_the_lifecycle_names_every_key_in_redis():
    from mailer.store import keys

    documented = re.findall(r"``\{p\}(:\S+?)``", keys.Keys.__doc__ or "")
    assert documented
    text = (ROOT / "docs/lifecycle.md").read_text()
    assert [key for key in documented if f"`{{p}}{key}`" not in text] == []


# Snippets


def test_every_snippet_is_run_or_says_why_not():
    silent = [
        str(snippet)
        for snippet in snippets("", "sh", "bash", "shell")
        if not snippet.note.startswith(_NOT_RUN)
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
    ("target", "command"), [("demo", "/mailer demo"), ("test", "/python -m pytest")]
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
    assert list(tmp_path.glob("mailer-demo-*/inbox/*.eml"))


# What the documentation names


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page


def test_every_link_inside_the_repository_leads_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_every_setting_that_is_named_exists():
    known = {f"MAILER_{name.upper()}" for name in Settings.model_fields} | {"MAILER_CONFIG"}
    for page in [*PAGES, ROOT / "docker-compose.yml", ROOT / "Dockerfile"]:
        named = set(re.findall(r"\bMAILER_[A-Z][A-Z_]*[A-Z]\b(?!_)", page.read_text()))
        assert named <= known, page.name


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
