"""Scripts of the benchmark that run in a process of their own, as an application does."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stage import Stuck

_PATIENCE = 300.0  # seconds


def run(script: Path, *arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """Run a script until it ends; return what it printed.

    Raises:
        Stuck: it failed, or took too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, script, *map(str, arguments)],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Stuck(f"{script.name} was not done after {_PATIENCE:g} s") from error
    if done.returncode:
        raise Stuck(f"{script.name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout
