"""A Postfix of a test's own: in a temporary folder, on a free port of 127.0.0.1."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import attrs

from mailer.testing.ports import free_port

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = postfix.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
smtputf8_enable = yes
mynetworks = 127.0.0.0/8
message_size_limit = 2000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = example.org, xn--bcher-kva.example, bücher.example
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = {folder}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_recipient_restrictions =
  check_recipient_access inline:{{
    {{nobody@example.org = 550 5.1.1 No such user}},
    {{grey@example.org = 450 4.7.1 Greylisted, come back}}}},
  permit_mynetworks, reject
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = {rate}
smtpd_client_event_limit_exceptions =
smtpd_timeout = {idle}s
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
"""


def missing() -> str:
    """Say why none can be run here; empty where it can."""
    if not shutil.which("postfix"):
        return "Postfix is not installed (Debian: postfix)"
    return "" if os.geteuid() == 0 else "Postfix's master runs as root only"


@attrs.frozen
class Postfix:
    """A running server."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The relay's URL."""
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged."""
        file = self.folder / "mail.log"
        return file.read_text() if file.exists() else ""

    @property
    def contents(self) -> list[bytes]:
        """What it has delivered, as it lies in the mailbox."""
        return [file.read_bytes() for file in sorted(self.folder.glob("inbox/new/*"))]

    @property
    def messages(self) -> list[EmailMessage]:
        """The same, parsed."""
        return [message_from_bytes(content, policy=default) for content in self.contents]

    @property
    def connections(self) -> int:
        """How many clients have connected."""
        return self.log.count(": connect from")

    def stop(self) -> None:
        """Stop it; `start` goes on with its queue."""
        _postfix(self.folder, "stop")

    def start(self) -> None:
        """Start it again."""
        _postfix(self.folder, "start")


@contextmanager
def running(folder: Path, *, rate: int = 0, idle: int = 300) -> Iterator[Postfix]:
    """Run a server.

    Args:
        folder: empty, and all of the way to it open to others.
        rate: messages per minute that it takes from a client; 0 for any number.
        idle: seconds after which it ends a silent session.
    """
    import pwd

    nobody = pwd.getpwnam("nobody")
    port = free_port()
    values = {"uid": nobody.pw_uid, "gid": nobody.pw_gid, "rate": rate, "idle": idle}
    for name in ("config", "queue", "data", "inbox"):
        (folder / name).mkdir()
    (folder / "config/main.cf").write_text(_MAIN.format(folder=folder, **values))
    (folder / "config/master.cf").write_text(_MASTER.format(port=port))
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o55 != 0o55:
            path.chmod(path.stat().st_mode | 0o55)
    shutil.chown(folder / "data", "postfix")
    os.chown(folder / "inbox", nobody.pw_uid, nobody.pw_gid)
    server = Postfix(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _postfix(folder: Path, command: str) -> None:
    done = subprocess.run(
        ["postfix", "-c", str(folder / "config"), command],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        log = folder / "mail.log"
        raise RuntimeError(done.stderr + (log.read_text() if log.exists() else ""))
