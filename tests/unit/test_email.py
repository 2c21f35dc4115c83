import pickle
from datetime import UTC, datetime, timedelta
from types import GeneratorType

import pytest

from mailer import Address, Attachment, Email, InvalidEmail, Priority, RetryPolicy

LINE_ENDS = ["\r", "\n", "\r\n", "\0", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"]
HIDDEN = ["=?utf-8?q?a=0ABcc:_x?=", "=?utf-8?b?YQpCY2M6IHg=?="]


def email(**fields):
    return Email(**({"from_email": "shop@example.com", "to": "jm@example.org"} | fields))


def refused(**fields):
    with pytest.raises(InvalidEmail) as caught:
        email(**fields)
    assert isinstance(caught.value, ValueError)
    return caught.value


def test_the_whole_of_it_as_documented():
    message = Email(
        from_email="Shop <shop@example.com>",
        to=["Jörg Müller <jm@example.org>", Address("a@example.org")],
        cc=[],
        bcc=("b@example.org",),
        reply_to=[],
        subject="Your order ✓",
        text="…",
        html="…",
        headers={"X-Order": "42"},
        attachments=[Attachment.from_bytes(b"x", filename="a.csv", content_type="text/csv")],
        envelope_sender=None,
        priority="high",
        scheduled_at=None,
        expires_at=None,
        tags=["order"],
        metadata={"order": 42},
        idempotency_key="order-42-confirmation",
        relay="marketing",
        delivery="at-least-once",
        dsn_notify=["failure", "delay"],
        dsn_return="headers",
        retry=None,
    )
    assert message.from_email == Address("shop@example.com", "Shop")
    assert message.priority is Priority.HIGH
    assert [a.email for a in message.recipients] == [
        "jm@example.org",
        "a@example.org",
        "b@example.org",
    ]


def test_one_address_may_stand_without_a_list():
    assert email(to="a@b.example").to == (Address("a@b.example"),)
    assert email(to=(a for a in ["a@b.example"])).to == (Address("a@b.example"),)


def test_each_mailbox_receives_one_copy():
    people = ["A <a@exämple.org>", "a@XN--EXMPLE-CUA.org", "A@exämple.org", "b@example.org"]
    message = email(to=people, cc="a@exämple.org", bcc="B@example.org")
    assert [a.email for a in message.recipients] == [
        "a@exämple.org",
        "A@exämple.org",
        "b@example.org",
        "B@example.org",
    ]


def test_an_email_does_not_change_once_it_is_made():
    headers, metadata, to = {"X-A": "1"}, {"a": [1]}, ["a@b.example"]
    message = email(headers=headers, metadata=metadata, to=to)
    headers["X-B"], metadata["b"] = "2", 2
    metadata["a"].append(2)
    to.append("c@d.example")
    assert dict(message.headers) == {"X-A": "1"}
    assert dict(message.metadata) == {"a": [1]}
    assert len(message.to) == 1
    with pytest.raises(AttributeError):
        message.subject = "x"
    with pytest.raises(TypeError):
        message.headers["X-C"] = "3"


def test_an_unknown_field_is_named_with_those_there_are():
    error = refused(recipients=["a@b.example"])
    assert error.field == "recipients"
    assert "from_email, to, cc" in error.reason


def test_a_missing_sender_is_named():
    with pytest.raises(InvalidEmail, match="from_email: is missing"):
        Email(to="a@b.example")


@pytest.mark.parametrize("fields", [{"to": []}, {"to": [], "cc": [], "bcc": []}])
def test_somebody_must_receive_it(fields):
    assert refused(**fields).field == "to"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"from_email": ""}, "from_email"),
        ({"from_email": None}, "from_email"),
        ({"from_email": ["a@b.example"]}, "from_email"),
        ({"from_email": "a@b.example, c@d.example"}, "from_email"),
        ({"to": None}, "to"),
        ({"to": 5}, "to"),
        ({"to": ["a@b.example", "nonsense"]}, "to[1]"),
        ({"to": ["a@b.example", "c@d.example", "@"]}, "to[2]"),
        ({"cc": [None]}, "cc[0]"),
        ({"cc": b"a@b.example"}, "cc[0]"),
        ({"bcc": "a@b.example, c@d.example"}, "bcc"),
        ({"reply_to": ["x"]}, "reply_to[0]"),
        ({"subject": None}, "subject"),
        ({"subject": b"x"}, "subject"),
        ({"subject": "x" * 10_001}, "subject"),
        ({"subject": "\ud800"}, "subject"),
        ({"text": b"x"}, "text"),
        ({"text": "a\ud83d"}, "text"),
        ({"html": "\udc00"}, "html"),
        ({"html": 5}, "html"),
        ({"headers": None}, "headers"),
        ({"headers": ["X-A: 1"]}, "headers"),
        ({"headers": {5: "x"}}, "headers[5]"),
        ({"headers": {"": "x"}}, "headers['']"),
        ({"headers": {"X A": "x"}}, "headers['X A']"),
        ({"headers": {"X:A": "x"}}, "headers['X:A']"),
        ({"headers": {"X-Ä": "x"}}, "headers['X-\\xc4']"),
        ({"headers": {"X" * 77: "x"}}, f"headers['{'X' * 77}']"),
        ({"headers": {"X-A": 5}}, "headers['X-A']"),
        ({"headers": {"X-A": None}}, "headers['X-A']"),
        ({"headers": {"X-A": "\ud800"}}, "headers['X-A']"),
        ({"attachments": None}, "attachments"),
        ({"attachments": Attachment.from_bytes(b"", filename="a")}, "attachments"),
        ({"attachments": ["a.pdf"]}, "attachments[0]"),
        ({"attachments": [Attachment.from_bytes(b"", filename="a"), b"x"]}, "attachments[1]"),
        ({"envelope_sender": ""}, "envelope_sender"),
        ({"envelope_sender": "x"}, "envelope_sender"),
        ({"priority": "urgent"}, "priority"),
        ({"priority": None}, "priority"),
        ({"priority": 1}, "priority"),
        ({"scheduled_at": datetime(2030, 1, 1)}, "scheduled_at"),  # noqa: DTZ001
        ({"scheduled_at": "2030-01-01T00:00:00Z"}, "scheduled_at"),
        ({"scheduled_at": 1_900_000_000}, "scheduled_at"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),  # noqa: DTZ001
        ({"expires_at": timedelta(hours=1)}, "expires_at"),
        ({"tags": "order"}, "tags"),
        ({"tags": None}, "tags"),
        ({"tags": 5}, "tags"),
        ({"tags": ["a", 5]}, "tags[1]"),
        ({"tags": ["a\nb"]}, "tags[0]"),
        ({"metadata": None}, "metadata"),
        ({"metadata": 5}, "metadata"),
        ({"metadata": {"a": object}}, "metadata"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"idempotency_key": b"x"}, "idempotency_key"),
        ({"idempotency_key": "\ud800"}, "idempotency_key"),
        ({"relay": ""}, "relay"),
        ({"relay": 5}, "relay"),
        ({"relay": "a\nb"}, "relay"),
        ({"relay": "x" * 101}, "relay"),
        ({"dsn_notify": "sometimes"}, "dsn_notify"),
        ({"dsn_notify": ["never", "failure"]}, "dsn_notify"),
        ({"dsn_notify": None}, "dsn_notify"),
        ({"dsn_return": "some"}, "dsn_return"),
        ({"dsn_return": 5}, "dsn_return"),
        ({"delivery": "at-random"}, "delivery"),
        ({"delivery": None}, "delivery"),
        ({"retry": 5}, "retry"),
        ({"retry": {"delays": [1]}}, "retry"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_bad_value_is_refused_and_its_field_named(fields, field):
    error = refused(**fields)
    assert error.field == field
    assert error.reason
    assert str(error).startswith(f"{field}: ")


@pytest.mark.parametrize("bad", [*LINE_ENDS, *HIDDEN], ids=ascii)
@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("subject", lambda bad: {"subject": f"Hi {bad} there"}),
        ("subject", lambda bad: {"subject": f"Hi{bad}"}),
        ("from_email", lambda bad: {"from_email": f"Shop {bad} <shop@example.com>"}),
        ("to[1]", lambda bad: {"to": ["a@b.example", f"{bad} <a@b.example>"]}),
        ("cc", lambda bad: {"cc": f'"{bad}" <a@b.example>'}),
        ("reply_to[0]", lambda bad: {"reply_to": [f"a {bad} b <a@b.example>"]}),
        ("headers['X-Order']", lambda bad: {"headers": {"X-Order": f"4 {bad} 2"}}),
        (
            "headers['List-Unsubscribe']",
            lambda bad: {"headers": {"List-Unsubscribe": f"<https://a.example> {bad}"}},
        ),
        ("tags[0]", lambda bad: {"tags": [f" {bad} "]}),
    ],
)
def test_nothing_that_ends_a_header_gets_in(field, fields, bad):
    """Neither as it is nor in an encoded word that some software would decode."""
    assert refused(**fields(bad)).field == field


