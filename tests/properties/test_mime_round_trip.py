"""What goes into `mailer.mime.build` comes out of the standard library's parser.

Where that parser is wrong, the comparison says so, and why.
"""

import re
from base64 import b64decode, encodebytes
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from hashlib import sha256
from quopri import decodestring

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mailer.address import FORBIDDEN_IN_HEADERS, Address
from mailer.message import AttachmentRef, Message, Source
from mailer.mime import render
from mailer.mime.addresses import address_field
from mailer.mime.bodies import encode_text
from mailer.mime.parameters import disposition_field
from mailer.mime.words import MAX_WORD, MIN_WORD, encoded_words

ENCODED_WORD = re.compile(rb"=\?[^?\s]+\?[bq]\?[^?\s]*\?=")
# a busy machine must not fail a test; how many examples there are is left to the profile
untimed = settings(deadline=None)
SENDER = Address("shop@example.com", "Shop")

# every character that a header may hold, the awkward ones often
header_characters = st.one_of(
    st.sampled_from(" \t\"\\,;:<>()@=?_.'%*é日😀\u00a0\u3000"),
    st.sampled_from("abcXYZ019"),
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029"),
)
header_texts = st.one_of(
    st.text(header_characters, max_size=30),
    st.text(header_characters, max_size=200),
    st.lists(st.text(header_characters, min_size=1, max_size=90), max_size=5).map(" ".join),
    st.text("a é=_", max_size=60),
    st.lists(st.sampled_from(["=?", "utf-8", "?q?", "?b?", "?=", " ", "é", "a"]), max_size=20).map(
        "".join
    ),
).filter(lambda text: not FORBIDDEN_IN_HEADERS.search(text))
body_texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
    st.text("a =.\tFromé\r\n\0", max_size=200),
    st.lists(
        st.sampled_from(
            ["From ", ".", "\n", "\r\n", "\r", "x" * 75, "y" * 997, " ", "\t", "ü", "\0", "--", "="]
        ),
        max_size=40,
    ).map("".join),
)
filenames = (
    st.text(header_characters, min_size=1, max_size=120)
    .map(lambda name: re.sub(r"[/\\]", "_", name))
    .filter(lambda name: name not in {".", ".."} and not FORBIDDEN_IN_HEADERS.search(name))
)
local_parts = st.from_regex(
    r"[a-z0-9!#$%&'*+/^_`{|}~-]{1,20}(\.[a-z0-9]{1,20}){0,2}", fullmatch=True
)
domains = st.sampled_from(["example.com", "sub.example.org", "bücher.example", "日本.example"])
addresses = st.builds(
    lambda local, domain, name: Address(f"{local}@{domain}", name),
    local_parts,
    domains,
    header_texts.map(lambda name: name[:200]),
)
files = st.tuples(
    st.sampled_from(["application/pdf", "text/csv; charset=utf-8", "image/png"]),
    st.binary(max_size=200),
    st.sampled_from([None, "logo", "a.b@c"]),
)


def wire_of(message, contents, **options):
    return bytes(render(message, contents, **options))


