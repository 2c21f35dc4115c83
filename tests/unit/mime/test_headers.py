"""Header fields: what stands as it is, what is encoded, and where lines end."""

import pytest

from mailer.address import Address
from mailer.mime import CannotBuild, check_header
from mailer.mime.addresses import address_field
from mailer.mime.headers import custom, date, unstructured
from mailer.mime.parameters import content_type, content_type_field, disposition_field


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", "Subject:"),
        ("Hello", "Subject: Hello"),
        ("a  b", "Subject: a  b"),
        ("100% =?= ok", "Subject: 100% =?= ok"),
        ("✓", "Subject: =?utf-8?b?4pyT?="),
        ("Grüße an alle, die lesen", "Subject: =?utf-8?b?R3LDvMOfZQ==?= an alle, die lesen"),
        (
            "né and a longer text né here",
            "Subject: =?utf-8?q?n=C3=A9_and_a_longer_text_n=C3=A9?= here",
        ),
        ("see =?utf-8?q?x?= !", "Subject: see =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= !"),
        ("   ", "Subject: =?utf-8?q?___?="),
        ("only the end is lost ", "Subject: only the end is =?utf-8?q?lost_?="),
        (" led", "Subject: =?utf-8?q?_led?="),
        ("trailed ", "Subject: =?utf-8?q?trailed_?="),
        ("a\tb", "Subject: =?utf-8?b?YQli?="),
    ],
)
def test_text_is_encoded_only_where_it_must(value, written):
    assert unstructured("Subject", value) == f"{written}\r\n"


def test_long_text_is_folded_before_spaces():
    assert unstructured("Subject", " ".join(["twelve chars"] * 8)) == (
        "Subject: twelve chars twelve chars twelve chars twelve chars twelve chars\r\n"
        " twelve chars twelve chars twelve chars\r\n"
    )


def test_long_encoded_text_fills_its_lines_and_splits_no_character():
    assert unstructured("Subject", "日本語" * 12) == (
        "Subject: =?utf-8?b?5pel5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe5pel?=\r\n"
        " =?utf-8?b?5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe5pel?=\r\n"
        " =?utf-8?b?5pys6Kqe5pel5pys6Kqe5pel5pys6Kqe?=\r\n"
    )


def test_a_word_longer_than_a_line_may_be_is_encoded_in_text():
    field = unstructured("X-Note", "x" * 1200)
    assert max(map(len, field.split("\r\n"))) <= 76
    assert field.count("=?utf-8?q?") == 20


@pytest.mark.parametrize("name", ["References", "List-Unsubscribe", "X-SMTPAPI"])
def test_what_programs_read_is_only_ever_folded_at_its_spaces(name):
    words = ["<" + "i" * 90 + "@example.com>", "=?utf-8?q?x?=", "<b@example.com>"]
    assert custom(name, " ".join(words)) == f"{name}: {words[0]}\r\n {words[1]} {words[2]}\r\n"


def test_what_programs_read_is_refused_where_it_can_only_be_mangled():
    with pytest.raises(CannotBuild, match="too long"):
        check_header("List-Unsubscribe", "<https://example.com/" + "x" * 1000 + ">")
    with pytest.raises(CannotBuild, match=r"can't hold '\\xfc'"):
        check_header("List-Unsubscribe", "<https://example.com/ü>")
    with pytest.raises(CannotBuild, match="no header name"):
        check_header("X Y", "z")


def test_the_sender_field_holds_an_address():
    assert custom("Sender", "Jörg <j@bücher.example>") == (
        "Sender: =?utf-8?b?SsO2cmc=?= <j@xn--bcher-kva.example>\r\n"
    )
    assert custom("Sender", '"J. X" <j@example.com>') == 'Sender: "J. X" <j@example.com>\r\n'
    with pytest.raises(CannotBuild, match="not hold one address"):
        custom("Sender", "Jörg")


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("", "j@example.com"),
        ("Jo Doe", "Jo Doe <j@example.com>"),
        ("Doe, Jo", '"Doe, Jo" <j@example.com>'),
        ('Jo "J" \\ Doe', '"Jo \\"J\\" \\\\ Doe" <j@example.com>'),
        ("Jörg", "=?utf-8?b?SsO2cmc=?= <j@example.com>"),
        ("=?utf-8?q?x?=", "=?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <j@example.com>"),
        ("Jörg the Great", "=?utf-8?q?J=C3=B6rg_the_Great?= <j@example.com>"),
        ("a  b", "=?utf-8?q?a__b?= <j@example.com>"),
        (" a", "=?utf-8?q?_a?= <j@example.com>"),
    ],
)
def test_display_names_are_words_or_quoted_or_encoded(name, written):
    assert address_field("To", [Address("j@example.com", name)]) == f"To: {written}\r\n"


def test_a_long_list_has_each_address_whole_on_a_line():
    field = address_field("To", [Address(f"r{i}@example.com", "Some Body") for i in range(5)])
    assert field == (
        "To: Some Body <r0@example.com>, Some Body <r1@example.com>,\r\n"
        " Some Body <r2@example.com>, Some Body <r3@example.com>,\r\n"
        " Some Body <r4@example.com>\r\n"
    )


def test_dates_are_in_english_and_utc():
    assert date(0) == "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
    assert date(1_795_422_240) == "Date: Mon, 23 Nov 2026 08:24:00 +0000\r\n"


@pytest.mark.parametrize(
    "part",
    ["=?x?b? ", "=?", "?=", '"', "\\", ";", " ", "é ", "a é", "\t", "(", "%", "=?q?é"],
    ids=ascii,
)
def test_hostile_text_takes_no_longer_than_other_text(part):
    """Patterns that backtrack would keep a worker busy for minutes: the test would time out."""
    text = part * (10_000 // len(part))
    for field in (
        unstructured("Subject", text),
        custom("X-Note", text),
        address_field("To", [Address("a@example.com", text.replace("\t", " "))]),
        disposition_field("attachment", text),
        content_type_field(content_type(f"text/plain; {text[:800]}")),
    ):
        assert max(map(len, field.split("\r\n"))) <= 998
