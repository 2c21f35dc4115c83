"""Signatures, as dkimpy verifies them."""

import re
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.address import Address
from mailer.errors import InvalidSetting
from mailer.message import Message
from mailer.mime import render
from mailer.mime.dkim import BodyHash, DkimKey, keys_for, signature_fields

SECONDS = 1_795_422_240


def pem(private, encryption=None):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@cache
def key(kind, domain="example.com", selector=None):
    made = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    return DkimKey.load(domain, selector or kind, pem(made))


PIECES = [b" ", b"\t", b"\r\n", b"a", b"bc.", b"  \t"]
NOT_A_KEY = b"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"
BOTH = (key("rsa"), key("ed25519"))


def dns(name, timeout=5):
    records = {f"{k.record_name}.": k.record for k in BOTH}
    return records.get(name.decode(), "").encode()


def signed(keys=BOTH, **fields):
    defaults = {
        "message_id": "<1@example.com>",
        "from_email": Address("shop@example.com", "Größe"),
        "to": (Address("jm@example.org"),),
        "subject": "Ihre Bestellung ✓ ist unterwegs",
        "date": SECONDS,
        "text": "Hallo,  \n\n\tviele   Grüße \n\n\n",
        "html": "<p>  Hallo  </p>",
    }
    draft = render(Message(**(defaults | fields)), {}, utf8_headers=True, eight_bit=True)
    body = BodyHash()
    for part in draft.body:
        body.update(part)
    return signature_fields(draft.header, body.digest(), keys, SECONDS) + bytes(draft)


def verdicts(message):
    verifier = dkim.DKIM(message)
    count = message.lower().count(b"dkim-signature:")
    results = []
    for i in range(count):
        try:
            results.append(verifier.verify(idx=i, dnsfunc=dns))
        except dkim.DKIMException:
            results.append(False)
    return results