def parse(wire: bytes) -> EmailMessage:
    parsed = message_from_bytes(wire, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def message(**fields) -> Message:
    fields = {"message_id": "<1@example.com>", "from_email": SENDER, "text": "x"} | fields
    return Message(**fields)


def lf(text: str) -> str:
    """What a text is once its line ends are all the same."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def without_spaces(name: str) -> str:
    """A display name without what the standard library gets wrong about its white space.

    Its parser makes each run of spaces within a phrase one (WhiteSpaceTerminal.value), even where
    an encoded word holds them, and leaves the space between adjacent encoded words in the text
    (against RFC 2047, 6.2). The next test looks at the spaces.
    """
    return "".join(name.split())


def body_of(part: EmailMessage) -> str:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode().replace("\r\n", "\n")


def assert_fit_for_the_wire(wire: bytes) -> None:
    assert wire.endswith(b"\r\n")
    assert b"\r" not in wire.replace(b"\r\n", b"")
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    header = wire.partition(b"\r\n\r\n")[0]
    assert all(len(word) <= 75 for word in ENCODED_WORD.findall(header))
    assert not re.search(rb"=\?utf-8\?[bq]\?\?=", header)


def assert_folded(wire: bytes) -> None:
    """No header line is over 76 characters that has a place to fold it."""
    for line in wire.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        body = line.lstrip(b" ") if line.startswith(b" ") else line.partition(b": ")[2]
        assert len(line) <= 76 or b" " not in body
        assert line.strip()


def decoded(words: list[str]) -> str:
    """Decode adjacent encoded words, each by itself, by RFC 2047 rather than by its practice."""
    text = ""
    for word in words:
        _, charset, encoding, payload, _ = word.split("?")
        raw = b64decode(payload) if encoding == "b" else decodestring(payload, header=True)
        text += raw.decode(charset)
    return text


@untimed
@given(header_texts, st.integers(MIN_WORD, MAX_WORD))
def test_encoded_words_hold_whole_characters_and_all_of_the_text(text, first):
    assume(text)
    words = encoded_words(text, first)
    assert len(words[0]) <= first
    assert all(len(word) <= 75 for word in words)
    assert decoded(words) == text


@untimed
@given(header_texts)
@example(" lead and trail ")
@example("=?utf-8?q?never_decoded?=")
@example("a =? b ?q? c ?= d")
@example("é  é   é")
@example("x" * 2000)
@example("x" * 990 + " é")
def test_a_subject_comes_back(subject):
    wire = wire_of(message(subject=subject), {})
    assert_fit_for_the_wire(wire)
    assert wire.isascii()
    assert_folded(wire)
    assert parse(wire)["Subject"] == subject


@untimed
@given(header_texts)
def test_a_custom_header_comes_back(value):
    wire = wire_of(message(headers=(("X-Anything-At-All", value),)), {})
    assert_fit_for_the_wire(wire)
    assert wire.isascii()
    assert_folded(wire)
    assert parse(wire)["X-Anything-At-All"] == value


@untimed
@given(st.lists(addresses, min_size=1, max_size=6))
def test_addresses_come_back(recipients):
    wire = wire_of(message(to=tuple(recipients)), {})
    assert_fit_for_the_wire(wire)
    assert_folded(wire)
    assert wire.isascii()
    assert [
        (parsed.addr_spec, without_spaces(parsed.display_name))
        for parsed in parse(wire)["To"].addresses
    ] == [(recipient.wire, without_spaces(recipient.name)) for recipient in recipients]


@untimed
@given(addresses)
def test_display_names_that_need_it_are_encoded_to_the_last_space(address):
    field = address_field("To", [address]).replace("\r\n", "")
    *words, _ = field.removeprefix("To: ").split(" ")
    if words and words[0].startswith("=?"):
        assert decoded(words) == address.name
    else:
        assert "  " not in address.name
        assert address.name == address.name.strip()


@untimed
@given(header_texts, st.lists(addresses, max_size=4))
def test_utf8_headers_stay_within_lines(subject, recipients):
    wire = wire_of(message(subject=subject, to=tuple(recipients)), {}, utf8_headers=True)
    assert_fit_for_the_wire(wire)
    for recipient in recipients:
        assert recipient.email.encode() in wire


@untimed
@given(body_texts, st.booleans())
def test_a_text_survives(text, eight_bit):
    wire = wire_of(message(text=text), {}, eight_bit=eight_bit)
    assert_fit_for_the_wire(wire)
    assert eight_bit or wire.isascii()
    assert b"\0" not in wire
    body = wire.partition(b"\r\n\r\n")[2]
    assert b"\r\n.\r\n" not in b"\r\n" + body
    assert b"\nFrom " not in b"\n" + body
    assert b" \r\n" not in body
    assert body_of(parse(wire)).removesuffix("\n") == lf(text).removesuffix("\n")


@untimed
@given(body_texts)
def test_no_other_transfer_encoding_is_shorter(text):
    encoded = encode_text(text, eight_bit=False)
    in_base64 = encodebytes(lf(text).replace("\n", "\r\n").encode()).replace(b"\n", b"\r\n")
    if encoded.encoding == "quoted-printable":
        assert len(encoded.content) <= len(in_base64.removesuffix(b"\r\n"))
        assert max(map(len, encoded.content.split(b"\r\n"))) <= 76


@untimed
@given(body_texts, body_texts, st.lists(files, max_size=4), st.booleans())
def test_a_whole_message_comes_back(text, html, attached, eight_bit):
    contents = {sha256(data).hexdigest(): data for _, data, _ in attached}
    references = tuple(
        AttachmentRef(f"{i}.bin", kind, Source(sha256(data).hexdigest(), len(data)), content_id=cid)
        for i, (kind, data, cid) in enumerate(attached)
    )
    original = message(text=text, html=html, attachments=references)
    wire = wire_of(original, contents, eight_bit=eight_bit)
    assert_fit_for_the_wire(wire)
    assert eight_bit or wire.isascii()
    assert wire == wire_of(original, contents, eight_bit=eight_bit)

    leaves = [part for part in parse(wire).walk() if not part.is_multipart()]
    found = {
        part.get_filename(): (
            part.get_content_type(),
            part.get_payload(decode=True),
            part["Content-ID"],
        )
        for part in leaves
        if part.get_filename()
    }
    assert found == {
        f"{i}.bin": (kind.split(";")[0], data, cid and f"<{cid}>")
        for i, (kind, data, cid) in enumerate(attached)
    }
    if len(leaves) > 1:  # in a message of one part, the last line end is the message's own
        texts = [body_of(part) for part in leaves if not part.get_filename()]
        assert texts == [lf(given) for given in (text, html) if given]


@untimed
@given(filenames)
@example("x" * 300 + ".pdf")
@example("ü" * 300 + ".pdf")
@example('"quoted".txt')
@example("=?utf-8?q?x?=.txt")
@example("100% sure; really*.txt")
def test_a_file_name_comes_back(filename):
    field = disposition_field("attachment", filename)
    assert field.isascii()
    assert max(map(len, field.split("\r\n"))) <= 78
    parsed = parse(field.encode() + b"\r\n")
    # get_filename() strips, whatever the header says
    assert parsed.get_filename() == filename.strip()
    assert parsed["Content-Disposition"].params["filename"] == filename
    assert parsed.get_content_disposition() == "attachment"
