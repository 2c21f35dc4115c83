"""Addresses: ``Name <local@domain>``, checked before anything is stored.

Sources: RFC 5322 section 3.4 (mailbox), RFC 5321 section 4.5.3.1 (lengths), RFC 6531 (UTF-8 local
parts), RFC 5890 (IDNA).
"""

import binascii
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import idna
import msgspec

from mailer.errors import InvalidEmail

# Control characters, and the separators at which some parser breaks a line: none may ever stand
# in a header (CR, LF and NUL inject headers; U+0085, U+2028 and U+2029 count as line ends to
# str.splitlines, and so to much software).
FORBIDDEN_IN_HEADERS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

MAX_ADDRESS_CHARACTERS = 1000  # display name included; bounds what the patterns below see
_USUAL = re.compile(r"(?=[^@]{1,64}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9.-]+)")
_ATEXT = r"[^\x00-\x20\x7f-\xa0()<>\[\]:;@\\,.\"]"
_LOCAL = re.compile(rf"(?:{_ATEXT}+(?:\.{_ATEXT}+)*|\"(?:[^\x00-\x1f\x7f\"\\]|\\[\x20-\x7e])*\")")
_ASCII_DOMAIN = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_ADDRESS_LITERAL = re.compile(r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]+)\]")
_NAMED = re.compile(r"(?P<name>\"(?:[^\"\\]|\\.)*\" *|[^<>]*)<(?P<email>[^<>]+)>")
_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?\s]{0,2000})\?=")
_QUOTED_NAME = re.compile(r"\"(?P<inner>(?:[^\"\\]|\\.)*)\"")