@pytest.mark.parametrize("bad", LINE_ENDS, ids=ascii)
@pytest.mark.parametrize("name", ["X-A{}", "X-A{}Bcc", "{}X-A"])
def test_nothing_that_ends_a_header_gets_into_its_name(name, bad):
    assert refused(headers={name.format(bad): "x"}).field.startswith("headers[")


@pytest.mark.parametrize(
    ("name", "instead"),
    [("From", "from_email"), ("BCC", "bcc"), ("subject", "subject"), ("Message-ID", "nothing")],
)
def test_a_header_that_the_mailer_writes_is_refused_with_the_field_to_use(name, instead):
    error = refused(headers={name: "a@b.example"})
    assert error.field == f"headers['{name}']"
    assert f"use {instead}" in error.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("List-Unsubscribe", "<https://exämple.org>"),
        ("Sender", "Jörg"),
        ("References", f"<{'x' * 1000}@example.org>"),
        ("Content-Disposition", "inline"),
    ],
)
def test_a_header_that_could_not_be_written_is_refused_before_anything_is_stored(name, value):
    """Else the email would be accepted, and fail in a worker hours later."""
    assert refused(headers={name: value}).field == f"headers['{name}']"


def test_a_time_to_expire_before_the_time_to_leave_is_refused():
    now = datetime.now(UTC)
    assert refused(scheduled_at=now, expires_at=now).field == "expires_at"


