"""The fields of `Email` that become headers of their own: on the wire exactly, or refused."""

import time

import attrs
import pytest

from mailer import Address, Attachment, Email, Group, InvalidEmail, load_settings
from mailer.enqueueing import new_job
from mailer.mime import NeedsSmtpUtf8, needs_smtputf8, render

INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
LEAST = {"from_email": "shop@example.com", "to": "jm@example.org"}


def header(**fields):
    job = new_job(Email(**(LEAST | fields)), load_settings())
    return bytes(render(job.message, job.blobs)).partition(b"\r\n\r\n")[0].decode()


def refused(**fields):
    with pytest.raises(InvalidEmail) as caught:
        Email(**(LEAST | fields))
    return caught.value


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"sender": "Büro <b@example.com>"}, ["Sender: =?utf-8?b?QsO8cm8=?= <b@example.com>"]),
        (
            {"sender": Address("b@example.com", "=?utf-8?q?x?=")},
            ["Sender: =?utf-8?b?PT91dGYtOD9xP3g/PQ==?= <b@example.com>"],
        ),
        (
            {"sender": Address("b@example.com", "Bü <ro>")},
            ["Sender: =?utf-8?b?QsO8IDxybz4=?= <b@example.com>"],
        ),
        (
            {"sender": Address("b@example.com", "Office <b>, Ltd.")},
            ['Sender: "Office <b>, Ltd." <b@example.com>'],
        ),
        ({"in_reply_to": "<1@x.example>"}, ["In-Reply-To: <1@x.example>"]),
        ({"in_reply_to": "1@x.example"}, ["References: <1@x.example>"]),
        (
            {"in_reply_to": "2@x.example", "references": ["1@x.example", "<2@x.example>"]},
            ["In-Reply-To: <2@x.example>", "References: <1@x.example> <2@x.example>"],
        ),
        (
            {"references": "<1@x.example> <2@x.example>"},
            ["References: <1@x.example> <2@x.example>"],
        ),
        (
            {"list_unsubscribe": ["https://x.example/u?a=1&b=2", "mailto:u@x.example"]},
            ["List-Unsubscribe: <https://x.example/u?a=1&b=2>, <mailto:u@x.example>"],
        ),
        (
            {"list_unsubscribe": "https://x.example/u", "one_click_unsubscribe": True},
            [
                "List-Unsubscribe: <https://x.example/u>",
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            ],
        ),
        ({"auto_submitted": "auto-generated"}, ["Auto-Submitted: auto-generated"]),
        ({"importance": "high"}, ["Importance: high", "X-Priority: 1"]),
        ({"importance": "low"}, ["Importance: low", "X-Priority: 5"]),
        (
            {"to": [Group("Team", ["a@x.example", "B <b@x.example>"]), "c@x.example"]},
            ["To: Team: a@x.example, B <b@x.example>;, c@x.example"],
        ),
        ({"to": Group("Nobody"), "bcc": "a@x.example"}, ["To: Nobody:;"]),
        (
            {"cc": Group("Über, uns", ["a@x.example"])},
            ["Cc: =?utf-8?q?=C3=9Cber=2C_uns?= : a@x.example;"],
        ),
    ],
)
def test_a_field_is_written_as_its_standard_says(fields, lines):
    found = header(**fields).split("\r\n")
    assert [line for line in lines if line not in found] == []


def test_a_sender_whose_name_is_longer_than_a_line_is_written():
    lines = header(sender=Address("b@example.com", "x" * 2000)).split("\r\n")
    assert max(map(len, lines)) <= 76


@pytest.mark.parametrize(
    "fields",
    [
        {"sender": "bü@example.com"},
        {"headers": {"Sender": "Büro <bü@example.com>"}},
        {"cc": Group("Team", ["bü@example.com"])},
    ],
    ids=["sender", "a custom header", "a group"],
)
def test_an_address_in_utf8_wants_a_relay_for_it_wherever_it_stands(fields):
    message = new_job(Email(**(LEAST | fields)), load_settings()).message
    assert needs_smtputf8(message)
    assert "bü@example.com".encode() in bytes(render(message, {}, utf8_headers=True))
    with pytest.raises(NeedsSmtpUtf8):
        render(message, {})


def test_a_name_in_utf8_wants_no_relay_for_it():
    fields = {"sender": "Büro <b@example.com>", "headers": {"Errors-To": "Bü <b@example.com>"}}
    assert not needs_smtputf8(new_job(Email(**LEAST, **fields), load_settings()).message)


