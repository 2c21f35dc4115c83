"""Dovecot's LMTP of a test's own: in a temporary folder, on a free port and a Unix socket."""

import getpass
import grp
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import attrs

from mailer.testing import eventually
from mailer.testing.ports import free_port

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = lmtp
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
ssl = no
mail_location = maildir:{folder}/mail/%n
mail_uid = {mail_user}
mail_gid = {mail_user_group}
first_valid_uid = 1
auth_username_format = %Ln
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%n {folder}/users
}}
mail_plugins = quota
plugin {{
  quota = maildir:User quota
}}
protocol lmtp {{
  mail_plugins = quota
  postmaster_address = postmaster@example.org
}}
lmtp_rcpt_check_quota = no
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
"""


def missing() -> str:
    """Say why none can be run here; empty where it can."""
    if not shutil.which("dovecot"):
        return "Dovecot is not installed (Debian: dovecot-lmtpd)"
    return "" if os.geteuid() == 0 else "set up here to be run as root only"


@attrs.frozen
class Dovecot:
    """A running server. Mailboxes: ann, bob, and full, which has room for a kilobyte."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The relay's URL, by TCP."""
        return f"lmtp://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """The relay's URL, by the Unix socket."""
        return f"lmtp+unix://{self.folder}/lmtp"

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "dovecot.log").read_text()

    def messages(self, mailbox: str) -> list[EmailMessage]:
        """What lies in a mailbox."""
        files = sorted((self.folder / "mail" / mailbox / "new").glob("*"))
        return [message_from_bytes(file.read_bytes(), policy=default) for file in files]


@contextmanager
def running(folder: Path) -> Iterator[Dovecot]:
    """Run a server in an empty folder."""
    port, user = free_port(), getpass.getuser()
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", "nobody", "nogroup")
    for path in (folder, *folder.parents):
        if path.stat().st_mode & 0o55 != 0o55:
            path.chmod(path.stat().st_mode | 0o55)
    users = ["ann:::::::", "bob:::::::", "full:::::::userdb_quota_rule=*:storage=1K"]
    (folder / "users").write_text("\n".join(users) + "\n")
    config = folder / "dovecot.conf"
    names = {"user": user, "group": grp.getgrgid(os.getgid()).gr_name}
    names |= {"mail_user": "nobody", "mail_user_group": "nogroup"}
    config.write_text(_CONFIG.format(folder=folder, port=port, **names))
    server = Dovecot(folder, port)
    # the server would keep a pipe open
    errors = folder / "errors"
    with errors.open("wb") as file:
        done = subprocess.run(["dovecot", "-c", str(config)], stderr=file, check=False)
    if done.returncode:
        raise RuntimeError(errors.read_text())
    try:
        eventually(lambda: _answers(port))
        yield server
    finally:
        subprocess.run(["doveadm", "-c", str(config), "stop"], capture_output=True, check=False)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
        return client.recv(3) == b"220"
    return False
