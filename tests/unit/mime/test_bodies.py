"""Transfer encodings: the choice among them, and the traps of each."""

from base64 import b64encode
from binascii import a2b_base64, a2b_qp
from textwrap import wrap

import pytest

from mailer.mime.bodies import base64_length, encode_base64, encode_text


def decode(encoded):
    decoders = {"quoted-printable": a2b_qp, "base64": a2b_base64}
    return decoders.get(encoded.encoding, bytes)(encoded.content)


@pytest.mark.parametrize(
    ("text", "encoding", "eight_bit_encoding"),
    [
        ("", "7bit", "7bit"),
        ("plain\n", "7bit", "7bit"),
        ("x" * 998, "7bit", "7bit"),
        ("x" * 999, "quoted-printable", "quoted-printable"),
        ("\t<p> \t x", "7bit", "7bit"),
        ("mostly ascii, then ü", "quoted-printable", "8bit"),
        ("日本語の手紙", "base64", "8bit"),
        ("ü" * 500, "base64", "base64"),
        ("nul \0 in a longer text", "quoted-printable", "quoted-printable"),
        ("a line with a space at its end \nnext", "quoted-printable", "quoted-printable"),
        ("a line with a tab at its end\t\nnext", "quoted-printable", "quoted-printable"),
        ("a text with a space at its end ", "quoted-printable", "quoted-printable"),
        ("From here on a mailbox would begin", "quoted-printable", "quoted-printable"),
        ("above\nFrom below a longer text", "quoted-printable", "quoted-printable"),
        ("above a longer text\n.\nbelow it", "quoted-printable", "quoted-printable"),
        ("above a longer text\n.", "quoted-printable", "quoted-printable"),
        ("From: not that", "7bit", "7bit"),
        (".hidden\n..", "7bit", "7bit"),
    ],
)
def test_the_shortest_encoding_that_keeps_the_text(text, encoding, eight_bit_encoding):
    for eight_bit, expected in ((False, encoding), (True, eight_bit_encoding)):
        encoded = encode_text(text, eight_bit=eight_bit)
        assert encoded.encoding == expected
        assert decode(encoded) == text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    "body",
    ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n"],
    ids=ascii,
)
@pytest.mark.parametrize("eight_bit", [False, True])
def test_smuggled_ends_of_data_neither_cross_nor_get_lost(body, eight_bit):
    text = f"before{body}after, with some more text"
    encoded = encode_text(text, eight_bit=eight_bit)
    assert b"\r\n.\r\n" not in encoded.content
    assert b"\0" not in encoded.content
    assert b"\r" not in encoded.content.replace(b"\r\n", b"")
    normal = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    assert decode(encoded) == normal.encode()


@pytest.mark.parametrize("length", range(70, 80))
@pytest.mark.parametrize(("start", "end"), [("", " "), ("", "\t"), ("From ", ""), ("From ", " ")])
def test_quoted_lines_stay_within_76_where_b2a_qp_alone_exceeds_it(length, start, end):
    line = start + "x" * (length - len(start) - len(end)) + end
    text = f"{line}\n{line}=\nü"
    encoded = encode_text(text, eight_bit=False)
    assert encoded.encoding == "quoted-printable"
    lines = encoded.content.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.endswith((b" ", b"\t")) for line in lines)
    assert not any(line.startswith(b"From ") for line in lines)
    assert decode(encoded) == text.replace("\n", "\r\n").encode()


def test_a_soft_break_leaves_no_from_at_the_start_of_a_line():
    text = "x" * 75 + "From the middle, ü"
    assert b"\nFrom " not in encode_text(text, eight_bit=False).content


@pytest.mark.parametrize(
    "size", [0, 1, 56, 57, 58, 114, 57 * 512 - 1, 57 * 512, 57 * 512 + 1, 99_999]
)
def test_base64_is_in_lines_of_76(size):
    data = bytes(i * 7 % 256 for i in range(size))
    expected = "\r\n".join(wrap(b64encode(data).decode(), 76)).encode()
    assert encode_base64(data) == expected
    assert base64_length(size) == len(expected)
