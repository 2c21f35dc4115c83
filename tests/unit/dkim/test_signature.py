"""DKIM: what is signed and how, as another implementation sees it (dkimpy)."""

import pickle
import re
import traceback
from base64 import b64encode
from functools import cache
from hashlib import sha256

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from mailer.dkim.keys import DkimKey, keys_for
from mailer.dkim.signature import BodyHash, relaxed_fields, signature_fields
from mailer.errors import InvalidSetting

HEADER = (
    b"From: Shop <shop@example.com>\r\n"
    b"To: ann@example.org\r\n"
    b"Subject: Your order,\r\n\tand   more \r\n"
    b"Date: Mon, 05 Jan 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"X-Order: 42\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 7bit\r\n"
)
BODY = b"Hello,  you \r\n\r\n\tas ever\r\n\r\n\r\n"


@cache
def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


@cache
def ed_key():
    return ed25519.Ed25519PrivateKey.generate()


def pem(private, form=PrivateFormat.PKCS8, encryption=None):
    return private.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def load(private, domain="example.com", selector="s1"):
    return DkimKey.load(domain, selector, pem(private))


def body_digest(*chunks):
    body_hash = BodyHash()
    for chunk in chunks:
        body_hash.update(chunk)
    return body_hash.digest()


def signed(*keys, header=HEADER, body=BODY):
    return signature_fields(header, body_digest(body), keys, 1767607200) + header + b"\r\n" + body


def verified(message, *keys):
    """Say of each signature whether it is good."""
    records = {f"{key.dns_name}.".encode(): key.dns_record.encode() for key in keys}

    def by_index(i):
        try:
            return dkim.DKIM(message).verify(idx=i, dnsfunc=lambda name, **_: records.get(name))
        except dkim.ValidationError:  # the body's hash, for one
            return False

    return [by_index(i) for i in range(message.count(b"DKIM-Signature:"))]


def tags(field):
    """Read the tags of one signature; white space within them means nothing."""
    value = re.sub(r"\s+", "", field.decode().partition(":")[2])
    return dict(part.split("=", 1) for part in value.split(";"))


def names(header):
    return tags(signature_fields(header, b"", [load(ed_key())], 0))["h"].split(":")


@pytest.mark.parametrize("private", [rsa_key, ed_key])
def test_another_implementation_accepts_the_signature(private):
    key = load(private())
    message = signed(key)
    assert dkim.verify(message, dnsfunc=lambda name, **_: key.dns_record.encode())
    assert verified(message, key) == [True]


def test_two_keys_make_two_signatures_in_their_order():
    keys = [load(rsa_key(), selector="s1"), load(ed_key(), selector="s2")]
    message = signed(*keys)
    assert verified(message, *keys) == [True, True]
    assert re.findall(rb"a=([a-z0-9-]+);", message) == [b"rsa-sha256", b"ed25519-sha256"]


def test_no_keys_make_no_signature():
    assert signature_fields(HEADER, body_digest(BODY), [], 0) == b""


def test_the_same_message_gets_the_same_signature():
    keys = [load(rsa_key()), load(ed_key())]
    assert signed(*keys) == signed(*keys)


def test_the_field_says_what_the_standard_asks_for():
    key = load(ed_key(), domain="Bücher.Example")
    field = signature_fields(HEADER, body_digest(BODY), [key], 1767607200)
    found = tags(field)
    assert found.pop("b")
    assert found.pop("h")
    assert found == {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/relaxed",
        "d": "xn--bcher-kva.example",
        "s": "s1",
        "t": "1767607200",
        "bh": b64encode(sha256(b"Hello, you\r\n\r\n as ever\r\n").digest()).decode(),
    }


def test_lines_are_short_and_end_with_crlf():
    field = signature_fields(HEADER, body_digest(BODY), [load(rsa_key()), load(ed_key())], 0)
    assert field.endswith(b"\r\n")
    assert max(map(len, field.split(b"\r\n"))) <= 76
    assert b"\n" not in field.replace(b"\r\n", b"")


