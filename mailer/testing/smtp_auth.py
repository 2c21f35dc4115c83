"""How a client of the SMTP server signs in (RFC 4954): a conversation for each mechanism."""

import base64
import hmac
import secrets
from collections.abc import Callable, Generator, Mapping

# Yields challenges, is sent the answers, and returns the user who is known then, or None.
Conversation = Generator[bytes, bytes, str | None]


class Malformed(Exception):
    """An answer is none of the mechanism's."""


def plain(users: Mapping[str, str]) -> Conversation:
    """RFC 4616."""
    parts = (yield b"").split(b"\0")
    if len(parts) != 3:
        raise Malformed
    return _known(users, parts[1], parts[2])


def login(users: Mapping[str, str]) -> Conversation:
    """Two questions; no standard, and widely used."""
    name = yield b"Username:"
    return _known(users, name, (yield b"Password:"))


def cram_md5(users: Mapping[str, str]) -> Conversation:
    """RFC 2195: the password itself is never said."""
    challenge = f"<{secrets.token_hex(8)}@mailer.testing>".encode()
    name, _, digest = (yield challenge).rpartition(b" ")
    password = users.get(name.decode(), "")
    right = hmac.new(password.encode(), challenge, "md5").hexdigest().encode()
    return name.decode() if password and hmac.compare_digest(digest, right) else None


def xoauth2(users: Mapping[str, str]) -> Conversation:
    """Bearer tokens, as Google and Microsoft have them; ours are the users' passwords."""
    fields = (yield b"").split(b"\1")
    if len(fields) != 4 or not fields[0].startswith(b"user=") or not fields[1].startswith(b"auth="):
        raise Malformed
    scheme, _, token = fields[1].removeprefix(b"auth=").partition(b" ")
    user = _known(users, fields[0].removeprefix(b"user="), token)
    if user is None or scheme != b"Bearer":
        yield b'{"status":"401","schemes":"bearer"}'  # the client answers with an empty line
        return None
    return user


MECHANISMS: Mapping[str, Callable[[Mapping[str, str]], Conversation]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "CRAM-MD5": cram_md5,
    "XOAUTH2": xoauth2,
}


def decoded(line: bytes) -> bytes:
    """Read an answer in base64.

    Raises:
        Malformed: it is none; or the client gives up, with ``*``.
    """
    try:
        return b"" if line == b"=" else base64.b64decode(line, validate=True)
    except ValueError:
        raise Malformed from None


def _known(users: Mapping[str, str], name: bytes, password: bytes) -> str | None:
    try:
        user, given = name.decode(), password.decode()
    except UnicodeDecodeError:
        raise Malformed from None
    return user if user in users and users[user] == given else None
