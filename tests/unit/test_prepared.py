"""Messages that another library has built: taken as they are, or refused with the reason."""

import re
import time
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart

import pytest

from mailer import Email, InvalidEmail, load_settings
from mailer.enqueueing import new_job
from mailer.mime import CannotBuild, NeedsSmtpUtf8, needs_smtputf8, render

DATE = 1_795_422_240
PLAIN = b"From: Shop <a@example.com>\nTo: b@example.org\nSubject: Hi\n\nText\n"


def wire_of(message, *, eight_bit=True, **fields):
    import msgspec

    job = new_job(Email.from_message(message, **fields), load_settings())
    dated = msgspec.structs.replace(job.message, date=DATE)
    return bytes(render(dated, job.blobs, eight_bit=eight_bit, utf8_headers=True))


def refused(message, **fields):
    with pytest.raises(InvalidEmail) as caught:
        Email.from_message(message, **fields)
    return str(caught.value)


def test_what_is_there_stays_and_what_is_missing_is_added():
    original = (
        b"X-First:  two  spaces\n and a fold\nFrom: Shop <a@example.com>\nTo: b@example.org\n"
        b"X-Last: =?utf-8?q?as=20it=20is?=\n\n..\n.\nlast\n"
    )
    wire = wire_of(original)
    header, _, body = wire.partition(b"\r\n\r\n")
    date, message_id, *kept, version = header.split(b"\r\n")
    assert date == b"Date: Mon, 23 Nov 2026 08:24:00 +0000"
    assert message_id.startswith(b"Message-ID: <")
    assert version == b"MIME-Version: 1.0"
    assert b"\n".join(kept) == original.partition(b"\n\n")[0]
    assert body == b"..\r\n.\r\nlast\r\n"


def test_its_own_date_and_message_id_are_kept():
    own = b"Date: Thu, 01 Jan 2026 00:00:00 +0100\nMessage-ID: <own@example.com>\n" + PLAIN
    wire = wire_of(own)
    assert wire.count(b"Date:") == wire.count(b"Message-ID:") == 1
    assert b"Message-ID: <own@example.com>\r\n" in wire
    job = new_job(Email.from_message(own), load_settings())
    assert job.head.message_id == "<own@example.com>"


def test_who_gets_it_secretly_is_told_to_nobody():
    message = PLAIN.replace(b"\n\n", b"\nBcc: c@example.org\nReturn-Path: <x@y>\n\n", 1)
    email = Email.from_message(message + b"Bcc: is a word of the body too\n")
    assert [a.email for a in email.recipients] == ["b@example.org", "c@example.org"]
    header, _, body = wire_of(message + b"Bcc: is a word of the body too\n").partition(b"\r\n\r\n")
    assert b"c@example.org" not in header
    assert b"Return-Path" not in header
    assert b"Bcc: is a word" in body


def test_the_recipients_of_the_envelope_may_be_others():
    email = Email.from_message(
        PLAIN, recipients=["x@example.org"], envelope_sender="bounce@a.example"
    )
    assert [a.email for a in email.recipients] == ["x@example.org"]
    assert b"To: b@example.org\r\n" in wire_of(PLAIN, recipients=["x@example.org"])


def test_what_is_recorded_is_what_the_header_says():
    message = PLAIN.replace(b"Subject: Hi", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    email = Email.from_message(message, tags=["a"], metadata={"b": 1}, priority="high")
    assert (email.subject, str(email.from_email)) == ("Grüße", '"Shop" <a@example.com>')
    assert (email.tags, email.priority) == (("a",), "high")


@pytest.mark.parametrize(
    ("to", "found"),
    [
        (b"undisclosed-recipients:;\nCc: b@example.org", ["b@example.org"]),
        (b"Team: a@example.org, b@example.org;, c@example.org", ["a@", "b@", "c@"]),
        (b'"Doe, J." <j@example.org>,\n K <k@example.org>', ["j@", "k@"]),
    ],
)
def test_lists_and_groups_are_read(to, found):
    email = Email.from_message(PLAIN.replace(b"b@example.org", to))
    assert [a.email for a in email.recipients] == [
        name if "." in name else f"{name}example.org" for name in found
    ]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "has no header"),
        (b"\n\nbody", "has no header"),
        (b"To: b@example.org\n\nx", "message['from']: is missing"),
        (b"From: \nTo: b@example.org\n\nx", "message['from']: is missing"),
        (b"From: a@example.com\n\nx", "to: names nobody"),
        (b"From: nobody\nTo: b@example.org\n\nx", "message['from']"),
        (b"From a@example.com Mon Nov 23\n" + PLAIN, "line in its header that is none"),
        (b"no header at all\n" + PLAIN, "line in its header that is none"),
        (b" folded: first\n" + PLAIN, "line in its header that is none"),
        (PLAIN + b"\0", "has a NUL in it"),
        (PLAIN + b"x" * 999, "a line of 999 bytes in its body"),
        (b"X: " + b"x" * 999 + b"\n" + PLAIN, "a line of 1002 bytes in its header"),
        (b"X: " + (b"x" * 900 + b"\n ") * 300 + b"x\n" + PLAIN, "a header of"),
        (b"X: \xfc\n" + PLAIN, "neither ASCII nor UTF-8"),
        (b"X: a\x1bb\n" + PLAIN, "message['X']: has the control character"),
        (b"X: =?utf-8?q?a=0D=0AY:_b?=\n" + PLAIN, "message['X']: has the control character"),
        (b"Message-ID: none\n" + PLAIN, "message['message-id']"),
        (PLAIN.replace(b"b@example.org", b"b@example.org c@example.org"), "message['to']"),
        (PLAIN.replace(b"b@example.org", b"b@example.org, <<c"), "message['to']"),
        (PLAIN.replace(b"b@example.org", b"\xc3\xbc@"), "message['to']"),
        (b"From: ,\nTo: b@example.org\n\nx", "message['from']: is missing"),
        (b"From: x:;\nTo: b@example.org\n\nx", "message['from']: is no list"),
        (PLAIN.replace(b"b@example.org", b"b@example.org <c@example.org>"), "message['to']: is no"),
        (PLAIN.replace(b"b@example.org", b'"a, b" <b@example.org> <c@d>'), "message['to']: is no"),
        (b"Subject:\x80\n" + PLAIN, "neither ASCII nor UTF-8"),
        ("X: a\u0085b\n".encode() + PLAIN, "message['X']: has the control character"),
        ("X: a\u2028b\n".encode() + PLAIN, "message['X']: has the control character"),
        ("\ufeff".encode() + PLAIN, "line in its header that is none"),
        (PLAIN.decode().encode("utf-16"), "has a NUL in it"),
        ("From: a@example.com", "is an email.message.EmailMessage or bytes, not str"),
        (None, "is an email.message.EmailMessage or bytes, not NoneType"),
        *(
            (
                name
                + b": a@example.com\n"
                + PLAIN.replace(b"Hi", b"Hi\n" + name + b": x@y.example"),
                "times",
            )
            for name in (b"From", b"To", b"Subject", b"Date", b"Cc", b"Reply-To", b"Content-Type")
        ),
    ],
)
def test_what_is_no_sound_message_is_refused(message, reason):
    assert reason in refused(message)


@pytest.mark.parametrize("field", ["text", "html", "headers", "attachments", "subject", "to"])
def test_content_beside_the_message_is_refused(field):
    assert refused(PLAIN, **{field: "x"}) == f"{field}: is part of the message; set it there"


def test_a_line_end_that_hides_in_a_header_injects_nothing():
    """CVE-2024-6923, and the names that the standard library lets through."""
    hidden = Message()
    hidden["From"], hidden["To"] = "a@example.com", "b@example.org"
    hidden["Subject"] = "=?utf-8?q?a=0ABcc:_evil@example.net?="
    assert "control character" in refused(hidden)
    named = Message()
    named["From"], named["To"] = "a@example.com", "b@example.org"
    named["X-A\r\nBcc"] = "evil@example.net"
    assert "control character in its name" in refused(named)
    valued = Message()
    valued["From"], valued["To"] = "a@example.com", "b@example.org"
    valued["X-A"] = "x\r\nBcc: evil@example.net"
    assert "control character" in refused(valued)


@pytest.mark.parametrize(
    ("name", "value"), [("To", '"'), ("To", "a@["), ("Message-ID", "<"), ("Cc", "<@")]
)
def test_what_the_library_can_t_write_is_refused_in_a_sentence(name, value):
    message = message_from_bytes(f"{name}: {value}\n".encode() + PLAIN, policy=policy.default)
    assert "message" in refused(message, recipients="b@example.org")


def test_a_line_end_that_hides_in_the_header_of_a_part_injects_nothing():
    message = EmailMessage()
    message["From"], message["To"] = "a@example.com", "b@example.org"
    message.set_content("x")
    name = "=?utf-8?q?a=0AContent-Type=3A_text/html?="
    message.add_attachment(b"x", maintype="text", subtype="plain", filename=name)
    assert "message['Content-Disposition']: has the control character" in refused(message)


def test_a_word_in_an_encoded_word_is_no_line_end_in_the_record():
    """Who decodes once sees text; what is recorded must not be decoded to a line end later."""
    double = "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D0ABcc=3A=3F=3D?="
    message = f"From: {double} <a@example.com>\nTo: b@example.org\nSubject: {double}\n\nx"
    email = Email.from_message(message.encode())
    assert email.from_email.name == email.subject == "= ?utf-8?q?a=0ABcc:?="
    assert f"Subject: {double}\r\n".encode() in wire_of(message.encode())


def test_a_header_in_utf8_wants_a_relay_for_it():
    message = "Subject: Grüße\n".encode() + PLAIN.replace(b"Subject: Hi\n", b"")
    assert "Subject: Grüße\r\n".encode() in wire_of(message)
    job = new_job(Email.from_message(message), load_settings())
    assert needs_smtputf8(job.message)
    with pytest.raises(NeedsSmtpUtf8):
        render(job.message, job.blobs, eight_bit=True)


@pytest.mark.parametrize(
    "bcc", [b"Bcc: x@y.example,\n\tz@y.example", b"BCC : x@y.example", b"Resent-Bcc: x@y.example"]
)
def test_no_form_of_bcc_gets_out(bcc):
    header = wire_of(bcc + b"\n" + PLAIN).partition(b"\r\n\r\n")[0]
    assert b"y.example" not in header
    assert not re.search(rb"^(resent-)?bcc", header, re.IGNORECASE | re.MULTILINE)


def test_a_header_needs_no_body():
    for end in (b"", b"\n", b"\n\n", b"\r\n\r\n"):
        wire = wire_of(b"From: a@example.com\nTo: b@example.org" + end)
        assert wire.endswith(b"\r\nMIME-Version: 1.0\r\n\r\n")


@pytest.mark.parametrize("part", [b"(", b"<", b'"', b"a:", b"a,", b"@", b";", b"=?", b" "])
def test_hostile_address_lists_take_no_time(part):
    to = (part * (900 // len(part)) + b"\n ") * 200
    begin = time.process_time()
    assert refused(PLAIN.replace(b"b@example.org", to + b"x"))
    assert time.process_time() - begin < 2


def test_a_message_nested_without_end_is_refused_or_sent_but_never_a_crash():
    message = inner = MIMEMultipart()
    message["From"], message["To"] = "a@example.com", "b@example.org"
    for _ in range(2000):
        child = MIMEMultipart()
        inner.attach(child)
        inner = child
    assert "can't be written: RecursionError" in refused(message)


def test_a_mixture_of_line_ends_becomes_the_one_of_smtp():
    wire = wire_of(PLAIN.replace(b"\n", b"\r\n") + b"\n.\n.\r.\r\n..\r\n\r.")
    assert wire.endswith(b"\r\n\r\nText\r\n\r\n.\r\n.\r\n.\r\n..\r\n\r\n.\r\n")


@pytest.mark.parametrize("ends", [b"\r\n", b"\n", b"\r"], ids=["CRLF", "LF", "CR"])
def test_every_kind_of_line_end_becomes_the_one_of_smtp(ends):
    wire = wire_of(PLAIN.replace(b"\n", ends) + b"a" + ends + b"b")
    assert wire.endswith(b"\r\n\r\nText\r\na\r\nb\r\n")


EIGHT_BIT = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"


def test_for_a_relay_of_seven_bits_a_body_of_eight_is_encoded():
    wire = wire_of(EIGHT_BIT + PLAIN + "Grüße\n".encode(), eight_bit=False)
    assert wire.isascii()
    message = message_from_bytes(wire, policy=policy.default)
    assert message.get_content() == "Text\r\nGrüße\r\n"
    assert message["Subject"] == "Hi"
    assert b"Gr\xc3\xbc\xc3\x9fe" in wire_of(EIGHT_BIT + PLAIN + "Grüße\n".encode())


OWN = b"X-Own:  two  spaces \n\tand a tab\n"


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        (b"Content-Type: text/plain\n", "ü\r\n".encode()),
        (b"", "ü\r\n".encode()),
        (b"Content-Type: text/plain; charset=us-ascii\n", "ü\r\n".encode()),
        (b"Content-Type: text/plain; charset=x-none\n", "ü\r\n".encode()),
        (b"Content-Type: text/plain; charset=utf-8\n", b"\xfc\r\n"),
        (b"Content-Type: text/html; charset=iso-8859-1\n", b"From \xfc \r\n.\r\n"),
        (b"Content-Type: application/octet-stream\n", b"\xfe\xff\r\n"),
        (b"Content-Transfer-Encoding: quoted-printable\n", b"\xc3=BC\r\n"),
        (b"Content-Transfer-Encoding:\n 8bit\n", b"\xfc\r\n"),
    ],
    ids=ascii,
)
def test_for_a_relay_of_seven_bits_no_byte_is_lost_whatever_the_label_says(field, raw):
    wire = wire_of(OWN + field + PLAIN.replace(b"Text\n", raw), eight_bit=False)
    assert wire.isascii()
    assert OWN.replace(b"\n", b"\r\n") in wire
    found = message_from_bytes(wire)
    assert found.get_all("Content-Transfer-Encoding") in (["base64"], ["quoted-printable"])
    assert found.get_payload(decode=True) == raw.replace(b"=BC", b"\xbc")