def test_the_members_of_groups_are_recipients():
    email = Email(
        from_email="a@b.example",
        to=Group("Team", ["a@x.example", "b@x.example"]),
        cc=["b@x.example", Group("Others", ["c@x.example"])],
    )
    assert [a.email for a in email.recipients] == ["a@x.example", "b@x.example", "c@x.example"]


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"in_reply_to": "no id"}, "in_reply_to", "is a message id"),
        ({"in_reply_to": "<a@b> <c@d>"}, "in_reply_to", "is a message id"),
        ({"in_reply_to": "<a@b\r\nX: y>"}, "in_reply_to", "control character"),
        ({"in_reply_to": 1}, "in_reply_to", "is a text"),
        ({"references": ["a@b", "x"]}, "references[1]", "is a message id"),
        ({"references": 1}, "references", "is a list"),
        ({"list_unsubscribe": "javascript:alert(1)"}, "list_unsubscribe[0]", "is a URI"),
        ({"list_unsubscribe": "<https://x.example>"}, "list_unsubscribe[0]", "angle brackets"),
        ({"list_unsubscribe": ["https://x.example/a b"]}, "list_unsubscribe[0]", "spaces"),
        ({"list_unsubscribe": "https://x.example/ü"}, "list_unsubscribe[0]", "ASCII"),
        ({"list_unsubscribe": "https://x.example/\n"}, "list_unsubscribe[0]", "control"),
        ({"list_unsubscribe": "https://x.example/a,<b>"}, "list_unsubscribe[0]", "commas"),
        ({"list_unsubscribe": 1}, "list_unsubscribe", "is a list"),
        ({"one_click_unsubscribe": True}, "one_click_unsubscribe", "needs an https URI"),
        (
            {"one_click_unsubscribe": True, "list_unsubscribe": "mailto:u@x.example"},
            "one_click_unsubscribe",
            "needs an https URI",
        ),
        ({"one_click_unsubscribe": 1}, "one_click_unsubscribe", "True or False"),
        ({"auto_submitted": "yes"}, "auto_submitted", "auto-generated, auto-replied"),
        ({"importance": "urgent"}, "importance", "high, normal, low"),
        ({"calendar": "hello"}, "calendar", "begins with BEGIN:VCALENDAR"),
        ({"calendar": "BEGIN:VCALENDAR\r\nEND:VCALENDAR"}, "calendar", "no METHOD"),
        ({"calendar": INVITATION.replace("REQUEST", "a b")}, "calendar", "no METHOD"),
        ({"amp": "<html amp4email>"}, "amp", "needs html or text"),
        ({"text_from_html": True}, "text_from_html", "needs html"),
        ({"text_from_html": True, "html": "h", "text": "t"}, "text_from_html", "no text"),
        ({"html": "\ud800"}, "html", "lone surrogate"),
        ({"amp": "\ud800", "text": "x"}, "amp", "lone surrogate"),
        ({"sender": "a@b\r\nBcc: x@y"}, "sender", "control character"),
        ({"sender": ["a@b.example"]}, "sender", "is an address"),
        ({"headers": {"sender": "a@b"}, "sender": "c@d.example"}, "headers['sender']", "a field"),
        (
            {"headers": {"IMPORTANCE": "low"}, "importance": "high"},
            "headers['IMPORTANCE']",
            "a field",
        ),
        ({"headers": {"X-Priority": "2"}, "importance": "low"}, "headers['X-Priority']", "a field"),
        (
            {"headers": {"References": "<a@b>"}, "in_reply_to": "<a@b>"},
            "headers['References']",
            "a field",
        ),
        (
            {"headers": {"list-unsubscribe": "<x>"}, "list_unsubscribe": "mailto:u@x.example"},
            "headers['list-unsubscribe']",
            "a field",
        ),
        (
            {"headers": {"Auto-Submitted": "no"}, "auto_submitted": "auto-replied"},
            "headers['Auto-Submitted']",
            "a field",
        ),
        ({"to": Group("  ", ["a@b.example"])}, "to.name", "is empty"),
        ({"to": Group(None, ["a@b.example"])}, "to.name", "is a text"),
        ({"to": Group("a", [Group("b", ["a@b.example"])])}, "to.members[0]", "not Group"),
        ({"from_email": Group("a", ["a@b.example"])}, "from_email", "not Group"),
        ({"list_unsubscribe": "ftp://x.example/"}, "list_unsubscribe[0]", "is a URI"),
        ({"list_unsubscribe": "mailto:"}, "list_unsubscribe[0]", "is a URI"),
        ({"list_unsubscribe": "https://x.example/" + "x" * 900}, "list_unsubscribe[0]", "is a URI"),
        ({"in_reply_to": f"<{'x' * 500}@y>"}, "in_reply_to", "is a message id"),
        ({"in_reply_to": "<a@b>\udc80"}, "in_reply_to", "control character"),
        ({"to": Group("", ["a@b.example"])}, "to.name", "is empty"),
        ({"to": Group("a\r\nb", ["a@b.example"])}, "to.name", "control character"),
        ({"to": [Group("a", ["a@b.example", "x"])]}, "to[0].members[1]", "no @"),
        ({"to": Group("a", "a@b.example")}, "to.members", "is a list"),
        ({"to": Group("a", 3)}, "to.members", "is a list"),
        ({"to": Group("a")}, "to", "names nobody"),
        ({"prepared": "x"}, "prepared", "from_message"),
    ],
)
def test_what_can_t_be_sent_is_refused_with_the_field_s_name(fields, field, reason):
    error = refused(**fields)
    assert error.field == field
    assert reason in error.reason


