"""What a run took place on."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from mailer.testing.redis import find_redis_server

_OURS = ("celery-mailer", "celery", "redis", "hiredis", "uvloop")


def machine() -> Mapping[str, str]:
    """Describe the machine, and what is on it, in words."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return {
        "Processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "Memory": _memory(),
        "Kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Redis": _redis(),
        "Load before the run": load,
    }


def our_versions() -> Mapping[str, str]:
    """Return the versions of this mailer and of what its figures depend on."""
    return {name: version(name) for name in _OURS}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"


def _redis() -> str:
    told = subprocess.run(
        [find_redis_server(), "--version"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"(\w+) server v=(\S+)", told)
    return f"{found[1]} {found[2]}" if found else told.strip()