def test_both_signatures_verify():
    assert verdicts(signed()) == [True, True]


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "", "html": None},
        {"text": "a\n", "html": None},
        {"text": " \n\n", "html": None},
        {"text": None, "html": "<pre>\t\ta \t\n</pre>\n\n\n"},
        {"to": tuple(Address(f"reader-{i}@example.org", "Jörg, M.") for i in range(40))},
        {"to": (), "cc": ()},
        {"subject": "x " * 200},
        {
            "headers": (
                ("List-Unsubscribe", "<https://example.com/u?t=1>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
                ("References", "<a@b.example> <c@d.example>"),
                ("X-Other", "unsigned"),
            )
        },
    ],
)
def test_whatever_the_message_they_verify(fields):
    assert verdicts(signed(**fields)) == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hallo", b"Hello"),
        (b"Subject: Ihre", b"Subject: Eure"),
        (b"\r\nFrom:", b"\r\nFrom: evil@example.com\r\nFrom:"),
        (b"\r\nSubject:", b"\r\nSubject: evil\r\nSubject:"),
        (b"\r\nTo:", b"\r\nTo: evil@example.com\r\nTo:"),
        (b"\r\nMIME-Version:", b"\r\nReply-To: evil@example.com\r\nMIME-Version:"),
        (b"\r\nMIME-Version:", b"\r\nContent-Type: text/html\r\nMIME-Version:"),
        (b"List-Unsubscribe=One-Click", b"none"),
    ],
)
def test_nothing_that_matters_can_be_changed_or_added(old, new):
    message = signed(
        headers=(
            ("List-Unsubscribe", "<https://example.com/u>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        )
    )
    assert verdicts(message) == [True, True]
    assert old in message
    assert verdicts(message.replace(old, new, 1)) == [False, False]


def test_refolding_and_trailing_white_space_on_the_way_do_no_harm():
    message = signed().replace(b"Ihre Bestellung", b"Ihre\r\n  Bestellung  ")
    message = message.replace(b"  Hallo  </p>", b" Hallo </p>  ") + b"\r\n\r\n"
    assert verdicts(message) == [True, True]


def test_the_same_message_has_the_same_signatures():
    assert signed() == signed()


def test_signatures_fit_into_lines():
    fields = signed().partition(b"\r\nFrom:")[0]
    assert max(map(len, fields.split(b"\r\n"))) <= 78
    assert fields.count(b"d=example.com;") == 2
    assert b"a=rsa-sha256" in fields
    assert b"a=ed25519-sha256" in fields
    assert f"t={SECONDS};".encode() in fields


def test_repeated_fields_are_signed_from_the_bottom_up():
    header = b"From: a@example.com\r\nList-Id: one\r\nList-Id: two\r\n"
    field = signature_fields(header, BodyHash().digest(), [key("rsa")], SECONDS)
    assert verdicts(field + header + b"\r\n") == [True]
    swapped = header.replace(b"one", b"1").replace(b"two", b"one").replace(b"1", b"two")
    assert verdicts(field + swapped + b"\r\n") == [False]


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376, 3.4.5
        (b"no line end", b"no line end\r\n"),
    ],
)
def test_the_body_is_canonicalised_as_in_the_rfc(body, canonical):
    import hashlib

    hashed = BodyHash()
    hashed.update(body)
    assert hashed.digest() == hashlib.sha256(canonical).digest()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"bc.", b"  \t"]), max_size=40), st.data()
)
def test_however_a_body_is_cut_its_hash_is_that_of_the_whole(pieces, data):
    import hashlib

    body = b"".join([*pieces, b"\r\n"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    hashed = BodyHash()
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        hashed.update(body[start:end])
    expected = Relaxed.canonicalize_body(body)
    if not re.sub(rb"\s", b"", body):
        expected = b""  # dkimpy leaves one line end of a blank body; RFC 6376, 3.4.4 does not
    assert hashed.digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize(
    ("domain", "selector", "text", "reason"),
    [
        ("example.com", "s", b"", "no private key in PEM"),
        (
            "example.com",
            "s",
            b"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n",
            "PEM",
        ),
        ("example.com", "s", pem(rsa.generate_private_key(65537, 1024)), "1024 bits is too short"),
        ("example.com", "s", pem(ec.generate_private_key(ec.SECP256R1())), "neither an RSA nor"),
        (
            *("example.com", "s"),
            pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")),
            "encrypted",
        ),
        ("exa mple.com", "s", pem(ed25519.Ed25519PrivateKey.generate()), "is no domain"),
        ("example.com;", "s", pem(ed25519.Ed25519PrivateKey.generate()), "is no domain"),
        ("example.com", "s; x=", pem(ed25519.Ed25519PrivateKey.generate()), "is no selector"),
        ("example.com", "", pem(ed25519.Ed25519PrivateKey.generate()), "is no selector"),
    ],
)
def test_a_key_that_can_t_be_used_is_refused_with_the_reason(domain, selector, text, reason):
    with pytest.raises(InvalidSetting, match=reason):
        DkimKey.load(domain, selector, text)


def test_a_domain_in_unicode_is_kept_in_a_labels():
    made = DkimKey.load("Bücher.example", "S2026", pem(ed25519.Ed25519PrivateKey.generate()))
    assert made.record_name == "s2026._domainkey.xn--bcher-kva.example"


def test_a_key_does_not_show_itself():
    assert repr(key("rsa")) == "DkimKey(domain='example.com', selector='rsa')"


def test_a_subdomain_is_signed_by_the_nearest_domain_that_has_keys():
    keys = {"example.com": ["a"], "mail.example.com": ["b"]}
    assert keys_for("example.com", keys) == ["a"]
    assert keys_for("Mail.Example.com", keys) == ["b"]
    assert keys_for("x.mail.example.com", keys) == ["b"]
    assert keys_for("other.example.com", keys) == ["a"]
    assert keys_for("badexample.com", keys) == ()
    assert keys_for("com", keys) == ()