EVIL = ["\r", "\n", "\r\n", "\0", "\x85", "\u2028", "\ud800", "=?utf-8?q?a=0AX:_y?="]
EVIL += ["=?utf-8?b?YQpYOiB5?=", "=?iso-8859-1?q?a=0d=0a?=", "=?utf-8?q?a=C2=85?="]


@pytest.mark.parametrize("evil", EVIL, ids=ascii)
@pytest.mark.parametrize(
    "place",
    [
        lambda evil: {"subject": f"a{evil}b"},
        lambda evil: {"sender": f'"a{evil}b" <a@b.example>'},
        lambda evil: {"sender": Address("a@b.example", f"a{evil}b")},
        lambda evil: {"reply_to": f'"a{evil}b" <a@b.example>'},
        lambda evil: {"cc": Group(f"a{evil}b", ["a@b.example"])},
        lambda evil: {"headers": {"X-A": f"a{evil}b"}},
        lambda evil: {"headers": {f"X-A{evil}": "b"}},
        lambda evil: {"in_reply_to": f"<a{evil}b@c>"},
        lambda evil: {"references": f"<a@c> <a{evil}b@c>"},
        lambda evil: {"list_unsubscribe": f"https://x.example/{evil}"},
        lambda evil: {"importance": f"high{evil}"},
        lambda evil: {"auto_submitted": f"auto-replied{evil}"},
        lambda evil: {"tags": [f"a{evil}b"]},
        lambda evil: {"attachments": [Attachment.from_bytes(b"", filename=f"a{evil}b")]},
        lambda evil: {
            "attachments": [Attachment.from_bytes(b"", filename="a", content_id=f"a{evil}b")]
        },
        lambda evil: {
            "attachments": [Attachment.from_bytes(b"", filename="a", content_type=f"a/b{evil}")]
        },
    ],
)
def test_nothing_that_injects_a_header_gets_through(evil, place):
    with pytest.raises(InvalidEmail):
        Email(**(LEAST | place(evil)))


@pytest.mark.parametrize(
    "text", [";" * 10**5, "(" * 10**5, '"' * 10**5, "a@" * 10**5, "=?" * 10**5]
)
@pytest.mark.parametrize("field", ["to", "sender", "subject", "list_unsubscribe", "references"])
def test_what_is_endless_is_refused_at_once(field, text):
    begin = time.process_time()
    refused(**{field: text})
    assert time.process_time() - begin < 0.5


def test_text_is_derived_from_html_on_request():
    html = (
        "<style>p {color: red}</style><h1>Hello &amp; welcome</h1>"
        '<p>See <a href="https://x.example/a?b=1">our site</a>.</p><ul><li>one<li>two</ul>'
        "<script>alert(1)</script>"
    )
    job = new_job(Email(**LEAST, html=html, text_from_html=True), load_settings())
    text = job.message.text
    assert "Hello & welcome" in text
    assert "[our site](https://x.example/a?b=1)" in text
    assert "* one" in text
    assert "alert" not in text
    assert "color" not in text
    assert job.message.html == html


def test_without_its_library_derived_text_is_refused_with_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "inscriptis", None)
    with pytest.raises(InvalidEmail, match="pip install 'celery-mailer\\[html\\]'") as caught:
        new_job(Email(**LEAST, html="h", text_from_html=True), load_settings())
    assert caught.value.field == "text_from_html"


def test_five_thousand_recipients_are_refused_with_the_limit_s_name():
    email = Email(**(LEAST | {"to": [f"r{i}@example.org" for i in range(5000)]}))
    with pytest.raises(InvalidEmail, match="MAILER_MAX_RECIPIENTS") as caught:
        new_job(email, load_settings())
    assert caught.value.field == "to"


def test_every_field_is_checked():
    """One without a converter would be refused with a TypeError, and only where it is given."""
    assert [field.name for field in attrs.fields(Email) if not field.converter] == []


def test_an_address_that_a_template_engine_marked_as_safe_is_stored_as_plain_text():
    class Safe(str):
        __slots__ = ()

    email = Email(from_email=Safe("shop@example.com"), to=[Safe("Ann <ann@example.org>")])
    for address in (email.from_email, *email.recipients):
        assert type(address.email) is str
        assert type(address.name) is str
