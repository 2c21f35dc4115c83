"""Django's documentation on email, point by point, with our backend.

The order is that of the topic "Sending email". On Django 6.1 all of it holds twice: with
EMAIL_BACKEND, and with MAILERS.
"""

import smtplib
from email import message_from_bytes
from email.message import EmailMessage as LibraryMessage
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.policy import default

import django
import pytest
from django.conf import settings
from django.core import mail
from django.core.mail import (
    EmailMessage,
    EmailMultiAlternatives,
    get_connection,
    mail_admins,
    mail_managers,
    send_mail,
    send_mass_mail,
)
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.test import override_settings
from django.utils.translation import gettext_lazy
from django_project import DEPRECATED

from mailer import InvalidEmail, JobState, Mailer, StoreUnavailable
from mailer.contrib.django import EmailBackend, MailerMessage, get_mailer
from mailer.testing.ports import free_port

OURS = "mailer.contrib.django.EmailBackend"
MAILERS = {"default": {"BACKEND": OURS}}
SETTINGS = {"EMAIL_BACKEND": {"EMAIL_BACKEND": OURS}}
if django.VERSION >= (6, 1):
    SETTINGS["MAILERS"] = {"MAILERS": MAILERS}
PNG = b"\x89PNG\r\n\x1a\n"

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]
with_pairs = django.VERSION < (6, 0)  # ADMINS and MANAGERS were lists of pairs


@pytest.fixture(autouse=True, params=SETTINGS)
def mailer(request, redis_server, key_prefix):
    ours = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}
    with override_settings(MAILER=ours, **SETTINGS[request.param]):
        yield get_mailer()


def queued() -> list[LibraryMessage]:
    """Parse what waits, in the order of the subjects."""
    jobs = sorted(get_mailer().list("queued"), key=lambda job: job.subject)
    found = []
    for job in jobs:
        message = message_from_bytes(get_mailer().message(job.id), policy=default)
        assert not message.defects
        message.recipients = [recipient.address for recipient in job.recipients]
        message.job = job
        found.append(message)
    return found


def only() -> LibraryMessage:
    (message,) = queued()
    return message


def kinds(message) -> list[str]:
    return [part.get_content_type() for part in message.walk()]


def bodies(message) -> list[str]:
    return [
        part.get_content().replace("\r\n", "\n").removesuffix("\n")
        for part in message.walk()
        if part.get_content_maintype() == "text" and not part.get_filename()
    ]


