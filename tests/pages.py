"""The pages of the documentation: their snippets and tables."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
_FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = ("not run", "run by")
KINDS = ("python", "sh", "toml", "text", "console")


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
        return not self.note.startswith(NOT_RUN)

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


def snippet(page: str, part: str) -> str:
    """Return the only snippet of a page that contains ``part``."""
    (found,) = [each.text for each in snippets(*KINDS) if each.page == page and part in each.text]
    return found


def table(page: str, name: str) -> str:
    """Return what lies between ``<!-- name -->`` and ``<!-- end -->``."""
    match = re.search(
        rf"<!-- {name} -->\s*(.*?)\s*<!-- end -->", (ROOT / page).read_text(), re.DOTALL
    )
    assert match, f"{page} has no part marked <!-- {name} -->"
    return match[1]


def named(text: str) -> list[str]:
    """List what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in text.splitlines()[2:]]


def run_as_application(
    code: str, settings: Mapping[str, str], folder: Path, timeout: float = 60
) -> str:
    """Run a snippet in a process of its own, where a warning is an error; returns what it says."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
