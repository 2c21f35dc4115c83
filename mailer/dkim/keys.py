"""Keys that sign: one for each domain and selector (RFC 6376; RFC 8301; RFC 8463)."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence

import attrs
import idna
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mailer.address import domain_to_ascii
from mailer.errors import InvalidSetting

MIN_RSA_BITS = 2048  # what signers should use at least (RFC 8301, 3.2)

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")  # RFC 6376, 3.1
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")  # RFC 6376, 3.5, d=

_SHA256 = Prehashed(SHA256())
_PADDING = PKCS1v15()


@attrs.frozen
class DkimKey:
    """A private key, and the names under which verifiers find its public half.

    Attributes:
        domain: that signs, in A-labels and lower-case (d=).
        selector: which of the domain's keys this is (s=).
        algorithm: ``rsa-sha256`` or ``ed25519-sha256`` (a=).
    """

    domain: str
    selector: str
    algorithm: str
    _private: RSAPrivateKey | Ed25519PrivateKey = attrs.field(repr=False)

    @classmethod
    def load(cls, domain: str, selector: str, pem: bytes) -> "DkimKey":
        """Read a key from PEM: RSA in PKCS#8 or the traditional form, Ed25519 in PKCS#8.

        Raises:
            InvalidSetting: with what is wrong; the key itself is never quoted.
        """
        domain, selector = _checked_names(domain, selector)
        private = _private_key(pem, f"the DKIM key {selector} of {domain}")
        algorithm = "rsa-sha256" if isinstance(private, RSAPrivateKey) else "ed25519-sha256"
        return cls(domain, selector, algorithm, private)

    @property
    def dns_name(self) -> str:
        """Where the public key is published (RFC 6376, 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def dns_record(self) -> str:
        """The text of the TXT record to publish (RFC 6376, 3.6.1; RFC 8463, 4)."""
        public = b64encode(self.public_bytes).decode("ascii")
        return f"v=DKIM1; k={self.algorithm.removesuffix('-sha256')}; p={public}"

    @property
    def public_bytes(self) -> bytes:
        """The public key as ``p=`` holds it: 32 bytes of Ed25519, or DER of RSA."""
        public = self._private.public_key()
        if isinstance(self._private, Ed25519PrivateKey):
            return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        # 3.6.1 names the bare RSAPublicKey, but appendix C and all the world publish this
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest (RFC 6376, 3.3; RFC 8463, 3); the same bytes each time."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(digest)
        return self._private.sign(digest, _PADDING, _SHA256)


def keys_for(domain: str, keys: Mapping[str, Sequence[DkimKey]]) -> Sequence[DkimKey]:
    """Choose the keys of the sender's domain, else of the nearest parent that has some.

    A parent's signature is aligned with the sender, as DMARC asks by default (RFC 7489, 3.1.1).

    Args:
        domain: of the From address, in any form.
        keys: by domain, in A-labels and lower-case.
    """
    name = domain_to_ascii(domain).lower()
    while name:
        if found := keys.get(name):
            return found
        name = name.partition(".")[2]
    return ()


def _checked_names(domain: str, selector: str) -> tuple[str, str]:
    try:
        name = domain_to_ascii(domain).lower()
    except idna.IDNAError:
        name = ""
    if not _DOMAIN.fullmatch(name):
        raise InvalidSetting(
            f"{domain[:24]!a} is no domain that can sign by DKIM; it looks like example.com"
        )
    label = selector.lower()
    if not _SELECTOR.fullmatch(label):
        raise InvalidSetting(
            f"{selector[:24]!a} is no DKIM selector: letters, digits and hyphens, for example s2026"
        )
    if len(f"{label}._domainkey.{name}") > 253:  # RFC 1035, 2.3.4, as text
        raise InvalidSetting(f"the DKIM selector and the domain {name[:80]} are too long for DNS")
    return name, label


def _private_key(pem: bytes, name: str) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError:  # that is how it asks for the passphrase
        raise InvalidSetting(
            f"{name} is encrypted; decrypt it, for example by openssl pkey -in KEY -out NEW"
        ) from None
    except (ValueError, UnsupportedAlgorithm):  # whose reason might quote the key
        raise InvalidSetting(
            f"{name} is no private key in PEM (-----BEGIN PRIVATE KEY-----); "
            f"openssl genrsa {MIN_RSA_BITS} makes one"
        ) from None
    if isinstance(private, RSAPrivateKey):
        if private.key_size < MIN_RSA_BITS:
            raise InvalidSetting(
                f"{name} has {private.key_size} bits; RSA takes {MIN_RSA_BITS} (RFC 8301, 3.2)"
            )
        return private
    if isinstance(private, Ed25519PrivateKey):
        return private
    raise InvalidSetting(f"{name} is neither of RSA nor of Ed25519, and DKIM knows no other")
