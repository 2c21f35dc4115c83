import sys
import time

import pytest

from mailer import Address, InvalidEmail
from mailer.address import FORBIDDEN_IN_HEADERS

LONGEST_LOCAL = "l" * 64
LONGEST_DOMAIN = ".".join(["d" * 61] * 4) + ".example"[:6]


@pytest.mark.parametrize(
    ("text", "email", "name"),
    [
        ("jm@example.org", "jm@example.org", ""),
        (" jm@example.org ", "jm@example.org", ""),
        ("<jm@example.org>", "jm@example.org", ""),
        ("Jörg Müller <jm@example.org>", "jm@example.org", "Jörg Müller"),
        ("  Jörg   Müller  < jm@example.org > ", "jm@example.org", "Jörg   Müller"),
        ('"Müller, Jörg" <jm@example.org>', "jm@example.org", "Müller, Jörg"),
        (r'"a \"b\" \\ c" <jm@example.org>', "jm@example.org", r'a "b" \ c'),
        ("müller@exämple.org", "müller@exämple.org", ""),
        ('"with space"@example.org', '"with space"@example.org', ""),
        ("jm@[192.0.2.1]", "jm@[192.0.2.1]", ""),
        ("jm@[IPv6:2001:db8::1]", "jm@[IPv6:2001:db8::1]", ""),
        ("root@localhost", "root@localhost", ""),
        ("a.b+tag@x-y.example", "a.b+tag@x-y.example", ""),
        (f"{LONGEST_LOCAL}@example.org", f"{LONGEST_LOCAL}@example.org", ""),
        (f"a@{LONGEST_DOMAIN}", f"a@{LONGEST_DOMAIN}", ""),
    ],
)
def test_a_mailbox_is_read_as_people_write_it(text, email, name):
    assert Address.parse(text) == Address(email, name)


@pytest.mark.parametrize(
    "text",
    [
        "Jörg Müller <jm@example.org>",
        '"Müller, Jörg" <jm@example.org>',
        r'"a \"b\" \\ c" <jm@example.org>',
        '"Müller <IT>" <jm@example.org>',
        r'"\"> <x@y.z>" <jm@example.org>',
    ],
)
def test_what_is_written_is_read_back(text):
    address = Address.parse(text)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "@", "a", "a@", "@b", "a@@b.example", "a b@c.example", "a@b c.example"),
        *("a@b..example", "a@.b.example", "a@b.example.", "a@-b.example", "a@b-.example"),
        *(".a@b.example", "a.@b.example", "a..b@c.example", "a@b_c.example", '"a@b.example'),
        *("a@b.example, c@d.example", "a@b.example; c@d.example", "group: a@b.example;"),
        *("a <b@c.example> d", "<<a@b.example>>", "<a@b.example", "a@b.example>", "<>"),
        *("a <b@c.example> <d@e.example>", 'a "b" <c@d.example>', "a (comment) <b@c.example>"),
        *("(comment)a@b.example", "a@[192.0.2]", "a@[x]", "a@b.example/../c", "a@☃☃.\u2024"),
        *(f"{LONGEST_LOCAL}l@example.org", f"{'ü' * 33}@example.org", f"a@{'d' * 64}.example"),
        *(f"a@d.{LONGEST_DOMAIN}", "a@xn--.example", "\\@b.example", "a@b.example\x00"),
    ],
)
def test_what_is_no_single_mailbox_is_refused_with_a_reason(text):
    with pytest.raises(InvalidEmail) as caught:
        Address.parse(text)
    assert caught.value.field == "address"
    assert caught.value.reason


LINE_ENDS = ["\r", "\n", "\r\n", "\0", "\x0b", "\x0c", "\x1c", "\x7f", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("bad", LINE_ENDS, ids=ascii)
@pytest.mark.parametrize(
    "text",
    [
        *("{}a@b.example", "a{}@b.example", "a@{}b.example", "a@b.example{}", '"{}"@b.example'),
        *("{}Name <a@b.example>", "Na{}me <a@b.example>", "Name{} <a@b.example>"),
        *("Name <{}a@b.example>", "Name <a@b.example{}>", "Name <a@b.example>{}"),
        *('"Na{}me" <a@b.example>', '"Name\\{}" <a@b.example>', "Name\n{}Bcc: x <a@b.example>"),
    ],
)
def test_no_line_end_or_control_character_gets_in_anywhere(text, bad):
    """Not even at the ends, where stripping spaces would take it away unseen."""
    with pytest.raises(InvalidEmail):
        Address.parse(text.format(bad))


@pytest.mark.parametrize(
    "word",
    [
        *("=?utf-8?q?a=0ABcc:_x?=", "=?utf-8?Q?a=0d=0aBcc:_x?=", "=?utf-8?b?YQpCY2M6IHg=?="),
        *("=?us-ascii?B?YQ1i?=", "=?utf-8?q?=00?=", "=?utf-8?q?=C2=85?=", "=?utf-7?q?+AAo-?="),
        *("=?utf-8*en?q?=E2=80=A8?=", "=?nosuch?q?=0a?=", "=?utf-16?b?AAoA?=", "=?utf-8?b?Cg?="),
    ],
)
def test_no_line_end_hides_in_an_encoded_word(word):
    with pytest.raises(InvalidEmail):
        Address("a@b.example", word)
    with pytest.raises(InvalidEmail):
        Address.parse(f"{word} <a@b.example>")


@pytest.mark.parametrize("name", ["=?utf-8?q?caf=C3=A9?=", "=?", "2 =? 3 ?q? 4 ?=", "a=0Ab"])
def test_harmless_names_that_look_encoded_are_taken(name):
    assert Address("a@b.example", name).name == name


def test_a_lone_surrogate_is_refused():
    for text in ("\ud800@b.example", "\ud800 <a@b.example>", "a@\udfff.example"):
        with pytest.raises(InvalidEmail):
            Address.parse(text)


@pytest.mark.parametrize("arguments", [(5,), (None,), ("a@b.example", None), (b"a@b.example",)])
def test_what_is_no_text_is_refused(arguments):
    with pytest.raises(InvalidEmail):
        Address(*arguments)


@pytest.mark.parametrize("text", [" " * 999, "a " * 499, "<" * 999, '"\\' * 499, "=?a?q?" * 160])
def test_hostile_text_is_refused_in_no_time(text):
    """No pattern takes cubic time on it."""
    started = time.perf_counter()
    for _ in range(20):
        with pytest.raises(InvalidEmail):
            Address.parse(text)
    assert time.perf_counter() - started < 0.5


def test_endless_text_is_refused_unread():
    with pytest.raises(InvalidEmail, match="over 1000 characters"):
        Address.parse("a" * 10_000_000)


def test_an_error_quotes_little_and_escaped():
    with pytest.raises(InvalidEmail) as caught:
        Address("x" * 500 + "\x1b[31m")
    assert len(str(caught.value)) < 200
    assert "\x1b" not in str(caught.value)


def test_on_the_wire_the_domain_is_in_a_labels():
    assert Address("jörg@Exämple.org").wire == "jörg@xn--exmple-cua.org"
    assert Address("jm@example.org").wire == "jm@example.org"
    assert Address("jörg@example.org").needs_smtputf8
    assert not Address("jm@exämple.org").needs_smtputf8


def test_nothing_printable_is_forbidden_in_headers():
    # so that what is printable, as nearly all is, needs no search
    forbidden = filter(FORBIDDEN_IN_HEADERS.search, map(chr, range(sys.maxunicode + 1)))
    assert not any(character.isprintable() for character in forbidden)
