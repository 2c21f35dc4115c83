"""`build`: exact bytes, and what it refuses."""

import pickle
from hashlib import sha256

import pytest

from mailer.address import Address
from mailer.message import AttachmentRef, Message, Source
from mailer.mime import CannotBuild, NeedsSmtpUtf8, render

PDF = b"%PDF-1.7\n" * 12
CANONICAL = Message(
    message_id="<42.7f3a@shop.example.com>",
    date=1_795_422_240,
    from_email=Address("shop@example.com", "Shop, Köln"),
    to=(Address("jm@example.org", "Jörg Müller"), Address("a@bücher.example", "A. Reader")),
    cc=(Address("office@example.org"),),
    reply_to=(Address("help@example.com", "Help desk"),),
    subject="Your order ✓",
    text="Grüße!\n",
    html="<p>Hello <b>you</b></p>",
    headers=(("X-Order", "42"), ("List-Unsubscribe", "<https://example.com/u?t=1>")),
    attachments=(
        AttachmentRef(
            "Preisübersicht.pdf", "application/pdf", Source(sha256(PDF).hexdigest(), len(PDF))
        ),
    ),
)
CANONICAL_WIRE = """\
From: =?utf-8?b?U2hvcCwgS8O2bG4=?= <shop@example.com>
To: =?utf-8?b?SsO2cmcgTcO8bGxlcg==?= <jm@example.org>,
 "A. Reader" <a@xn--bcher-kva.example>
Cc: office@example.org
Reply-To: Help desk <help@example.com>
Subject: Your order =?utf-8?b?4pyT?=
Date: Mon, 23 Nov 2026 08:24:00 +0000
Message-ID: <42.7f3a@shop.example.com>
X-Order: 42
List-Unsubscribe: <https://example.com/u?t=1>
MIME-Version: 1.0
Content-Type: multipart/mixed;
 boundary="=_00_SEAL"

--=_00_SEAL
Content-Type: multipart/alternative;
 boundary="=_01_SEAL"

--=_01_SEAL
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

R3LDvMOfZSENCg==
--=_01_SEAL
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 7bit

<p>Hello <b>you</b></p>
--=_01_SEAL--
--=_00_SEAL
Content-Type: application/pdf
Content-Disposition: attachment;
 filename*=utf-8''Preis%C3%BCbersicht.pdf;
 filename="Preisubersicht.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBE
Ri0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcKJVBERi0xLjcK
--=_00_SEAL--
"""


def wire_of(message, contents, **options):
    return bytes(render(message, contents, **options))


def message(**fields) -> Message:
    fields = {"message_id": "<1@example.com>", "from_email": Address("a@example.com")} | fields
    return Message(**fields)


def header(wire: bytes) -> str:
    return wire.partition(b"\r\n\r\n")[0].decode()


def test_the_canonical_message_to_the_byte():
    seal = sha256(b"<42.7f3a@shop.example.com>0").hexdigest()[:32]
    expected = CANONICAL_WIRE.replace("SEAL", seal).replace("\n", "\r\n").encode("ascii")
    contents = {sha256(PDF).hexdigest(): PDF}
    assert wire_of(CANONICAL, contents) == expected
    assert wire_of(CANONICAL, contents) == expected


def test_without_to_and_cc_nobody_is_named():
    assert "\r\nTo: undisclosed-recipients:;\r\n" in header(wire_of(message(), {}))
    assert "undisclosed" not in header(wire_of(message(cc=(Address("c@example.com"),)), {}))


def test_headers_are_utf8_where_the_relay_takes_them():
    wire = wire_of(CANONICAL, {sha256(PDF).hexdigest(): PDF}, utf8_headers=True, eight_bit=True)
    assert "Subject: Your order ✓\r\n" in header(wire)
    assert 'To: Jörg Müller <jm@example.org>, "A. Reader" <a@bücher.example>' in header(wire)
    assert b"8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe!\r\n\r\n--" in wire


def test_a_local_part_in_utf8_needs_a_relay_that_takes_it():
    to_jorg = message(to=(Address("jörg@example.com"),))
    with pytest.raises(NeedsSmtpUtf8, match="SMTPUTF8") as caught:
        wire_of(to_jorg, {})
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert "To: jörg@example.com" in header(wire_of(to_jorg, {}, utf8_headers=True))


@pytest.mark.parametrize(
    "name", ["Bcc", "bcc", "Resent-Bcc", "From", "Content-Type", "MIME-Version"]
)
def test_fields_of_our_own_are_not_to_be_had_as_custom_headers(name):
    with pytest.raises(CannotBuild, match="written by the mailer itself"):
        wire_of(message(headers=((name, "x@example.com"),)), {})


@pytest.mark.parametrize(
    "evil", ["\r\nBcc: x@y", "\n", "\r", "\0", "\x85", "\u2028", "\ud800"], ids=ascii
)
def test_nothing_that_ends_a_line_gets_into_a_header(evil):
    """Checks at enqueue come first; a record that got around them still can't inject."""
    for fields in (
        {"subject": f"a{evil}b"},
        {"message_id": f"<1{evil}@example.com>"},
        {"headers": (("X-A", f"a{evil}b"),)},
        {"headers": (("References", f"a{evil}b"),)},
        {"headers": (("Sender", f"ü{evil} <a@example.com>"),)},
        {"headers": ((f"X-A{evil}", "b"),)},
        {
            "html": "h",
            "attachments": (
                AttachmentRef("f", "image/png", Source("x", 1), content_id=f"a{evil}"),
            ),
        },
    ):
        with pytest.raises(CannotBuild):
            wire_of(message(**fields), {"x": b""})
    kind = AttachmentRef("f", f"text/plain{evil}", Source("x", 1))
    assert b"Content-Type: application/octet-stream\r\n" in wire_of(
        message(attachments=(kind,)), {"x": b""}
    )


def test_a_lone_surrogate_in_a_body_is_named():
    with pytest.raises(CannotBuild, match="lone surrogate at character 1"):
        wire_of(message(text="a\ud800"), {})
