"""The nesting of parts, for each combination of them, as the standard library's parser sees it."""

from email import message_from_bytes
from email.policy import default
from hashlib import sha256

import pytest

from mailer.address import Address
from mailer.errors import AttachmentUnavailable
from mailer.message import AttachmentRef, Message, Prepared, Source
from mailer.mime import render

PDF = b"%PDF-1.7 \x00\xff"
PNG = b"\x89PNG\r\n\x1a\n"
EML = b"From: a@example.com\nSubject: inner\n\nforwarded\n"
CONTENTS = {sha256(data).hexdigest(): data for data in (PDF, PNG, EML)}

pdf = AttachmentRef("a.pdf", "application/pdf", Source(sha256(PDF).hexdigest(), len(PDF)))
logo = AttachmentRef(
    "l.png", "image/png", Source(sha256(PNG).hexdigest(), len(PNG)), content_id="logo"
)
forwarded = AttachmentRef("f.eml", "message/rfc822", Source(sha256(EML).hexdigest(), len(EML)))


def wire_of(message, contents, **options):
    return bytes(render(message, contents, **options))


def tree(*, contents=CONTENTS, **fields):
    message = Message(message_id="<1@example.com>", from_email=Address("a@example.com"), **fields)
    return described(message_from_bytes(wire_of(message, contents), policy=default))


def described(part):
    """Name a part; one made of others with the list of them."""
    kind = part.get_content_type()
    if part.is_multipart():
        return {kind: [described(child) for child in part.iter_parts()]}
    disposition = part.get_content_disposition()
    return f"{kind} {disposition}" if disposition else kind


TEXT, HTML = "text/plain", "text/html"
A_PDF, A_LOGO, INLINE = "application/pdf attachment", "image/png attachment", "image/png inline"
RELATED = {"multipart/related": [HTML, INLINE]}
ALTERNATIVE = {"multipart/alternative": [TEXT, HTML]}
ALTERNATIVE_RELATED = {"multipart/alternative": [TEXT, RELATED]}


@pytest.mark.parametrize(
    ("text", "html", "attachments", "expected"),
    [
        ("t", None, (), TEXT),
        (None, "h", (), HTML),
        ("t", "h", (), ALTERNATIVE),
        (None, None, (), TEXT),
        ("", "", (), TEXT),
        ("", "h", (), HTML),
        ("t", "", (), TEXT),
        (None, "h", (logo,), RELATED),
        (None, "h", (logo, logo), {"multipart/related": [HTML, INLINE, INLINE]}),
        ("t", "h", (logo,), ALTERNATIVE_RELATED),
        ("t", None, (pdf,), {"multipart/mixed": [TEXT, A_PDF]}),
        (None, "h", (pdf,), {"multipart/mixed": [HTML, A_PDF]}),
        ("t", "h", (pdf, pdf), {"multipart/mixed": [ALTERNATIVE, A_PDF, A_PDF]}),
        (None, "h", (logo, pdf), {"multipart/mixed": [RELATED, A_PDF]}),
        ("t", "h", (pdf, logo), {"multipart/mixed": [ALTERNATIVE_RELATED, A_PDF]}),
        # nothing shows an image inside a plain text
        ("t", None, (logo,), {"multipart/mixed": [TEXT, A_LOGO]}),
        (None, None, (pdf,), {"multipart/mixed": [A_PDF]}),
        (None, None, (logo,), {"multipart/mixed": [A_LOGO]}),
        ("t", None, (forwarded,), {"multipart/mixed": [TEXT, {"message/rfc822": [TEXT]}]}),
    ],
)
def test_parts_nest_as_deep_as_they_must_and_no_deeper(text, html, attachments, expected):
    assert tree(text=text, html=html, attachments=attachments) == expected


AMP, CALENDAR = "text/x-amp-html", "text/calendar"
INVITATION = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"


