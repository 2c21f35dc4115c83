"""Who may import whom, and who may read the environment."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "mailer").rglob("*.py"), *(ROOT / "workers").rglob("*.py")])


def imports(path: Path) -> set[str]:
    """Name the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is meant"
            found.add(node.module)
    return found


def importers(package: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if any(name.split(".")[0] == package for name in imports(path))
    }


def outside(paths: set[str], *allowed: str) -> set[str]:
    return {path for path in paths if not path.startswith(allowed)}


def test_mailer_never_imports_workers():
    assert outside(importers("workers"), "workers/") == set()


@pytest.mark.parametrize("package", ["celery", "kombu", "aiosmtplib"])
def test_the_producer_side_knows_nothing_of_how_jobs_are_carried_and_sent(package):
    assert outside(importers(package), "workers/") == set()


def test_only_the_store_speaks_to_redis():
    assert outside(importers("redis"), "mailer/store/", "mailer/testing/") == set()


def test_only_workers_smtp_speaks_smtp():
    speakers = importers("aiosmtplib") | importers("smtplib")
    assert outside(speakers, "workers/smtp/", "mailer/testing/") == set()


@pytest.mark.parametrize("package", ["aiohttp", "yarl", "fsspec"])
def test_only_workers_fetching_fetches(package):
    assert outside(importers(package), "workers/fetching/") == set()


@pytest.mark.parametrize("package", ["django", "flask", "fastapi", "starlette", "sqlalchemy"])
def test_only_contrib_knows_of_web_frameworks_and_databases(package):
    assert outside(importers(package), "mailer/contrib/") == set()


def test_what_is_optional_is_loaded_where_it_is_allowed_only():
    statement = "import workers.fetching.https, workers.fetching.objects"
    assert not {"aiohttp", "yarl", "fsspec"} & loaded_by(statement)


def test_only_the_settings_read_the_environment():
    readers = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            if name in {"environ", "environb", "getenv", "putenv"}:
                readers.add(path.relative_to(ROOT).as_posix())
    assert (
        outside(
            readers, "mailer/settings.py", "mailer/loading.py", "mailer/testing/", "mailer/cli/"
        )
        == set()
    )


def test_outcomes_and_retries_are_decided_without_input_and_output():
    """Pure functions: they can't even reach a clock, a socket or a random number."""
    impure = {"asyncio", "os", "random", "redis", "socket", "time"}
    for path in (ROOT / "workers/outcomes").glob("*.py"):
        assert not impure & imports(path), path


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_mailer_loads_neither_celery_nor_the_workers():
    loaded = loaded_by("import mailer")
    assert not {"celery", "kombu", "workers", "aiosmtplib", "typer", "rich"} & loaded
    assert not {"jinja2", "css_inline"} & loaded


def test_importing_mailer_testing_loads_no_workers():
    assert not {"celery", "kombu", "workers", "aiosmtplib"} & loaded_by("import mailer.testing")


def test_importing_mailer_takes_less_than_half_a_second_of_work():
    """CPU time of the best of three, so that a busy machine does not count."""
    code = "import time; import mailer; print(time.process_time())"
    times = [
        float(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT)) for _ in range(3)
    ]
    assert min(times) < 0.5
