"""What signing a message costs: a 4 KB one against a bare signature, a body against bare SHA-256.

Alternately, the median of several rounds. Takes some 10 s.
"""

import statistics
import timeit
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from os import urandom

from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mailer import Email, load_settings
from mailer.dkim.keys import DkimKey
from mailer.dkim.signature import BodyHash, signature_fields
from mailer.enqueueing import new_job
from mailer.mime import render

ROUNDS, TIMES = 15, 200
CHUNK = 300_000


def message() -> tuple[bytes, bytes]:
    """Build a letter of some 4 KB: its header, and its body."""
    email = Email(
        from_email="Shop <shop@example.com>",
        to=["Jörg Müller <jm@example.org>", "ann@example.org"],
        reply_to="help@example.com",
        subject="Your order ✓ of Monday, and a few words more",
        text="A line of a letter, as they are, with words  and  spaces in it.\n" * 50,
        headers={"List-Unsubscribe": "<https://example.com/u/42>", "X-Order": "42"},
    )
    job = new_job(email, load_settings(redis_url="redis://nowhere.invalid"))
    built = bytes(render(job.message, {}))
    header, _, body = built.partition(b"\r\n\r\n")
    return header + b"\r\n", body


def hashed(body: bytes, size: int) -> bytes:
    """Hash a body in pieces."""
    body_hash = BodyHash()
    for start in range(0, len(body), size):
        body_hash.update(body[start : start + size])
    return body_hash.digest()


def bare(body: bytes, size: int) -> bytes:
    """Hash the same pieces as they are."""
    plain = sha256()
    for start in range(0, len(body), size):
        plain.update(body[start : start + size])
    return plain.digest()


def medians(*ways: Callable[[], object], times: int) -> list[list[float]]:
    """Time each way in turn, in each round; return the rounds' times by way."""
    rounds: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, taken in zip(ways, rounds, strict=True):
            taken.append(timeit.timeit(way, number=times) / times)
    return rounds


def report(name: str, ours: list[float], plain: list[float]) -> None:
    """Print both medians, and the median and the range of the rounds' ratios."""
    ratios = sorted(a / b for a, b in zip(ours, plain, strict=True))
    print(
        f"{name:22} {statistics.median(ours) * 1e6:9.1f} µs"
        f"   bare {statistics.median(plain) * 1e6:9.1f} µs"
        f"   x{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def main() -> None:
    """Print the figures."""
    header, body = message()
    private_rsa = rsa.generate_private_key(65537, 2048)
    private_ed = ed25519.Ed25519PrivateKey.generate()
    one, other = (
        DkimKey.load(
            "example.com",
            "bench",
            private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        for private in (private_rsa, private_ed)
    )

    def signed(*keys: DkimKey) -> bytes:
        return signature_fields(header, hashed(body, CHUNK), keys, 1_700_000_000)

    by_rsa, by_ed, by_both, only_hash, bare_rsa, bare_ed, bare_hash = medians(
        lambda: signed(one),
        lambda: signed(other),
        lambda: signed(one, other),
        lambda: hashed(body, CHUNK),
        lambda: private_rsa.sign(header, padding.PKCS1v15(), SHA256()),
        lambda: private_ed.sign(header),
        lambda: bare(body, CHUNK),
        times=TIMES,
    )
    print(f"a message of {len(header) + len(body)} bytes, {ROUNDS} rounds")
    report("RSA-2048", by_rsa, bare_rsa)
    report("Ed25519", by_ed, bare_ed)
    report("both", by_both, [a + b for a, b in zip(bare_rsa, bare_ed, strict=True)])
    report("body hash alone", only_hash, bare_hash)

    digits = b64encode(urandom(25_000_000 * 57 // 78))
    large = b"".join(digits[i : i + 76] + b"\r\n" for i in range(0, len(digits), 76))
    ours, plain = medians(lambda: hashed(large, CHUNK), lambda: bare(large, CHUNK), times=1)
    report(f"{len(large) / 1e6:.0f} MB of base64", ours, plain)
    rates = [len(large) / statistics.median(taken) / 1e6 for taken in (ours, plain)]
    print(f"{'':22} {rates[0]:9,.0f} MB/s bare {rates[1]:9,.0f} MB/s")


if __name__ == "__main__":
    main()
