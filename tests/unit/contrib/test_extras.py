"""A module of ``mailer.contrib`` whose extra is not installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("flask", "flask", "flask"),
        ("fastapi", "fastapi", "fastapi"),
        ("starlette", "starlette", "fastapi"),
        ("sqlalchemy", "sqlalchemy", "sqlalchemy"),
    ],
)
def test_an_extra_that_is_missing_is_named(module, package, extra):
    code = f"import sys; sys.modules[{package!r}] = None; import mailer.contrib.{module}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.endswith(f"pip install 'celery-mailer[{extra}]'")