class TestSendMail:
    def test_it_sends_one_message_to_all_who_see_each_other(self):
        to = ["to@example.com", "other@example.com"]
        assert send_mail("Subject here", "Here is the message.", "from@example.com", to) == 1
        message = only()
        assert message["Subject"] == "Subject here"
        assert message["From"] == "from@example.com"
        assert message["To"] == "to@example.com, other@example.com"
        assert message.recipients == to
        assert bodies(message) == ["Here is the message."]

    def test_without_a_sender_it_is_the_default_one(self):
        send_mail("Hi", "Hi", None, ["to@example.com"])
        assert only()["From"] == settings.DEFAULT_FROM_EMAIL

    def test_a_message_in_html_makes_it_an_alternative(self):
        send_mail("Hi", "text", "from@example.com", ["to@example.com"], html_message="<p>html</p>")
        message = only()
        assert kinds(message) == ["multipart/alternative", "text/plain", "text/html"]
        assert bodies(message) == ["text", "<p>html</p>"]

    def test_fail_silently_raises_nothing_and_counts_nothing(self):
        with override_settings(MAILER={"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}):
            sent = send_mail("Hi", "Hi", None, ["to@example.com"], fail_silently=True)
            assert sent == 0
            with pytest.raises(StoreUnavailable):
                send_mail("Hi", "Hi", None, ["to@example.com"])

    @pytest.mark.parametrize("address", ["webmaster", "ann@example.com (Ann)", "ann@example.com,"])
    def test_an_address_that_relays_would_not_know_is_refused(self, address):
        with pytest.raises(InvalidEmail, match="to"):
            send_mail("Hi", "Hi", None, [address])
        assert queued() == []

    def test_a_connection_may_be_given(self, key_prefix):
        other = get_connection(key_prefix=f"{key_prefix}-other")
        assert send_mail("Hi", "Hi", None, ["to@example.com"], connection=other) == 1
        assert queued() == []
        assert other.mailer.counts()[JobState.QUEUED] == 1

    def test_login_data_are_left_to_the_relays_of_workers(self):
        sent = send_mail(
            "Hi", "Hi", None, ["to@example.com"], auth_user="me", auth_password="secret"
        )
        assert sent == 1

    def test_nobody_to_send_to_is_no_message(self):
        assert send_mail("Hi", "Hi", None, []) == 0
        assert queued() == []

    def test_lazy_texts_are_texts(self):
        lazy = gettext_lazy("Username")
        send_mail(lazy, lazy, None, ["to@example.com"])
        message = only()
        assert (message["Subject"], bodies(message)) == ("Username", ["Username"])


class TestSendMassMail:
    def test_each_message_is_its_own(self):
        first = ("Subject 1", "Message 1", "from@example.com", ["first@example.com", "b@b.example"])
        second = ("Subject 2", "Message 2", None, ["second@test.example"])
        assert send_mass_mail((first, second)) == 2
        one, two = queued()
        assert (one["Subject"], one.recipients) == ("Subject 1", first[3])
        assert (two["From"], two.recipients) == (settings.DEFAULT_FROM_EMAIL, second[3])

    def test_none_is_enqueued_where_one_is_wrong_and_the_error_names_it(self):
        good = ("Hi", "Hi", None, ["to@example.com"])
        with pytest.raises(InvalidEmail, match=r"^messages\[1\]\.message\['to'\]: 'no' has no @"):
            send_mass_mail([good, ("Hi", "Hi", None, ["no address"]), good])
        assert queued() == []

    def test_fail_silently_sends_the_others(self):
        good = ("Hi", "Hi", None, ["to@example.com"])
        bad = ("Hi", "Hi", None, ["no address"])
        nobody = ("Hi", "Hi", None, [])
        assert send_mass_mail([good, bad, nobody, good], fail_silently=True) == 2
        assert len(queued()) == 2

    def test_fail_silently_sends_the_others_also_where_enqueueing_refuses_one(self, mailer):
        messages = [MailerMessage("Hi", f"{i % 2}", to=["to@example.com"]) for i in range(5)]
        for message in messages[1:4]:
            message.mailer = {"idempotency_key": "once"}
        connection = get_connection(fail_silently=True)
        assert connection.send_messages(messages) == 4, "of one key, 1 and 3 are one, 2 another"
        assert messages[2].job_id is None
        assert messages[3].job_id == messages[1].job_id
        assert len(queued()) == 3

    def test_many_messages_take_a_round_trip_for_a_hundred(self, redis_server):
        import redis

        messages = [(f"Hi {i}", "Hi", None, ["to@example.com"]) for i in range(250)]
        send_mass_mail(messages[:1])
        with redis.Redis.from_url(redis_server.url) as raw:
            before = raw.info("commandstats")["cmdstat_evalsha"]["calls"]
            assert send_mass_mail(messages) == 250
            assert raw.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 3


class TestAdminsAndManagers:
    @pytest.mark.parametrize(
        ("setting", "send"), [("ADMINS", mail_admins), ("MANAGERS", mail_managers)]
    )
    def test_they_get_mail_from_the_server_with_a_prefix(self, setting, send):
        addresses = ["one@example.com", "two@example.com"]
        people = [("Name", address) for address in addresses] if with_pairs else addresses
        with override_settings(**{setting: people}, EMAIL_SUBJECT_PREFIX="[Shop] "):
            send("Down", "It is down.", html_message="<p>It is down.</p>")
        message = only()
        assert message["Subject"] == "[Shop] Down"
        assert message["From"] == settings.SERVER_EMAIL
        assert message.recipients == addresses
        assert kinds(message) == ["multipart/alternative", "text/plain", "text/html"]

    def test_without_any_nothing_is_sent(self):
        mail_admins("Down", "It is down.")
        mail_managers("Down", "It is down.")
        assert queued() == []


class TestHeaderInjection:
    """In Django 5.2 it is BadHeaderError, a ValueError; later a plain ValueError."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"subject": "Hi\nBcc: all@example.org"},
            {"subject": "Hi\r\nBcc: all@example.org"},
            {"from_email": "a@example.com\nBcc: all@example.org"},
            {"to": ["a@example.com\nBcc: all@example.org"]},
            {"cc": ["a@example.com\r\nBcc: all@example.org"]},
            {"reply_to": ["a@example.com\nBcc: all@example.org"]},
            {"headers": {"X-Order": "1\nBcc: all@example.org"}},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    @pytest.mark.parametrize("fail_silently", [False, True])
    def test_a_line_break_in_a_header_is_django_s_own_error(self, fields, fail_silently):
        message = EmailMessage(**{"subject": "Hi", "body": "Hi", "to": ["a@example.com"], **fields})
        with pytest.raises(ValueError, match=r"newline|linefeed|control character") as caught:
            message.send(fail_silently=fail_silently)
        if django.VERSION < (6, 0):
            assert isinstance(caught.value, mail.BadHeaderError)
        assert queued() == []

    def test_a_line_break_that_hides_in_an_encoded_word_is_refused(self):
        message = EmailMessage("=?utf-8?q?Hi=0ABcc:_all=40example.org?=", to=["a@example.com"])
        with pytest.raises(InvalidEmail, match="control character"):
            message.send()
        assert queued() == []


class TestEmailMessage:
    def test_all_that_its_constructor_takes(self):
        message = EmailMessage(
            "Hello",
            "Body goes here",
            "from@example.com",
            ["to1@example.com", "to2@example.com"],
            bcc=["bcc@example.com"],
            reply_to=["another@example.com", "Yet <yet@example.com>"],
            cc=["cc@example.com"],
            headers={"Message-ID": "<foo@example.com>", "X-Order": "42"},
            attachments=[("a.pdf", b"%PDF", "application/pdf")],
        )
        assert message.send() == 1
        sent = only()
        assert sent["Subject"] == "Hello"
        assert sent["From"] == "from@example.com"
        assert sent["To"] == "to1@example.com, to2@example.com"
        assert sent["Cc"] == "cc@example.com"
        assert sent["Reply-To"] == "another@example.com, Yet <yet@example.com>"
        assert sent["Message-ID"] == message.receipt.message_id == "<foo@example.com>"
        assert sent["X-Order"] == "42"
        assert sent["Bcc"] is None
        assert b"bcc@" not in bytes(sent)
        assert sent.recipients == message.recipients()
        assert kinds(sent) == ["multipart/mixed", "text/plain", "application/pdf"]

    def test_its_attributes_may_be_set_later(self):
        message = EmailMessage()
        message.subject, message.body = "Later", "Later"
        message.from_email, message.to = "from@example.com", ["to@example.com"]
        message.cc, message.bcc = ["cc@example.com"], ["bcc@example.com"]
        message.reply_to, message.extra_headers = ["r@example.com"], {"X-Order": 42}
        message.send()
        sent = only()
        assert (sent["Subject"], sent["Reply-To"], sent["X-Order"]) == (
            "Later",
            "r@example.com",
            "42",
        )
        assert sent.recipients == ["to@example.com", "cc@example.com", "bcc@example.com"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("From", "Somebody <else@example.com>"),
            ("To", "list@example.com"),
            ("Cc", "shown@example.com"),
            ("Reply-To", "answers@example.com"),
        ],
    )
    def test_a_header_may_show_others_than_those_of_the_envelope(self, name, value):
        EmailMessage(
            "Hi", "Hi", "bounces@example.com", ["to@example.com"], headers={name: value}
        ).send()
        sent = only()
        assert sent[name] == value
        assert sent.recipients == ["to@example.com"]

    def test_a_date_may_be_given(self):
        date = "Fri, 09 Nov 2001 01:08:47 -0000"
        EmailMessage("Hi", "Hi", to=["to@example.com"], headers={"date": date}).send()
        assert only()["Date"] == date

    def test_the_date_is_local_where_the_settings_say_so(self):
        with override_settings(EMAIL_USE_LOCALTIME=True, USE_TZ=True, TIME_ZONE="Asia/Kolkata"):
            EmailMessage("Hi", "Hi", to=["to@example.com"]).send()
        assert only()["Date"].endswith("+0530")

    def test_to_may_be_empty_where_bcc_is_not(self):
        EmailMessage("Hi", "Hi", bcc=["secret@example.com"]).send()
        sent = only()
        assert sent.recipients == ["secret@example.com"]
        assert b"secret" not in bytes(sent)

    @pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to"])
    def test_a_string_instead_of_a_list_is_a_type_error(self, field):
        with pytest.raises(TypeError, match=field):
            EmailMessage(**{field: "to@example.com"})

    def test_a_message_may_be_built_without_being_sent(self):
        assert EmailMessage("Hi", "Hi", to=["to@example.com"]).message()["Subject"] == "Hi"
        assert queued() == []

    def test_what_is_no_message_is_refused_and_nothing_stored(self):
        good = EmailMessage("Hi", "Hi", to=["to@example.com"])
        with pytest.raises(
            InvalidEmail, match=r"messages\[1\]\.message: is a django\..*, not dict"
        ):
            get_connection().send_messages([good, {"subject": "Hi"}])
        assert queued() == []

    def test_a_subclass_that_builds_its_message_otherwise_is_heeded(self):
        class Stamped(EmailMessage):
            def message(self, **options):
                message = super().message(**options)
                message["X-Stamp"] = "1"
                return message

            def recipients(self):
                return ["instead@example.com"]

        assert Stamped("Hi", "Hi", to=["to@example.com"]).send() == 1
        sent = only()
        assert sent["X-Stamp"] == "1"
        assert sent.recipients == ["instead@example.com"]

    def test_another_charset_is_heeded(self):
        message = EmailMessage("Grüße", "Grüße", to=["to@example.com"])
        message.encoding = "iso-8859-1"
        message.send()
        sent = only()
        assert sent.get_content_charset() == "iso-8859-1"
        assert (sent["Subject"], bodies(sent)[0].strip()) == ("Grüße", "Grüße")

    def test_encoded_words_stay_as_they_are(self):
        words = "=?utf-8?q?Gr=C3=BC=C3=9Fe?="
        EmailMessage(words, "Hi", f"{words} <a@example.com>", ["to@example.com"]).send()
        sent = only()
        assert sent["Subject"] == "Grüße"
        assert sent["From"].addresses[0].display_name == "Grüße"

    def test_international_addresses_are_written_as_smtp_takes_them(self):
        EmailMessage("Hi", "Hi", "Ö <o@bücher.example>", ["Jörg <jm@bücher.example>"]).send()
        sent = only()
        assert sent.recipients == ["jm@xn--bcher-kva.example"]
        assert sent["To"].addresses[0].display_name == "Jörg"


class TestAttachments:
    def attached(self):
        return list(only().iter_attachments())

    def test_a_file_name_and_content(self):
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        message.attach("design.png", PNG, "image/png")
        message.attach("größe.csv", "größe\n1\n", "text/csv")
        message.attach("guessed.pdf", b"%PDF")
        message.attach("unknown.zzz", b"?")
        message.attach("binary.txt", b"\xff\xfe", "text/plain")
        message.attach(None, b"no name", "application/pdf")
        message.send()
        found = [(p.get_content_type(), p.get_filename(), p.get_content()) for p in self.attached()]
        found[1] = (*found[1][:2], found[1][2].replace("\r\n", "\n"))
        assert found == [
            ("image/png", "design.png", PNG),
            ("text/csv", "größe.csv", "größe\n1\n"),
            ("application/pdf", "guessed.pdf", b"%PDF"),
            ("application/octet-stream", "unknown.zzz", b"?"),
            ("application/octet-stream", "binary.txt", b"\xff\xfe"),
            ("application/pdf", None, b"no name"),
        ]

    def test_a_named_tuple(self):
        attachment = mail.EmailAttachment("a.pdf", b"%PDF", "application/pdf")
        EmailMessage("Hi", "Hi", to=["to@example.com"], attachments=[attachment]).send()
        (part,) = self.attached()
        assert (part.get_filename(), part.get_content()) == ("a.pdf", b"%PDF")

    def test_parts_of_the_standard_library(self):
        image = MIMEImage(PNG, "png")
        image.add_header("Content-ID", "<logo>")
        other = MIMEBase("application", "x-thing")
        other.set_payload(b"thing")
        parts = [image, other]
        if django.VERSION >= (6, 0):
            modern = LibraryMessage()
            modern.set_content(b"modern", "application", "x-modern", filename="m.bin")
            parts.append(modern)
        message = EmailMessage("Hi", "Hi", to=["to@example.com"], attachments=parts[:1])
        for part in parts[1:]:
            message.attach(part)
        message.send()
        sent = only()
        assert kinds(sent)[2:] == [part.get_content_type() for part in parts]
        assert list(sent.iter_parts())[1]["Content-ID"] == "<logo>"

    def test_an_inline_image_is_shown_in_its_html(self):
        message = EmailMultiAlternatives("Hi", "Hi", to=["to@example.com"])
        message.attach_alternative('<img src="cid:logo">', "text/html")
        image = MIMEImage(PNG, "png")
        image.add_header("Content-ID", "<logo>")
        image.add_header("Content-Disposition", "inline", filename="logo.png")
        message.attach(image)
        message.send()
        (part,) = [p for p in only().walk() if p.get_content_type() == "image/png"]
        assert (part["Content-ID"], part.get_content_disposition()) == ("<logo>", "inline")

    def test_messages(self):
        inner = EmailMessage("Inner", "Inner body", to=["to@example.com"])
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        message.attach("inner.eml", inner, "message/rfc822")
        message.attach("raw.eml", b"Subject: Raw\n\nRaw body\n", "message/rfc822")
        message.send()
        first, second = self.attached()
        assert first.get_content_type() == "message/rfc822"
        assert first.get_content()["Subject"] == "Inner"
        assert second.get_content()["Subject"] == "Raw"

    def test_a_file(self, tmp_path):
        (tmp_path / "menu.pdf").write_bytes(b"%PDF")
        (tmp_path / "notes.txt").write_bytes("Grüße\n".encode())
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        message.attach_file(tmp_path / "menu.pdf")
        message.attach_file(str(tmp_path / "notes.txt"), "text/markdown")
        message.send()
        menu, notes = self.attached()
        assert (menu.get_filename(), menu.get_content()) == ("menu.pdf", b"%PDF")
        assert (notes.get_filename(), notes.get_content_type()) == ("notes.txt", "text/markdown")

    def test_an_attachment_alone(self):
        message = EmailMessage("Hi", "", to=["to@example.com"])
        message.attach("a.pdf", b"%PDF", "application/pdf")
        message.send()
        assert kinds(only()) == ["multipart/mixed", "application/pdf"]

    def test_what_is_not_given_is_an_error_of_django(self):
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        with pytest.raises(ValueError, match="content must be provided"):
            message.attach("a.txt")


class TestAlternatives:
    def test_html_beside_text(self):
        message = EmailMultiAlternatives(
            "hello", "This is important.", "from@example.com", ["to@example.com"]
        )
        message.attach_alternative("<p>This is <strong>important</strong>.</p>", "text/html")
        message.send()
        sent = only()
        assert kinds(sent) == ["multipart/alternative", "text/plain", "text/html"]
        assert bodies(sent)[1] == "<p>This is <strong>important</strong>.</p>"
        assert message.body_contains("important")

    def test_any_kind_in_the_order_given(self):
        message = EmailMultiAlternatives("Hi", "text", to=["to@example.com"])
        message.attach_alternative("<html ⚡4email></html>", "text/x-amp-html")
        message.attach_alternative("<p>html</p>", "text/html")
        message.attach_alternative("BEGIN:VCALENDAR\nEND:VCALENDAR", "text/calendar")
        message.attach_alternative(b'{"a": 1}', "application/json")
        message.attach("a.pdf", b"%PDF", "application/pdf")
        message.send()
        assert kinds(only()) == [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "text/x-amp-html",
            "text/html",
            "text/calendar",
            "application/json",
            "application/pdf",
        ]

    def test_they_may_be_given_to_the_constructor(self):
        html = mail.EmailAlternative("<p>html</p>", "text/html")
        EmailMultiAlternatives("Hi", "text", to=["to@example.com"], alternatives=[html]).send()
        assert bodies(only()) == ["text", "<p>html</p>"]

    def test_html_without_text(self):
        message = EmailMultiAlternatives("Hi", to=["to@example.com"])
        message.attach_alternative("<p>html</p>", "text/html")
        message.send()
        assert kinds(only()) == ["multipart/alternative", "text/html"]

    def test_the_main_content_may_be_html(self):
        message = EmailMessage("hello", "<p>html</p>", "from@example.com", ["to@example.com"])
        message.content_subtype = "html"
        message.send()
        sent = only()
        assert (kinds(sent), bodies(sent)) == (["text/html"], ["<p>html</p>"])


class TestBackends:
    def test_one_connection_for_several_lists_of_messages(self):
        message = EmailMessage("Hi", "Hi", "from@example.com", ["to@example.com"])
        connection = get_connection()
        connection.open()
        assert connection.send_messages([message, message]) == 2
        message.connection = connection
        message.send()
        connection.close()
        assert connection.send_messages(iter([message])) == 1, "it stays usable"
        assert len(queued()) == 4

    def test_a_connection_is_a_context_manager(self):
        with get_connection() as connection:
            for subject in "1", "2":
                EmailMessage(subject, "Hi", to=["to@example.com"], connection=connection).send()
        assert [message["Subject"] for message in queued()] == ["1", "2"]

    @pytest.mark.parametrize("messages", [[], None, [EmailMessage("Hi", "Hi")]])
    def test_nothing_to_send_is_no_messages_sent(self, messages):
        assert get_connection().send_messages(messages) == 0

    def test_a_connection_fails_silently_as_it_was_asked_to(self):
        nowhere = f"redis://127.0.0.1:{free_port()}"
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        with get_connection(redis_url=nowhere, fail_silently=True) as connection:
            assert connection.send_messages([message, message, message]) == 0
        assert message.job_id is None
        with pytest.raises(StoreUnavailable), get_connection(redis_url=nowhere) as connection:
            connection.send_messages([message])

    @pytest.mark.parametrize("count", [1, 3])
    def test_what_may_be_stored_is_not_enqueued_a_second_time(self, count, monkeypatch):
        """An answer of Redis that is lost leaves that unknown; a copy could be sent."""

        def losing_the_answer(enqueue):
            def enqueued(*arguments):
                enqueue(*arguments)
                raise StoreUnavailable("lost")

            return enqueued

        for name in ("enqueue", "enqueue_many"):
            monkeypatch.setattr(Mailer, name, losing_the_answer(getattr(Mailer, name)))
        messages = [EmailMessage("Hi", "Hi", to=["to@example.com"]) for _ in range(count)]
        assert get_connection(fail_silently=True).send_messages(messages) == 0
        assert len(queued()) == count

    def test_another_backend_may_be_used_for_some_messages(self, smtp_server):
        with SmtpBackend(host="127.0.0.1", port=smtp_server.port, alias="x") as connection:
            EmailMessage("Hi", "Hi", to=["to@example.com"], connection=connection).send()
        smtp_server.wait_for(1)
        assert queued() == []

    def test_our_errors_are_not_those_of_smtplib(self):
        message = EmailMessage("Hi", "Hi", to=["no address"])
        with pytest.raises(InvalidEmail) as caught:
            message.send()
        assert not isinstance(caught.value, smtplib.SMTPException)
        assert issubclass(StoreUnavailable, OSError), "as SMTPException is"

    def test_a_backend_can_be_a_base_class(self):
        class Loud(EmailBackend):
            def send_messages(self, email_messages):
                for message in email_messages:
                    message.subject = message.subject.upper()
                return super().send_messages(email_messages)

        assert Loud().send_messages([EmailMessage("Hi", "Hi", to=["to@example.com"])]) == 1
        assert only()["Subject"] == "HI"


@pytest.mark.skipif(django.VERSION < (6, 1), reason="new in Django 6.1")
def test_a_mailer_may_be_named(mailer, key_prefix):
    named = {"BACKEND": OURS, "OPTIONS": {"key_prefix": f"{key_prefix}-named", "tags": ["bulk"]}}
    with override_settings(MAILERS={**MAILERS, "named": named}):
        message = EmailMessage("Hi", "Hi", to=["to@example.com"])
        assert message.send(using="named") == 1
        (job,) = get_mailer("named").list()
        assert (job.id, job.tags) == (message.job_id, ("bulk",))
        assert mail.mailers["named"].alias == "named"
        assert mail.mailers["named"].mailer is get_mailer("named")
        assert send_mail("Hi", "Hi", None, ["to@example.com"], using="named") == 1
        assert send_mass_mail([("Hi", "Hi", None, ["to@example.com"])], using="named") == 1
        with override_settings(ADMINS=["admin@example.com"]):
            mail_admins("Hi", "Hi", using="named")
        assert len(get_mailer("named").list()) == 4
    assert queued() == []


@pytest.mark.skipif(django.VERSION < (6, 1), reason="new in Django 6.1")
def test_an_unknown_option_of_a_mailer_is_django_s_own_error():
    wrong = {"default": {"BACKEND": OURS, "OPTIONS": {"redis_ulr": "redis://127.0.0.1"}}}
    with (
        override_settings(MAILERS=wrong),
        pytest.raises(mail.InvalidMailer, match="Unknown options 'redis_ulr'"),
    ):
        mail.mailers.default  # noqa: B018
