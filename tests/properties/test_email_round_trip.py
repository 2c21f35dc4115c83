"""What goes into an `Email` comes out of two parsers that know nothing of us.

The standard library's, and `mailparse` (in Rust, by fast_mail_parser). Where one of them is wrong,
the comparison leaves it out, and says why.
"""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.parser import HeaderParser

import fast_mail_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer import Address, Attachment, Email, Group, load_settings
from mailer.address import forbidden_in_headers
from mailer.enqueueing import new_job
from mailer.mime import render

SETTINGS = load_settings(redis_url="redis://nowhere.invalid")
untimed = settings(deadline=None)

# what no parser trims, joins or takes for something else
words = st.text("abcXYZ019éß日😀-", min_size=1, max_size=12)
names = st.lists(words, min_size=1, max_size=6).map(" ".join)
# white space included, of any kind that a header may hold, and what looks like an encoded word
awkward_texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=120),
    st.text('a é\t"\\,;:<>()@=?_.\u3000', max_size=60),
    st.lists(st.sampled_from(["=?", "utf-8", "?q?", "?b?", "?=", " ", "é", "a"]), max_size=20).map(
        "".join
    ),
).filter(lambda text: not forbidden_in_headers(text))
awkward_names = st.one_of(
    names, st.sampled_from(["Müller, Jörg", 'The "Boss"', "a@b", "x (y)"]), awkward_texts
)
subjects = st.one_of(st.lists(words, max_size=30).map(" ".join), awkward_texts)
bodies = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=400),
    st.lists(
        st.sampled_from(["From ", ".", "\n", "x" * 75, "y" * 1200, " ", "\t", "ü", "--", "="]),
        max_size=60,
    ).map("".join),
)
mailboxes = st.builds(
    lambda local, domain, name: Address(f"{local}@{domain}", name),
    st.from_regex(r"[a-z0-9!#$%&'*+/^_`{|}~-]{1,20}(\.[a-z0-9]{1,20}){0,2}", fullmatch=True),
    st.sampled_from(["example.com", "sub.example.org", "bücher.example"]),
    st.one_of(st.just(""), awkward_names),
)
# one encoded word at most: of two in the name of a group the standard library makes no group
groups = st.builds(Group, words, st.lists(mailboxes, max_size=3).map(tuple))
lists = st.lists(st.one_of(mailboxes, mailboxes, groups), max_size=6)
message_ids = st.from_regex(r"[a-z0-9.]{1,60}@[a-z]{1,20}\.example", fullmatch=True)
filenames = st.lists(words, min_size=1, max_size=4).map(lambda parts: "_".join(parts) + ".bin")
attachments = st.builds(
    lambda name, content, cid: Attachment.from_bytes(content, filename=name, content_id=cid),
    filenames,
    st.binary(max_size=300),
    st.one_of(st.none(), st.from_regex(r"[a-z]{1,10}@[a-z]{1,10}", fullmatch=True)),
)
calendars = words.map(
    lambda word: f"BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:{word}\nEND:VCALENDAR\n"
)
forwarded = st.lists(words, min_size=1, max_size=6).map(
    lambda lines: Attachment.from_message("\n".join(["Subject: x", "", *lines, ""]).encode())
)
custom = st.dictionaries(
    st.sampled_from(["X-Order", "X-Campaign", "Comments"]), st.one_of(names, awkward_texts)
)


@st.composite
def emails(draw):
    text, html = draw(st.one_of(st.none(), bodies)), draw(st.one_of(st.none(), bodies))
    unsubscribe = draw(st.booleans())
    return Email(
        from_email=draw(mailboxes),
        to=draw(lists),
        cc=draw(lists),
        bcc=["secret-reader@example.net", *draw(st.lists(mailboxes, max_size=2))],
        reply_to=draw(st.lists(mailboxes, max_size=3)),
        sender=draw(st.one_of(st.none(), mailboxes)),
        subject=draw(subjects),
        text=text,
        html=html,
        amp=draw(st.one_of(st.none(), bodies)) if text or html else None,
        calendar=draw(st.one_of(st.none(), calendars)),
        in_reply_to=draw(st.one_of(st.none(), message_ids)),
        references=draw(st.lists(message_ids, max_size=12)),
        list_unsubscribe=["https://example.com/u?t=1", "mailto:u@example.com"][: 2 * unsubscribe],
        one_click_unsubscribe=unsubscribe,
        auto_submitted=draw(st.sampled_from([None, "auto-generated", "auto-replied"])),
        importance=draw(st.sampled_from([None, "high", "normal", "low"])),
        headers=draw(custom),
        attachments=draw(st.lists(st.one_of(attachments, attachments, forwarded), max_size=4)),
    )