def test_a_domain_longer_than_a_line_is_signed_for_too():
    key = load(ed_key(), domain=".".join(["a" * 60] * 3) + ".example")
    assert verified(signed(key), key) == [True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"as ever", b"as never"),
        (b"Your order", b"Your odor"),
        (b"Date: Mon", b"Date: Tue"),
        (b"text/plain", b"text/html"),
        (b"t=1767607200", b"t=1767607201"),
        *(
            (b"X-Order: 42\r\n", b"X-Order: 42\r\n" + added)
            for added in (
                b"From: eve@example.net\r\n",
                b"Sender: eve@example.net\r\n",
                b"Reply-To: eve@example.net\r\n",
                b"To: eve@example.net\r\n",
                b"Cc: eve@example.net\r\n",
                b"Subject: Eve's\r\n",
                b"Date: Tue, 06 Jan 2026 10:00:00 +0000\r\n",
                b"Message-ID: <2@example.net>\r\n",
                b"MIME-Version: 2.0\r\n",
                b"Content-Type: text/html\r\n",
            )
        ),
    ],
)
def test_tampering_breaks_the_signature(old, new):
    keys = [load(rsa_key(), selector="s1"), load(ed_key(), selector="s2")]
    message = signed(*keys)
    assert old in message
    assert verified(message.replace(old, new), *keys) == [False, False]
    if new.startswith(old):  # one at the very top, which many programs show, is no better
        added = new.removeprefix(old)
        assert verified(added + message, *keys) == [False, False]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"X-Order: 42", b"X-Order: 43"),
        (b"X-Order: 42\r\n", b""),
        (b"\tand   more ", b" and more"),
        (b"Subject: Your", b"SUBJECT:   Your"),
        (b"Hello,  you ", b"Hello,\tyou"),
        (b"\r\n\r\n\r\n", b"\r\n"),
    ],
)
def test_what_relays_may_touch_breaks_nothing(old, new):
    key = load(ed_key())
    message = signed(key)
    assert old in message
    assert verified(message.replace(old, new), key) == [True]


def test_fields_are_named_as_often_as_they_occur_and_unique_ones_once_more():
    assert names(HEADER) == [
        *["from", "from", "sender", "reply-to", "to", "to", "cc", "subject", "subject"],
        *["date", "date", "message-id", "message-id", "mime-version", "mime-version"],
        *["content-type", "content-type"],
        *["content-transfer-encoding", "content-transfer-encoding"],
    ]


def test_unsubscribing_is_signed_where_it_is_offered():
    header = HEADER + (
        b"List-Unsubscribe: <https://example.com/u/42>\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    )
    assert names(header)[-2:] == ["list-unsubscribe", "list-unsubscribe-post"]
    key = load(ed_key())
    message = signed(key, header=header)
    assert verified(message, key) == [True]
    assert verified(message.replace(b"/u/42", b"/u/43"), key) == [False]


def test_repeated_fields_are_signed_from_the_last_one_up():
    header = HEADER + b"List-Post: <a@example.com>\r\nX-A: b\r\nList-Post: <b@example.com>\r\n"
    assert names(header)[-2:] == ["list-post", "list-post"]
    key = load(ed_key())
    message = signed(key, header=header)
    assert verified(message, key) == [True]
    assert verified(message.replace(b"<a@", b"<c@"), key) == [False]


@pytest.mark.parametrize(
    "header",
    [
        b"From: a@example.com\r\n",
        HEADER.replace(b"To: ann@example.org\r\n", b""),
        HEADER.replace(b"Shop", "Grüße 日本語".encode()),
        HEADER.replace(b"Subject: ", b"Subject:\r\n \r\n\t"),
        HEADER.replace(b"Subject: Your order,\r\n\tand   more ", b"Subject:"),
        HEADER.replace(b"Your order", b"a: b=c; d"),
        HEADER.replace(b"Subject:", b"sUBJECT:\t"),
    ],
    ids=["From alone", "no To", "UTF-8", "folded", "empty", "colons", "odd name"],
)
def test_any_header_is_signed(header):
    keys = [load(rsa_key(), selector="s1"), load(ed_key(), selector="s2")]
    assert verified(signed(*keys, header=header), *keys) == [True, True]


def test_the_empty_line_behind_a_header_may_be_given_too():
    keys = [load(ed_key())]
    assert signature_fields(HEADER + b"\r\n", b"", keys, 0) == signature_fields(
        HEADER, b"", keys, 0
    )


def test_the_standards_example_is_brought_into_its_relaxed_form():
    """RFC 6376, 3.4.5."""
    assert relaxed_fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n") == {
        b"a": [b"a:X\r\n"],
        b"b": [b"b:Y Z\r\n"],
    }
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert body_digest(body) == sha256(b" C\r\nD E\r\n").digest()


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\n\r\n", b" \t\r\n", b" ", b"\t\r\n \r\n\t"])
def test_a_body_without_text_hashes_as_nothing(body):
    assert body_digest(body) == sha256(b"").digest()
    assert body_digest() == sha256(b"").digest()


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b"a", b"a\r\n"),
        (b"a ", b"a\r\n"),
        (b"a\r", b"a\r\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a\r\n \r\n\r\nb", b"a\r\n\r\n\r\nb\r\n"),
        (b"a\nb \n\n", b"a\nb \n\n\r\n"),
    ],
)
def test_a_last_line_without_an_end_gets_one(body, relaxed):
    assert body_digest(body) == sha256(relaxed).digest()
    assert body_digest(*(bytes([byte]) for byte in body)) == sha256(relaxed).digest()


def test_asking_for_the_digest_again_changes_nothing():
    body_hash = BodyHash()
    body_hash.update(BODY)
    assert body_hash.digest() == body_hash.digest()


pieces = st.lists(
    st.lists(
        st.sampled_from([b" ", b"  ", b"\t", b"\r\n", b"\r", b"\n", b"a", b"bc", b"=", b"\xfc"])
    ).map(b"".join)
)