def part(content_type, body):
    return b"--q\nContent-Type: " + content_type + b"\n\n" + body + b"\n"


def mixed(*parts, end=b""):
    header = b"Content-Type: multipart/mixed; boundary=q\nContent-Transfer-Encoding: 8bit\n"
    return header + PLAIN.replace(b"Text\n", b"".join(parts) + b"--q--\n" + end)


def test_for_a_relay_of_seven_bits_only_parts_of_eight_are_encoded():
    plain = part(b"text/x-own;\n charset = utf-8", b"as it  is ")
    inner = b"Subject: x\nContent-Transfer-Encoding: 8bit\n\n\xc3\xbc"
    wire = wire_of(
        mixed(plain, part(b"message/rfc822", inner), part(b"a/b", b"\xff")), eight_bit=False
    )
    assert wire.isascii()
    assert plain.replace(b"\n", b"\r\n") in wire
    found = message_from_bytes(wire)
    assert found.get_all("Content-Transfer-Encoding") == ["7bit"]
    leaves = [leaf for leaf in found.walk() if not leaf.is_multipart()]
    assert [leaf.get_payload(decode=True) for leaf in leaves] == [
        *(b"as it  is ", "ü".encode(), b"\xff")
    ]


SIGNED_PART = b"--r\nContent-Type: text/plain\n\n\xc3\xbc\n--r\nContent-Type: a/b\n\nx\n--r--"


@pytest.mark.parametrize(
    "message",
    [
        mixed(part(b"multipart/signed; boundary=r", SIGNED_PART)),
        mixed(part(b"message/partial", b"\xff")),
        mixed(part(b"message/external-body", b"\xff: x\n\ny")),
        mixed(part(b'text/plain; name="\xc3\xbc"', b"x")),
        mixed(part(b"text/plain", b"x"), end=b"\xff\n"),
        mixed(part(b"multipart/mixed", b"--r\n\n\xff\n--r--")),
        b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\n%s\n--b%d\n"
            % (i, b"" if i else PLAIN[:-6], i)
            for i in range(2000)
        )
        + b"\n\xff\n",
    ],
    ids=["signed", "partial", "external", "part's header", "epilogue", "no boundary", "depth"],
)
def test_what_can_t_be_encoded_wants_a_relay_of_eight_bits(message):
    assert not wire_of(message).isascii()
    with pytest.raises(CannotBuild, match="8 bits"):
        wire_of(message, eight_bit=False)


@pytest.mark.parametrize(
    "signature",
    [
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; b=x\n",
        b"Content-Type: multipart/signed; boundary=x\n",
        b"Content-Type: application/pkcs7-mime\n",
    ],
)
def test_what_is_signed_is_never_changed(signature):
    signed = signature + PLAIN + "ü\n".encode()
    assert "ü".encode() in wire_of(signed)
    with pytest.raises(CannotBuild, match="8BITMIME"):
        wire_of(signed, eight_bit=False)


def test_a_body_without_end_is_refused_with_the_limit_s_name():
    large = EmailMessage()
    large["From"], large["To"] = "a@example.com", "b@example.org"
    large.add_attachment(bytes(1000), maintype="application", subtype="pdf", filename="c")
    with pytest.raises(InvalidEmail, match="MAILER_MAX_ATTACHMENT_BYTES"):
        new_job(Email.from_message(large), load_settings(max_attachment_bytes=100))