class Address(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One mailbox.

    Attributes:
        email: ``local@domain``; the domain may be in Unicode.
        name: the display name, decoded and unquoted, or empty.

    Raises:
        InvalidEmail: on construction, where either part can't stand in a message.
    """

    email: str
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.email, str) or not isinstance(self.name, str):
            raise InvalidEmail("address", "and its display name are texts")
        if reason := _fault(self.email):
            raise InvalidEmail("address", f"{_shown(self.email)} {reason}")
        if self.name and forbidden_in_headers(self.name):
            raise InvalidEmail(
                "address", f"the display name {_shown(self.name)} has a control character in it"
            )

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``local@domain``, ``Name <local@domain>`` or ``"Quoted, name" <local@domain>``.

        Comments, groups and lists of several addresses are refused, with the reason.
        """
        text = str.__str__(text)  # what a template engine marks as safe can't be stored as it is
        if len(text) > MAX_ADDRESS_CHARACTERS:
            raise InvalidEmail("address", f"is over {MAX_ADDRESS_CHARACTERS} characters long")
        if _forbidden(text):  # before strip() would take a line end for a space
            raise InvalidEmail("address", f"{_shown(text)} has a control character in it")
        text = text.strip()
        if "<" in text and (match := _NAMED.fullmatch(text)):
            return cls(match["email"].strip(), _unquoted(match["name"].strip()))
        return cls(text)

    @property
    def domain(self) -> str:
        """The part behind the ``@``, as written."""
        return self.email.rpartition("@")[2]

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the local part has other characters than ASCII (RFC 6531)."""
        return not (self.email.isascii() or self.email.rpartition("@")[0].isascii())

    @property
    def wire(self) -> str:
        """The address as SMTP takes it: the domain in A-labels (RFC 5890)."""
        if self.email.isascii():
            return self.email
        local, _, domain = self.email.rpartition("@")
        return f"{local}@{domain_to_ascii(domain)}"

    def __str__(self) -> str:
        if not self.name:
            return self.email
        escaped = self.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}" <{self.email}>'


class Group(NamedTuple):
    """Several mailboxes under one name (RFC 5322, 3.4): ``Team: a@example.com, b@example.com;``.

    Attributes:
        name: the group's display name.
        members: its mailboxes; may be none, as in ``undisclosed-recipients:;``.
    """

    name: str
    members: tuple[Address, ...] = ()


def mailboxes_of(entries: "Iterable[Address | Group]") -> tuple[Address, ...]:
    """List the mailboxes of an address list, those of its groups as well."""
    mailboxes: list[Address] = []
    for entry in entries:
        mailboxes += entry.members if isinstance(entry, Group) else (entry,)
    return tuple(mailboxes)


def forbidden_in_headers(text: str) -> str | None:
    """Find what may never stand in a header: as it is, or hidden in an encoded word (RFC 2047)."""
    if match := _forbidden(text):
        return match[0]
    if "=?" in text:
        for charset, encoding, content in _ENCODED_WORD.findall(text):
            data = _decoded(encoding, content)
            # the first whatever the charset is, the second for those who know it
            for decoded in (data.decode("ascii", "ignore"), _read(data, charset)):
                if match := FORBIDDEN_IN_HEADERS.search(decoded):
                    return match[0]
    return None


def _forbidden(text: str) -> re.Match[str] | None:
    """Find what may never stand in a header as it is; nothing printable is of that kind."""
    return None if text.isprintable() else FORBIDDEN_IN_HEADERS.search(text)


def _decoded(encoding: str, content: str) -> bytes:
    """Decode an encoded word as generously as some reader might."""
    if encoding in "bB":
        digits = re.sub(r"[^A-Za-z0-9+/]", "", content)
        if len(digits) % 4 == 1:  # it says nothing
            digits = digits[:-1]
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))
    return binascii.a2b_qp(content.encode(errors="replace"), header=True)


def _read(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset.partition("*")[0], "ignore")
    except (LookupError, ValueError):
        return ""


@lru_cache(maxsize=4096)
def domain_to_ascii(domain: str) -> str:
    """Turn a domain into A-labels, by IDNA 2008 with the UTS 46 mapping.

    Raises:
        idna.IDNAError: if a label can't be encoded.
    """
    if domain.isascii():
        return domain
    return idna.encode(domain, uts46=True).decode("ascii")


def _fault(email: str) -> str | None:
    """Say what keeps ``email`` from being an address, or nothing."""
    if (usual := _USUAL.fullmatch(email)) and _is_domain(usual[1]):
        return None
    local, at, domain = email.rpartition("@")
    reason = None
    if _forbidden(email):
        reason = "has a control character in it"
    elif not at:
        reason = "has no @; an address looks like local@domain"
    elif len(local.encode()) > 64:
        reason = "has more than 64 bytes before the @ (RFC 5321, 4.5.3.1.1)"
    elif "=?" in local:
        reason = "has an encoded word before the @, which some servers decode to another address"
    elif not _LOCAL.fullmatch(local):
        reason = f"has a malformed part before the @: {_shown(local)}"
    elif not _is_domain(domain):
        reason = f"has a malformed domain: {_shown(domain)}"
    return reason


@lru_cache(maxsize=4096)  # there are few, compared with addresses
def _is_domain(domain: str) -> bool:
    try:
        ascii_domain = domain_to_ascii(domain)
    except idna.IDNAError:
        return False
    return bool(_ASCII_DOMAIN.fullmatch(ascii_domain) or _ADDRESS_LITERAL.fullmatch(domain))


def _unquoted(name: str) -> str:
    if '"' not in name and "(" not in name:
        return name
    if match := _QUOTED_NAME.fullmatch(name):
        return re.sub(r"\\(.)", r"\1", match["inner"])
    raise InvalidEmail(
        "address",
        f"the display name {_shown(name)} has a stray quote or a comment; "
        'write "Name" <local@domain>',
    )


def _shown(text: str) -> str:
    """Quote for an error message: escaped, and never endless."""
    shown = ascii(text[:60])
    return shown if len(text) <= 60 else f"{shown[:-1]}…'"
