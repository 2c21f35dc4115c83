"""An environment for each peer, so that its pins can't meet ours."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

from .peer import Peer

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".benchmarks"
# A name at the beginning of a line of requirements; lines that are comments have none there.
_NAME = re.compile(r"^[\w.-]+", re.MULTILINE)
_TELL = (
    "import json, sys; from importlib.metadata import version;"
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


def environment(peer: Peer) -> Path:
    """Return the folder of the peer's environment; it is made where its requirements have changed.

    Raises:
        subprocess.CalledProcessError: pip could not install them; it has said why.
    """
    folder = ENVIRONMENTS / peer.folder
    if not installed(peer):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([_python(folder), *install, "-r", _requirements(peer)], check=True)
        _stamp(peer).write_text(_wanted(peer))
    return folder


def installed(peer: Peer) -> bool:
    """Whether the peer's environment is there, and as its requirements want it."""
    return _stamp(peer).exists() and _stamp(peer).read_text() == _wanted(peer)


def interpreter(peer: Peer) -> Path:
    """Return the Python of the peer's environment."""
    return _python(environment(peer))


def versions(peer: Peer) -> dict[str, str]:
    """Return which versions are installed of what the peer's requirements name."""
    names = _NAME.findall(_requirements(peer).read_text(encoding="utf-8"))
    tell = [interpreter(peer), "-c", _TELL, *names]
    return json.loads(subprocess.run(tell, check=True, capture_output=True).stdout)


def _stamp(peer: Peer) -> Path:
    return ENVIRONMENTS / peer.folder / ".installed"


def _wanted(peer: Peer) -> str:
    return hashlib.sha256(sys.version.encode() + _requirements(peer).read_bytes()).hexdigest()


def _requirements(peer: Peer) -> Path:
    return HERE / peer.folder / "requirements.txt"


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