@given(pieces)
def test_any_body_in_any_pieces_hashes_as_the_whole_does_elsewhere(chunks):
    body = b"".join(chunks)
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"  # as it would arrive
    expected = sha256(Relaxed.canonicalize_body(body)).digest()
    assert body_digest(*chunks) == expected
    assert body_digest(body) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"From", b"To ", b"subject", b"X-A\t"]),
            st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b":", b"\xfc"])),
        )
    )
)
def test_any_header_is_relaxed_as_it_is_elsewhere(fields):
    fields = [(name, b"".join(value) + b"\r\n") for name, value in fields]
    expected = {}
    for name, value in Relaxed.canonicalize_headers(fields):
        expected.setdefault(name, []).append(name + b":" + value)
    assert relaxed_fields(b"".join(name + b":" + value for name, value in fields)) == expected


def test_a_key_is_read_from_the_traditional_form_too():
    key = DkimKey.load("example.com", "S1", pem(rsa_key(), PrivateFormat.TraditionalOpenSSL))
    assert (key.algorithm, key.dns_name) == ("rsa-sha256", "s1._domainkey.example.com")
    assert key.dns_record == load(rsa_key()).dns_record


def test_a_key_knows_its_record():
    """RFC 8463, appendix A.1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = load(ed25519.Ed25519PrivateKey.from_private_bytes(seed))
    assert key.dns_record == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert load(rsa_key()).dns_record.startswith("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOC")


@pytest.mark.parametrize("private", [rsa_key, ed_key])
def test_a_key_never_shows_itself(private):
    key = load(private())
    algorithm = key.algorithm
    shown = f"DkimKey(domain='example.com', selector='s1', algorithm={algorithm!r})"
    assert f"{key!r} {key} {[key]}" == f"{shown} {shown} [{shown}]"
    with pytest.raises(TypeError):  # nor leaves the process
        pickle.dumps(key)


def bad_pem(name):
    return {
        "encrypted": lambda: pem(ed_key(), encryption=BestAvailableEncryption(b"secret")),
        "small": lambda: pem(rsa_key(1024)),
        "elliptic": lambda: pem(ec.generate_private_key(ec.SECP256R1())),
        "public": lambda: (
            ed_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        "cut": lambda: pem(rsa_key())[:800],
        "seed": lambda: b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        "empty": lambda: b"",
        "binary": lambda: bytes(range(256)),
    }[name]()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("encrypted", "is encrypted; decrypt it"),
        ("small", "has 1024 bits; RSA takes 2048"),
        ("elliptic", "neither of RSA nor of Ed25519"),
        ("public", "no private key in PEM"),
        ("cut", "no private key in PEM"),
        ("seed", "no private key in PEM"),
        ("empty", "no private key in PEM"),
        ("binary", "no private key in PEM"),
    ],
)
def test_a_key_that_can_not_sign_is_refused_without_being_quoted(name, reason):
    given_pem = bad_pem(name)
    with pytest.raises(InvalidSetting, match=reason) as caught:
        DkimKey.load("example.com", "s1", given_pem)
    assert "s1 of example.com" in str(caught.value)
    told = "".join(traceback.format_exception(caught.value))
    for line in given_pem.splitlines():
        assert len(line) < 20 or line.startswith(b"-----") or line.decode("latin-1") not in told


@pytest.mark.parametrize(
    ("domain", "selector"),
    [
        ("", "s1"),
        ("localhost", "s1"),
        ("example.com.", "s1"),
        ("-a.example", "s1"),
        ("a b.example", "s1"),
        ("example.com\r\nX: y", "s1"),
        ("ü" * 100 + ".example", "s1"),
        ("example.com", ""),
        ("example.com", "s_1"),
        ("example.com", "s1."),
        ("example.com", "s1; x=y"),
        ("example.com", "ß"),
        ("example.com", "s1\n"),
        (".".join(["a" * 60] * 4), "selector"),
    ],
)
def test_names_that_dns_can_not_hold_are_refused(domain, selector):
    with pytest.raises(InvalidSetting, match=r"no domain|no DKIM selector|too long for DNS"):
        DkimKey.load(domain, selector, pem(ed_key()))


def test_the_nearest_domain_that_has_keys_signs():
    own, parent = [load(ed_key(), "mail.example.com")], [load(ed_key())]
    keys = {"mail.example.com": own, "example.com": parent, "empty.example.com": []}
    assert keys_for("mail.example.com", keys) is own
    assert keys_for("a.b.Mail.EXAMPLE.com", keys) is own
    assert keys_for("shop.example.com", keys) is parent
    assert keys_for("empty.example.com", keys) is parent
    assert keys_for("badexample.com", keys) == ()
    assert keys_for("com", keys) == ()
    assert keys_for("[192.0.2.1]", keys) == ()


def test_a_domain_in_unicode_has_its_keys_under_a_labels():
    keys = [load(ed_key(), "bücher.example")]
    assert keys_for("shop.Bücher.example", {keys[0].domain: keys}) is keys