def wire_of(email, *, eight_bit, utf8_headers):
    job = new_job(email, SETTINGS)
    draft = render(job.message, job.blobs, eight_bit=eight_bit, utf8_headers=utf8_headers)
    return bytes(draft)


def assert_fit_for_the_wire(wire, *, eight_bit, utf8_headers):
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    header, _, body = wire.partition(b"\r\n\r\n")
    assert utf8_headers or header.isascii()
    assert eight_bit or body.isascii()
    assert b"secret-reader" not in wire
    assert not re.search(rb"^bcc", header, re.IGNORECASE | re.MULTILINE)


def lf(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


def in_a_labels(addresses):
    return [address.wire for address in addresses]


def members(entries):
    return [m for e in entries for m in (e.members if isinstance(e, Group) else (e,))]


def joined_names(addresses):
    """List display names without white space.

    The standard library makes each run of it one space, and puts one between encoded words.
    """
    return [
        "".join((a.name if isinstance(a, Address) else a.display_name).split()) for a in addresses
    ]


def texts_of(email):
    """List the bodies in the order of the message."""
    forms = {"plain": email.text, "x-amp-html": email.amp, "html": email.html}
    found = [(f"text/{kind}", lf(text)) for kind, text in forms.items() if text]
    if email.calendar:
        found.append(("text/calendar", email.calendar))
    return found or ([] if email.attachments else [("text/plain", "")])


def in_order(email):
    """List the attachments as the message has them: those that the HTML shows are first."""
    return sorted(email.attachments, key=lambda a: disposition_of(a, email) != "inline")


def disposition_of(attachment, email):
    return "inline" if email.html and attachment.content_id is not None else "attachment"


def leaves_of(part):
    """Walk through the parts, but not through those of a forwarded message."""
    if part.get_content_maintype() != "multipart":
        return [part]
    return [leaf for child in part.iter_parts() for leaf in leaves_of(child)]


def content_type_of(attachment, *, eight_bit):
    """Tell what an attachment is sent as: a message that would have to be encoded, as any file."""
    encodes = not attachment.content.isascii() and not eight_bit
    return "application/octet-stream" if encodes else attachment.content_type


def file_content(part):
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload(0)
        text = inner.get_payload(decode=True).decode()
        return f"Subject: {inner['Subject']}\n\n{lf(text)}".encode()
    return part.get_payload(decode=True)


@untimed
@given(emails(), st.booleans(), st.booleans())
def test_an_email_comes_out_of_the_standard_library(email, eight_bit, utf8_headers):
    wire = wire_of(email, eight_bit=eight_bit, utf8_headers=utf8_headers)
    assert_fit_for_the_wire(wire, eight_bit=eight_bit, utf8_headers=utf8_headers)
    assert (
        wire.partition(b"\r\nMessage-ID:")[0]
        == (
            wire_of(email, eight_bit=eight_bit, utf8_headers=utf8_headers).partition(
                b"\r\nMessage-ID:"
            )[0]
        )
    )
    message = message_from_bytes(wire, policy=policy.default)
    assert not message.defects
    # from bytes it does not read UTF-8 in a header
    text = wire.partition(b"\r\n\r\n")[0].decode()
    header = HeaderParser(policy=policy.default).parsestr(text)

    for name, entries in (("To", email.to), ("Cc", email.cc), ("Reply-To", email.reply_to)):
        if entries:
            found = header[name]
            read = [Address(f"{a.username}@{a.domain}", a.display_name) for a in found.addresses]
            assert in_a_labels(read) == in_a_labels(members(entries))
            assert joined_names(read) == joined_names(members(entries))
            # it shows each mailbox outside of groups as a group without a name
            groups_found = [group.display_name for group in found.groups if group.display_name]
            groups_given = [entry.name for entry in entries if isinstance(entry, Group)]
            assert groups_found == groups_given
    assert joined_names(header["From"].addresses) == joined_names([email.from_email])
    if email.sender:
        assert joined_names([header["Sender"].address]) == joined_names([email.sender])
    assert header["Subject"] == email.subject
    for name, value in (*email.typed_headers, *email.headers.items()):
        if name != "Sender":
            assert header[name] == value

    leaves = leaves_of(message)
    found = [
        (
            *(part.get_filename(), part.get_content_type(), part.get_content_disposition()),
            *(part["Content-ID"], file_content(part)),
        )
        for part in leaves
        if part.get_content_disposition()
    ]
    assert found == [
        (
            *(a.filename, content_type_of(a, eight_bit=eight_bit), disposition_of(a, email)),
            *(a.content_id and f"<{a.content_id}>", a.content),
        )
        for a in in_order(email)
    ]
    texts = [
        (part.get_content_type(), lf(part.get_payload(decode=True).decode()))
        for part in leaves
        if not part.get_content_disposition()
    ]
    expected = texts_of(email)
    if len(leaves) == 1:  # the last line end is the message's own then
        texts = [(kind, text.removesuffix("\n")) for kind, text in texts]
        expected = [(kind, text.removesuffix("\n")) for kind, text in expected]
    assert texts == expected


@untimed
@given(emails(), st.booleans(), st.booleans())
def test_an_email_comes_out_of_a_parser_of_another_kind(email, eight_bit, utf8_headers):
    wire = wire_of(email, eight_bit=eight_bit, utf8_headers=utf8_headers)
    flat = fast_mail_parser.parse_email(wire)
    # of what stands beside a group it can't read all
    grouped = any(isinstance(entry, Group) for entry in (*email.to, *email.cc, *email.reply_to))
    assert utf8_headers or grouped or not flat.warnings
    trimmed = str.strip if utf8_headers else str  # of UTF-8, white space of any kind at the ends
    assert trimmed(flat.subject) == trimmed(email.subject)
    for name, value in (*email.typed_headers, *email.headers.items()):
        assert list(map(trimmed, flat.headers[name])) == [trimmed(value)]
    for found, entries in (
        ([flat.from_], (email.from_email,)),
        (flat.to, email.to),
        (flat.cc, email.cc),
        (flat.reply_to, email.reply_to),
    ):
        if any(isinstance(entry, Group) for entry in entries):  # it reads no list behind one
            continue
        given_addresses = [entry.email if utf8_headers else entry.wire for entry in entries]
        assert [a.address for a in found] == given_addresses
        if not utf8_headers:  # of encoded words beside UTF-8 it decodes some
            # it strips names, at one end or both
            found_names = [(a.display_name or "").strip() for a in found]
            assert found_names == [entry.name.strip() for entry in entries]

    root = fast_mail_parser.parse_email_tree(wire)
    leaves = leaves_of_another_kind(root)
    files = [part for part in leaves if part.disposition]
    assert [
        (part.content_type, part.disposition, part.content_id, content_of_file(part))
        for part in files
    ] == [
        (
            *(content_type_of(a, eight_bit=eight_bit), disposition_of(a, email)),
            *(a.content_id, a.content),
        )
        for a in in_order(email)
    ]
    for part, attachment in zip(files, in_order(email), strict=True):
        if attachment.filename.isascii():  # of two file names it takes the one in ASCII
            assert part.filename == attachment.filename
    texts = [
        (part.content_type, lf(part.content.decode())) for part in leaves if not part.disposition
    ]
    expected = texts_of(email)
    if len(leaves) == 1:
        texts = [(kind, text.removesuffix("\n")) for kind, text in texts]
        expected = [(kind, text.removesuffix("\n")) for kind, text in expected]
    assert texts == expected


def leaves_of_another_kind(part):
    if part.is_message or not part.children:
        return [part]
    return [leaf for child in part.children for leaf in leaves_of_another_kind(child)]


def content_of_file(part):
    return part.content.replace(b"\r\n", b"\n") if part.is_message else part.content


# the library leaves a NUL as it is, which is no message then
library_bodies = bodies.map(lambda text: text.replace("\0", ""))
encodings = st.sampled_from(["quoted-printable", "base64", "8bit"])


@st.composite
def library_texts(draw):
    """Draw a text, and how the library shall write it."""
    text, encoding = draw(library_bodies), draw(encodings)
    if encoding == "8bit":
        text = text.replace("y" * 1200, "y" * 998)
    charset = draw(st.sampled_from(["utf-8", "iso-8859-1"]))
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    if encoding == "8bit" and max(map(len, text.encode(charset).split(b"\n"))) > 998:
        encoding = "base64"
    return {"content": text, "cte": encoding, "charset": charset}


def with_text(add, fields, **others):
    fields = dict(fields)
    add(fields.pop("content"), **fields, **others)


@st.composite
def library_messages(draw):
    message = EmailMessage()
    message["From"] = "Größe <a@example.com>"
    message["To"] = ", ".join(["b@example.org", "Jörg <c@example.org>"][: draw(st.integers(1, 2))])
    message["Bcc"] = "secret-reader@example.net"
    message["Subject"] = draw(st.lists(words, max_size=8).map(" ".join))
    message["X-Campaign"] = draw(st.lists(words, max_size=8).map(" ".join))
    with_text(message.set_content, draw(library_texts()))
    if draw(st.booleans()):
        with_text(message.add_alternative, draw(library_texts()), subtype="html")
    for name in draw(st.lists(filenames, max_size=2)):
        message.add_attachment(
            draw(st.binary(max_size=200)),
            maintype="application",
            subtype="octet-stream",
            filename=name,
        )
    if draw(st.booleans()):
        inner = EmailMessage()
        inner["Subject"] = "forwarded"
        with_text(inner.set_content, draw(library_texts()))
        message.add_attachment(inner)
    return message


def contents(message):
    return [
        (part.get_content_type(), part.get_filename(), content_of(part))
        for part in message.walk()
        if not part.is_multipart()
    ]


def content_of(part):
    content = part.get_payload(decode=True)
    if part.get_content_maintype() != "text":
        return content
    return lf(content.decode(part.get_content_charset("ascii")))


@untimed
@given(library_messages(), st.sampled_from([bytes, EmailMessage]), st.booleans())
def test_a_message_of_another_library_is_delivered_as_it_is(message, form, eight_bit):
    email = Email.from_message(message.as_bytes() if form is bytes else message)
    wire = wire_of(email, eight_bit=eight_bit, utf8_headers=False)
    assert_fit_for_the_wire(wire, eight_bit=eight_bit, utf8_headers=False)
    found = message_from_bytes(wire, policy=policy.default)
    assert contents(found) == contents(message)
    # as the library itself writes it: it loses a space now and then
    own = message_from_bytes(message.as_bytes(), policy=policy.default)
    for name in ("From", "To", "Subject", "X-Campaign"):
        assert found[name] == own[name]
    assert {found["Date"] is None, found["Message-ID"] is None} == {False}
    assert "secret-reader@example.net" in {address.email for address in email.recipients}


@untimed
@given(st.lists(words, min_size=1, max_size=30).map("\n.\n".join), st.booleans())
def test_a_body_of_eight_bits_becomes_one_of_seven_where_it_must(text, eight_bit):
    message = EmailMessage()
    message["From"], message["To"] = "a@example.com", "b@example.org"
    message.set_content(f"{text}\n", cte="8bit")
    email = Email.from_message(message)
    wire = wire_of(email, eight_bit=eight_bit, utf8_headers=False)
    assert_fit_for_the_wire(wire, eight_bit=eight_bit, utf8_headers=False)
    found = message_from_bytes(wire, policy=policy.default)
    assert lf(found.get_content()) == f"{text}\n"
