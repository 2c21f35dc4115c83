"""The public types, as a type checker sees them in users' code."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_user_code_passes_a_strict_type_checker() -> None:
    files = sorted(str(path) for path in HERE.glob("*_code.py") if path.name != "test_user_code.py")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *files],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
