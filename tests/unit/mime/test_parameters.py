"""Content types and file names of attachments."""

import pytest

from mailer.mime.parameters import content_type, content_type_field, disposition_field


@pytest.mark.parametrize(
    ("filename", "written"),
    [
        ("", "attachment"),
        ("invoice 2026 (1).pdf", 'attachment; filename="invoice 2026 (1).pdf"'),
        (
            "Übersicht.pdf",
            "attachment;\r\n filename*=utf-8''%C3%9Cbersicht.pdf;\r\n filename=\"Ubersicht.pdf\"",
        ),
        (
            "отчёт.xlsx",
            (
                "attachment;\r\n filename*=utf-8''%D0%BE%D1%82%D1%87%D1%91%D1%82.xlsx;\r\n"
                ' filename="attachment.xlsx"'
            ),
        ),
        (
            'a "b".txt',
            "attachment;\r\n filename*=utf-8''a%20%22b%22.txt;\r\n filename=\"a _b_.txt\"",
        ),
        (
            "ü" * 20 + ".txt",
            "attachment;\r\n filename*0*=utf-8''" + "%C3%BC" * 8 + ";\r\n"
            " filename*1*=" + "%C3%BC" * 9 + ";\r\n"
            " filename*2*=" + "%C3%BC" * 3 + ".txt;\r\n"
            ' filename="' + "u" * 20 + '.txt"',
        ),
    ],
)
def test_file_names_are_plain_or_come_encoded_and_in_ascii(filename, written):
    assert disposition_field("attachment", filename) == f"Content-Disposition: {written}\r\n"


@pytest.mark.parametrize(
    "given", ["text/csv", "text/csv; charset=utf-8", 'text/calendar;method=REQUEST; a="b; c"']
)
def test_content_types_stay_as_given(given):
    assert content_type(given) == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "text",
        "text/",
        "text/a b",
        "text/plain;",
        "text/plain\r\nX: y",
        "multipart/mixed",
        "tëxt/x",
    ],
)
def test_what_no_attachment_can_be_is_opaque(given):
    assert content_type(given) == "application/octet-stream"


def test_long_content_types_are_folded():
    field = content_type_field("application/x; " + "; ".join(f"p{i}=value-{i}" for i in range(12)))
    assert max(map(len, field.split("\r\n"))) <= 76
