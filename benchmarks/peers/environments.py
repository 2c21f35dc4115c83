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
    requirements = _requirements(peer)
    wanted = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([_python(folder), *install, "-r", requirements], check=True)
        stamp.write_text(wanted)
    return folder


def interpreter(peer: Peer) -> Path:
    """Return the Python of the peer's environment."""
    return _python(environment(peer))


def versions(peer: Peer) -> dict[str, str]:
    """Return which versions are installed of what the peer's requirements name."""
    names = _NAME.findall(_requirements(peer).read_text(encoding="utf-8"))
    tell = [interpreter(peer), "-c", _TELL, *names]
    return json.loads(subprocess.run(tell, check=True, capture_output=True).stdout)


def _requirements(peer: Peer) -> Path:
    return HERE / peer.folder / "requirements.txt"


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"