def test_endless_metadata_is_refused():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert refused(metadata=deep).field == "metadata"


def test_metadata_are_nested_no_deeper_than_any_reader_can_follow():
    value: object = 1
    for _ in range(31):
        value = [value]
    assert email(metadata={"a": value}).metadata["a"] == value
    assert "32 levels" in refused(metadata={"a": [value]}).reason


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_can_not_hold_become_none(number):
    assert email(metadata={"a": number}).metadata["a"] is None


def test_a_retry_policy_of_its_own_is_kept():
    policy = RetryPolicy(delays=(1.0,))
    assert email(retry=policy).retry is policy


def test_the_repr_shows_neither_bodies_nor_attachments():
    secret = "canary-body"
    attached = [Attachment.from_bytes(secret.encode(), filename="a")]
    assert secret not in repr(email(text=secret, html=secret, attachments=attached))


def test_what_is_stored_shows_no_content_in_its_repr():
    """These are the values that stand in a worker's and a producer's tracebacks."""
    from mailer.enqueueing import new_job
    from mailer.loading import load_settings
    from mailer.store.jobs import Jobs
    from mailer.store.keys import Keys

    attached = [Attachment.from_bytes(b"canary", filename="a")]
    message = email(text="canary", html="canary", subject="canary", attachments=attached)
    job = new_job(message, load_settings())
    operation = Jobs(Keys("p"), idempotency_seconds=1).enqueue([job])
    for value in (job, job.message, job.head, operation):
        assert "canary" not in repr(value)


def test_errors_survive_pickling():
    error = refused(subject=None)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.field, str(again)) == (InvalidEmail, error.field, str(error))


class TestAttachment:
    @pytest.mark.parametrize(
        "name",
        [
            *("", ".", "..", "a/b", "a\\b", "../a", "/etc/passwd", "a\nb", "a\rb", "a\0b"),
            *("a\x85", "a\u2028b", "\ud800", "=?utf-8?q?a=0A?=", "x" * 10_001, 5, None),
        ],
        ids=lambda value: ascii(value)[:40],
    )
    def test_only_a_plain_name_is_a_file_name(self, name):
        with pytest.raises(InvalidEmail, match="filename: "):
            Attachment.from_bytes(b"", filename=name)

    @pytest.mark.parametrize(
        "content_type",
        [
            *("text", "text/", "/plain", "text/plain\n", 'text/plain; a="\r\n"', "text plain"),
            *("multipart/mixed", "Multipart/Mixed; boundary=x", "text/plain; a=\xe9", 5),
        ],
    )
    def test_only_a_media_type_is_a_content_type(self, content_type):
        with pytest.raises(InvalidEmail, match="content_type: "):
            Attachment.from_bytes(b"", filename="a", content_type=content_type)

    @pytest.mark.parametrize("content_id", ["", " ", "a b", "<a>", "a\r\nb", "ä", 5])
    def test_only_a_plain_id_is_a_content_id(self, content_id):
        with pytest.raises(InvalidEmail, match="content_id: "):
            Attachment.from_bytes(b"", filename="a", content_id=content_id)

    @pytest.mark.parametrize("content", ["text", None, 5, [1]])
    def test_only_bytes_are_content(self, content):
        with pytest.raises(InvalidEmail, match="content: "):
            Attachment.from_bytes(content, filename="a")

    @pytest.mark.parametrize("path", [5, None, "a\0/b.pdf", "\udcff/b.pdf", b"a"])
    def test_only_a_path_that_can_be_named_is_a_path(self, path):
        with pytest.raises(InvalidEmail, match="path: "):
            Attachment.from_path(path)

    def test_the_type_is_guessed_from_the_name(self):
        assert Attachment.from_bytes(b"", filename="a.csv").content_type == "text/csv"
        assert Attachment.from_path("/x/a.pdf").content_type == "application/pdf"
        assert Attachment.from_path("a.tar.gz").content_type == "application/octet-stream"
        assert Attachment.from_path("/x/y/a.pdf").filename == "a.pdf"

    def test_bytes_are_copied(self):
        content = bytearray(b"abc")
        attachment = Attachment.from_bytes(content, filename="a")
        content[0] = 0
        assert attachment.content == b"abc"


def test_an_endless_list_of_recipients_may_be_a_generator():
    people = (f"a{i}@b.example" for i in range(1000))
    assert isinstance(people, GeneratorType)
    assert len(email(to=people).recipients) == 1000
