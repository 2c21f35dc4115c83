"""DKIM signatures, relaxed/relaxed, by RSA and Ed25519 (RFC 6376, RFC 8301, RFC 8463)."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from idna import IDNAError

from mailer.address import domain_to_ascii
from mailer.errors import InvalidSetting
from mailer.mime.folding import fold

_MIN_RSA_BITS = 2048  # RFC 8301, 3.2
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?)+(?<!\.)")
_NEW_FIELD = re.compile(rb"\r\n(?![ \t])")
_BASE64_PIECE = 72

# RFC 6376, 5.4.1 and RFC 8058, 4: what a reader sees, what orders a thread, what unsubscribes
_SIGNED = (
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id"),
    *("in-reply-to", "references", "mime-version", "content-type", "content-transfer-encoding"),
    *("content-id", "content-description", "auto-submitted", "feedback-id", "list-id"),
    *("list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-help", "list-post"),
    *("list-owner", "list-archive"),
)
# once more than they are there: nobody can add another (RFC 6376, 8.15)
_OVERSIGNED = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id"}
    | {"mime-version", "content-type", "content-transfer-encoding"}
)


@attrs.frozen
class DkimKey:
    """A private key, and where the world finds the public one.

    Attributes:
        domain: in A-labels and lower case.
    """

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey = attrs.field(repr=False)

    @classmethod
    def load(cls, domain: str, selector: str, pem: bytes) -> "DkimKey":
        """Read a key from PEM.

        Raises:
            InvalidSetting: saying why it can't be used; nothing of the key is quoted.
        """
        try:
            name = domain_to_ascii(domain.lower())
        except IDNAError:
            name = ""
        if not _NAME.fullmatch(name):
            raise InvalidSetting(f"{domain!a} is no domain")
        if not _NAME.fullmatch(selector.lower()):
            raise InvalidSetting(f"{selector!a} is no selector; one looks like s2026")
        try:
            private = load_pem_private_key(pem, password=None)
        except TypeError:
            raise InvalidSetting("the key is encrypted; give one without a passphrase") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidSetting("there is no private key in PEM form in it") from None
        if isinstance(private, RSAPrivateKey) and private.key_size < _MIN_RSA_BITS:
            raise InvalidSetting(
                f"an RSA key of {private.key_size} bits is too short; make one of 2048 "
                "(RFC 8301, 3.2)"
            )
        if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
            raise InvalidSetting("it is neither an RSA nor an Ed25519 key")
        return cls(name, selector.lower(), private)

    @property
    def algorithm(self) -> str:
        """What the ``a=`` tag says."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"

    @property
    def record_name(self) -> str:
        """The DNS name of the public key's TXT record."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """What the TXT record has to say (RFC 6376, 3.6.1; RFC 8463, 4)."""
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            kind = "rsa"
            data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, data = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={kind}; p={b64encode(data).decode()}"

    def sign(self, data: bytes) -> bytes:
        """Sign a canonical header; the same signature each time."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(data, PKCS1v15(), SHA256())
        return self.private.sign(hashlib.sha256(data).digest())


class BodyHash:
    """The SHA-256 of a body that comes in pieces, canonicalised (RFC 6376, 3.4.4)."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._blank = b""  # white space and line ends, of which more may follow or nothing
        self._empty = True

    def update(self, piece: bytes) -> None:
        """Take the next piece, cut anywhere."""
        data = self._blank + piece if self._blank else piece
        text = data.rstrip(b" \t\r\n")
        self._blank = data[len(text) :]
        if text:
            self._empty = False
            self._hash.update(_collapsed(text))

    def digest(self) -> bytes:
        """Return the hash of all pieces: without empty lines at the end, with one line end."""
        whole = self._hash.copy()
        if not self._empty:
            whole.update(b"\r\n")
        return whole.digest()


def keys_for(domain: str, keys: Mapping[str, Sequence[DkimKey]]) -> Sequence[DkimKey]:
    """Return a domain's own keys, else its nearest parent's (relaxed alignment, RFC 7489, 3.1.1).

    Args:
        domain: in A-labels.
    """
    name = domain.lower()
    while name:
        if found := keys.get(name):
            return found
        name = name.partition(".")[2]
    return ()


def signature_fields(
    header: bytes, body_hash: bytes, keys: Sequence[DkimKey], seconds: int
) -> bytes:
    """Sign a message by each of ``keys``; the same fields for the same arguments.

    Args:
        header: all of its fields, with CRLF.
        body_hash: of `BodyHash`.
        seconds: Unix time, for the ``t=`` tag.

    Returns:
        The DKIM-Signature fields, to be put before the header.
    """
    names, canonical = _signed(header)
    body = b64encode(body_hash).decode()
    fields = []
    for key in keys:
        tokens = [
            f"v=1; a={key.algorithm}; c=relaxed/relaxed;",
            f" d={key.domain};",
            f" s={key.selector};",
            f" t={seconds};",
            *_list_tokens(names),
            f" bh={body};",
            " b=",
        ]
        unsigned = f"dkim-signature:{''.join(tokens)}".encode("ascii")
        signature = b64encode(key.sign(canonical + unsigned)).decode()
        pieces = [signature[i : i + _BASE64_PIECE] for i in range(0, len(signature), _BASE64_PIECE)]
        tokens[-1] += pieces[0]
        fields.append(fold("DKIM-Signature", [*tokens, *(f" {piece}" for piece in pieces[1:])]))
    return "".join(fields).encode("ascii")


def _signed(header: bytes) -> tuple[list[str], bytes]:
    """Choose the fields to sign, and write them canonically (RFC 6376, 3.4.2 and 5.4.2)."""
    found: dict[str, list[bytes]] = {}
    for field in _NEW_FIELD.split(header.removesuffix(b"\r\n")):
        name, _, value = field.partition(b":")
        found.setdefault(name.rstrip(b" \t").decode("ascii", "replace").lower(), []).append(value)
    names: list[str] = []
    canonical: list[bytes] = []
    for name in _SIGNED:
        values = found.get(name, [])
        word = name.encode("ascii")
        canonical += [b"%s:%s\r\n" % (word, b" ".join(value.split())) for value in values[::-1]]
        names += [name] * (len(values) + (name in _OVERSIGNED))
    return names, b"".join(canonical)


def _list_tokens(names: Sequence[str]) -> list[str]:
    """Write the ``h=`` tag, in tokens between which a line may end."""
    tokens = [f" {name}:" for name in names]
    tokens[0] = f" h={names[0]}:"
    tokens[-1] = f"{tokens[-1][:-1]};"
    return tokens


def _collapsed(text: bytes) -> bytes:
    """Make each run of white space one space, and none before a line end."""
    if b"\t" in text:
        text = text.replace(b"\t", b" ")
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text.replace(b" \r\n", b"\r\n")