@pytest.mark.parametrize(
    ("text", "html", "attachments", "expected"),
    [
        # AMP between text and HTML, an invitation behind all other forms
        ("t", "h", (), {"multipart/alternative": [TEXT, AMP, HTML, CALENDAR]}),
        ("t", None, (), {"multipart/alternative": [TEXT, AMP, CALENDAR]}),
        (None, "h", (), {"multipart/alternative": [AMP, HTML, CALENDAR]}),
        ("t", "h", (logo,), {"multipart/alternative": [TEXT, AMP, RELATED, CALENDAR]}),
        (
            *("t", "h", (pdf, logo, forwarded)),
            {
                "multipart/mixed": [
                    {"multipart/alternative": [TEXT, AMP, RELATED, CALENDAR]},
                    A_PDF,
                    {"message/rfc822": [TEXT]},
                ]
            },
        ),
    ],
)
def test_every_form_of_the_body_has_its_place(text, html, attachments, expected):
    found = tree(text=text, html=html, amp="a", calendar=INVITATION, attachments=attachments)
    assert found == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"calendar": INVITATION}, CALENDAR),
        ({"text": "t", "calendar": INVITATION}, {"multipart/alternative": [TEXT, CALENDAR]}),
        (
            {"text": "t", "calendar": INVITATION, "attachments": (pdf,)},
            {"multipart/mixed": [{"multipart/alternative": [TEXT, CALENDAR]}, A_PDF]},
        ),
        ({"text": "t", "amp": "a"}, {"multipart/alternative": [TEXT, AMP]}),
        ({"html": "h", "calendar": INVITATION}, {"multipart/alternative": [HTML, CALENDAR]}),
        (
            {"html": "h", "calendar": INVITATION, "attachments": (logo,)},
            {"multipart/alternative": [RELATED, CALENDAR]},
        ),
        (
            {"html": "h", "amp": "a", "attachments": (logo, pdf)},
            {"multipart/mixed": [{"multipart/alternative": [AMP, RELATED]}, A_PDF]},
        ),
        (
            {"calendar": INVITATION, "attachments": (pdf,)},
            {"multipart/mixed": [CALENDAR, A_PDF]},
        ),
        # nothing shows an image inside an invitation
        (
            {"calendar": INVITATION, "attachments": (logo,)},
            {"multipart/mixed": [CALENDAR, A_LOGO]},
        ),
        (
            {"text": "t", "attachments": (forwarded, logo)},
            {"multipart/mixed": [TEXT, {"message/rfc822": [TEXT]}, A_LOGO]},
        ),
        (
            {"text": "t", "amp": "a", "attachments": (forwarded,)},
            {
                "multipart/mixed": [
                    {"multipart/alternative": [TEXT, AMP]},
                    {"message/rfc822": [TEXT]},
                ]
            },
        ),
        ({"attachments": (forwarded,)}, {"multipart/mixed": [{"message/rfc822": [TEXT]}]}),
    ],
)
def test_forms_that_are_not_there_leave_no_gap(fields, expected):
    assert tree(**fields) == expected


def test_a_prepared_message_keeps_the_parts_it_has():
    """Whatever they are: nothing is nested anew, nor labelled."""
    body = (
        b"--b\r\nContent-Type: multipart/x-own; boundary=c\r\n\r\n"
        b"--c\r\nContent-Type: text/x-own\r\n\r\nx\r\n--c--\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n"
    )
    source = Source(sha256(body).hexdigest(), len(body))
    header = "From: a@example.com\r\nContent-Type: multipart/report; boundary=b\r\n"
    assert tree(contents={source.sha256: body}, prepared=Prepared(header, source)) == {
        "multipart/report": [{"multipart/x-own": ["text/x-own"]}, {"message/rfc822": [TEXT]}]
    }


def test_the_parts_say_what_they_are():
    message = Message(
        "<1@example.com>", Address("a@example.com"), text="t", amp="a", calendar=INVITATION
    )
    text, amp, calendar = message_from_bytes(wire_of(message, {}), policy=default).iter_parts()
    assert text["Content-Type"].params == amp["Content-Type"].params == {"charset": "utf-8"}
    assert calendar["Content-Type"].params == {"charset": "utf-8", "method": "REQUEST"}


@pytest.mark.parametrize(
    "content", [b"a\0b", b"a\rb", b"x" * 999, "Subject: ü\n\nü".encode()], ids=ascii
)
def test_a_message_that_may_not_be_encoded_travels_as_an_opaque_file(content):
    digest = sha256(content).hexdigest()
    eml = AttachmentRef("f.eml", "message/rfc822", Source(digest, len(content)))
    message = Message(
        message_id="<1@example.com>", from_email=Address("a@example.com"), attachments=(eml,)
    )
    parsed = message_from_bytes(wire_of(message, {digest: content}), policy=default)
    (part,) = parsed.iter_attachments()
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_filename() == "f.eml"
    assert part.get_content() == content


def test_a_message_in_utf8_travels_as_it_is_where_the_relay_takes_eight_bits():
    content = "Subject: x\n\nü\n".encode()
    digest = sha256(content).hexdigest()
    eml = AttachmentRef("f.eml", "message/rfc822", Source(digest, len(content)))
    message = Message(
        message_id="<1@example.com>", from_email=Address("a@example.com"), attachments=(eml,)
    )
    wire = wire_of(message, {digest: content}, eight_bit=True)
    assert b"Content-Transfer-Encoding: 8bit\r\n\r\nSubject: x\r\n\r\n\xc3\xbc\r\n" in wire


def test_a_forwarded_copy_of_the_message_itself_does_not_end_it():
    """A boundary that a part holds is never used, even if it was made from the same id."""
    first = Message(
        message_id="<1@example.com>", from_email=Address("a@example.com"), text="t", html="h"
    )
    copy = wire_of(first, {})
    digest = sha256(copy).hexdigest()
    eml = AttachmentRef("copy.eml", "message/rfc822", Source(digest, len(copy)))
    attached = tree(contents={digest: copy}, text="t", html="h", attachments=(eml,))
    assert attached == {"multipart/mixed": [ALTERNATIVE, {"message/rfc822": [ALTERNATIVE]}]}


def test_a_multipart_as_an_attachment_is_an_opaque_file():
    odd = AttachmentRef("a", "multipart/mixed; boundary=x", pdf.source)
    assert tree(text="t", attachments=(odd,)) == {
        "multipart/mixed": [TEXT, "application/octet-stream attachment"]
    }


def test_content_that_was_not_given_is_named():
    with pytest.raises(AttachmentUnavailable, match=f"{pdf.source.sha256} is missing"):
        tree(contents={}, attachments=(pdf,))
