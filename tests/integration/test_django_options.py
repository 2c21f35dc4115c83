"""What Django's settings and a message may ask of our backend, and what it leaves on messages."""

import io
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import django
import pytest
from django.core.checks import run_checks
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import override_settings
from django_project import DEPRECATED

from mailer import InvalidArgument, InvalidEmail, InvalidSetting, JobState, StoreUnavailable
from mailer.contrib.django import MailerMessage, get_mailer
from mailer.contrib.django.messages import email_of
from mailer.loading import export
from mailer.testing.ports import free_port

ROOT = Path(__file__).parents[2]
OURS = "mailer.contrib.django.EmailBackend"
pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]


@pytest.fixture
def ours(redis_server, key_prefix):
    return {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}


@pytest.fixture(autouse=True)
def mailer(ours):
    with override_settings(MAILER=ours, EMAIL_BACKEND=OURS):
        yield get_mailer()


@pytest.fixture
def on_commit(ours, mailer):
    with override_settings(MAILER={**ours, "ON_COMMIT": True}):
        yield


def message(kind=EmailMessage, **fields):
    return kind(**{"subject": "Hi", "body": "Hi", "to": ["ann@example.org"], **fields})


@contextmanager
def rolled_back():
    """A transaction, or a part of one, that ends in an error."""
    with suppress(ZeroDivisionError), transaction.atomic():
        yield
        1 / 0  # noqa: B018


class TestMessages:
    def test_a_message_that_was_enqueued_names_its_job(self, mailer):
        sent = message()
        sent.send()
        job = mailer.get(sent.job_id)
        assert job.subject == "Hi"
        assert (sent.receipt.id, sent.receipt.message_id) == (job.id, job.message_id)
        assert sent.receipt.created

    def test_each_of_a_list_names_its_own(self, mailer):
        several = [message(subject=str(i)) for i in range(3)]
        nobody = message(to=[])
        get_connection().send_messages([*several, nobody])
        assert [mailer.get(each.job_id).subject for each in several] == ["0", "1", "2"]
        assert not hasattr(nobody, "job_id")

    def test_one_that_fails_names_none(self, ours):
        sent = message()
        sent.send()
        sent.to = ["nobody"]
        with pytest.raises(InvalidEmail):
            sent.send()
        assert sent.job_id is None
        assert sent.receipt is None

    @pytest.mark.parametrize("kind", [EmailMessage, EmailMultiAlternatives, MailerMessage])
    def test_fields_of_ours_may_be_asked_for(self, mailer, kind):
        sent = message(kind)
        sent.mailer = {
            "tags": ["order"],
            "metadata": {"order": 42},
            "priority": "high",
            "idempotency_key": "order-42",
            "envelope_sender": "bounces@example.com",
            "scheduled_at": datetime.now(UTC) + timedelta(hours=1),
        }
        sent.send()
        job = mailer.get(sent.job_id)
        assert (job.tags, job.metadata, job.priority) == (("order",), {"order": 42}, "high")
        assert job.state is JobState.SCHEDULED
        sent.send()
        assert (sent.job_id, sent.receipt.created) == (job.id, False)

    def test_a_prepared_message_asks_for_the_same(self, mailer):
        sent = message(headers={"Message-ID": "<1@example.com>"})
        sent.mailer = {"tags": ["order"], "priority": "low"}
        sent.send()
        job = mailer.get(sent.job_id)
        assert (job.message_id, job.tags, job.priority) == ("<1@example.com>", ("order",), "low")

    def test_attributes_of_anymail_are_heeded(self, mailer):
        sent = message()
        sent.tags, sent.metadata = ["welcome"], {"user": 7}
        sent.send_at = datetime.now(UTC) + timedelta(hours=1)
        sent.envelope_sender = "bounces@example.com"
        sent.send()
        job = mailer.get(sent.job_id)
        assert (job.tags, job.metadata, job.state) == (("welcome",), {"user": 7}, "scheduled")

    def test_ours_win_over_those(self, mailer):
        sent = message()
        sent.tags, sent.mailer = ["theirs"], {"tags": ["ours"]}
        sent.send()
        assert mailer.get(sent.job_id).tags == ("ours",)

    @pytest.mark.parametrize(
        ("asked", "error"),
        [
            ({"tag": "x"}, r"^mailer\['tag'\]: is not set there; there are delivery, "),
            ({"subject": "x"}, r"^mailer\['subject'\]: is not set there"),
            ({"priority": "urgent"}, "^priority: is one of high, normal, low$"),
            ({"scheduled_at": datetime(2030, 1, 1)}, "^scheduled_at: has no time zone"),  # noqa: DTZ001
            (["order"], "^mailer: maps names of fields to values; not list$"),
        ],
    )
    def test_what_is_no_field_or_no_value_is_refused(self, mailer, asked, error):
        sent = message()
        sent.mailer = asked
        with pytest.raises(InvalidEmail, match=error):
            sent.send()
        assert sum(mailer.counts().values()) == 0

    def test_usual_messages_are_not_built_by_django(self):
        """Which takes a hundred times as long as to tell them by fields of `Email`."""
        usual = message(EmailMultiAlternatives, headers={"X-Order": "42"}, cc=["bob@example.org"])
        usual.attach_alternative("<p>Hi</p>", "text/html")
        usual.attach("a.csv", "ä,b\n", "text/csv")
        usual.attach("a.pdf", b"%PDF", "application/pdf")
        assert email_of(usual, {}).prepared is None
        assert email_of(message(headers={"Date": "x"}), {}).prepared is not None

    def test_the_same_attachment_of_many_messages_is_kept_once(self, mailer, redis_server):
        import redis

        attachment = ("a.pdf", os.urandom(200_000), "application/pdf")
        several = [message(attachments=[attachment]) for _ in range(20)]
        with redis.Redis.from_url(redis_server.url) as raw:
            before = raw.info("memory")["used_memory"]
            get_connection().send_messages(several)
            assert raw.info("memory")["used_memory"] - before < 1_000_000


class TestSettings:
    def test_django_s_win_over_the_environment(self, ours, monkeypatch):
        monkeypatch.setenv("MAILER_MAX_RECIPIENTS", "1")
        monkeypatch.setenv("MAILER_KEY_PREFIX", "nowhere")
        with override_settings(MAILER={**ours, "STORE_TIMEOUT_SECONDS": 4}):
            sent = message(to=["a@example.org", "b@example.org"])
            with pytest.raises(InvalidEmail, match="MAILER_MAX_RECIPIENTS"):
                sent.send()
            assert message().send() == 1
            assert get_mailer().counts()[JobState.QUEUED] == 1

    def test_messages_may_have_fields_by_default(self, ours):
        usual = {"TAGS": ["shop"], "PRIORITY": "low", "ENVELOPE_SENDER": "bounces@example.com"}
        with override_settings(MAILER={**ours, **usual, "DELIVERY": "at-most-once"}):
            plain, other = message(), message()
            other.mailer = {"tags": ["order"]}
            get_connection(priority="high").send_messages([plain, other])
            job, another = get_mailer().get(plain.job_id), get_mailer().get(other.job_id)
        assert (job.tags, job.priority) == (("shop",), "high"), "an option wins over a setting"
        assert another.tags == ("order",), "a message over both"

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"REDIS_ULR": "x"}, r"MAILER\['REDIS_ULR'\]: is no setting.*do you mean 'REDIS_URL'"),
            ({"redis_url": "x"}, r"MAILER\['redis_url'\]: is no setting.*do you mean 'REDIS_URL'"),
            ({"PRIORITY": "urgent"}, r"MAILER\['PRIORITY'\]: is one of high, normal, low"),
            ({"TAGS": "one"}, r"MAILER\['TAGS'\]: is a list of texts"),
            ({"ON_COMMIT": "nosuch"}, r"MAILER\['ON_COMMIT'\]: is True, False or a name in"),
            ({"ON_COMMIT": 1}, r"MAILER\['ON_COMMIT'\]: is True, False or a name in"),
            ({"REDIS_URL": "redis://:secret@host:x"}, "MAILER_REDIS_URL: is malformed"),
            ({"MAX_RECIPIENTS": 0}, "MAILER_MAX_RECIPIENTS: "),
            ("redis://", "MAILER: is a dict"),
        ],
    )
    def test_a_wrong_setting_is_named_when_it_is_used_and_by_manage_py_check(self, wrong, error):
        with override_settings(MAILER=wrong):
            with pytest.raises(InvalidSetting, match=error) as caught:
                message().send(fail_silently=True)
            assert [found.msg for found in run_checks()] == [str(caught.value)]
        assert "secret" not in str(caught.value)

    def test_right_settings_pass_manage_py_check(self):
        assert run_checks() == []

    def test_backends_of_equal_settings_share_connections(self, ours):
        assert get_connection().mailer is get_connection().mailer is get_mailer()
        assert get_connection(key_prefix="other").mailer is not get_mailer()

    def test_a_mailer_that_is_not_there_is_named(self):
        with pytest.raises(InvalidArgument, match="using: 'bulk' is not in MAILERS"):
            get_mailer("bulk")

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="new in Django 6.1")
    def test_options_of_the_default_mailer_are_enough(self, redis_server, key_prefix):
        options = {"redis_url": redis_server.url, "key_prefix": f"{key_prefix}-default"}
        default = {"default": {"BACKEND": OURS, "OPTIONS": {**options, "tags": ["x"]}}}
        with override_settings(MAILERS=default, MAILER={}):
            sent = message()
            sent.send()
            assert get_mailer().get(sent.job_id).tags == ("x",)


class TestOnCommit:
    """In-memory SQLite; each `atomic` here is a transaction of its own."""

    def test_an_email_leaves_once_the_transaction_was_committed(self, mailer, on_commit):
        sent = message()
        with transaction.atomic():
            assert sent.send() == 1
            assert sent.job_id is None
            assert mailer.list() == []
        assert [job.id for job in mailer.list()] == [sent.job_id]

    def test_nothing_leaves_where_it_was_rolled_back(self, mailer, on_commit):
        sent = message()
        with rolled_back():
            sent.send()
        assert mailer.list() == []
        assert sent.job_id is None

    def test_savepoints_decide_each_for_what_was_sent_within_them(self, mailer, on_commit):
        with transaction.atomic():
            message(subject="1").send()
            with rolled_back():
                message(subject="2").send()
            with transaction.atomic():
                message(subject="3").send()
            assert mailer.list() == []
        assert sorted(job.subject for job in mailer.list()) == ["1", "3"]

    def test_without_a_transaction_it_leaves_at_once(self, mailer, on_commit):
        sent = message()
        sent.send()
        assert mailer.get(sent.job_id)

    def test_what_was_sent_is_what_it_was_then(self, mailer, on_commit):
        sent = message()
        with transaction.atomic():
            sent.send()
            sent.subject = "changed"
        assert mailer.get(sent.job_id).subject == "Hi"

    def test_a_mistake_is_told_at_once(self, mailer, on_commit):
        with transaction.atomic(), pytest.raises(InvalidEmail):
            message(to=["nobody"]).send()
        assert mailer.list() == []

    def test_so_is_what_settings_forbid(self, ours, mailer):
        few = {**ours, "ON_COMMIT": True, "MAX_TEXT_BYTES": 10}
        refused = pytest.raises(InvalidEmail, match="MAILER_MAX_TEXT_BYTES")
        with override_settings(MAILER=few), transaction.atomic(), refused:
            message(body="x" * 100).send()

    def test_one_backend_may_do_so_and_another_not(self, mailer):
        with rolled_back():
            message(connection=get_connection(on_commit=True)).send()
            message(subject="an alarm").send()
        assert [job.subject for job in mailer.list()] == ["an alarm"]

    def test_a_database_may_be_named(self, mailer):
        backend = get_connection(on_commit="default")
        with transaction.atomic():
            backend.send_messages([message()])
            assert mailer.list() == []
        assert len(mailer.list()) == 1

    def test_an_error_comes_out_of_the_block_that_commits(self):
        nowhere = f"redis://127.0.0.1:{free_port()}"
        backend = get_connection(on_commit=True, redis_url=nowhere)
        with pytest.raises(StoreUnavailable) as caught, transaction.atomic():
            backend.send_messages([message()])
        assert "The transaction is committed" in caught.value.__notes__[0]
        silent = get_connection(on_commit=True, redis_url=nowhere, fail_silently=True)
        with transaction.atomic():
            assert silent.send_messages([message()]) == 1


class TestApp:
    def test_it_has_no_table_and_needs_no_migration(self):
        call_command("makemigrations", "--check", "--dry-run", verbosity=0)
        call_command("migrate", verbosity=0)
        tables = connection.introspection.table_names()
        assert "auth_user" in tables
        assert [table for table in tables if "mailer" in table] == []

    @pytest.mark.parametrize("options", [[], ["--all"]])
    def test_a_dump_of_the_database_passes_it_over(self, options):
        out = io.StringIO()
        call_command("dumpdata", "mailer", *options, stdout=out)
        assert out.getvalue().strip() == "[]"

    def test_the_backend_needs_neither_the_app_nor_a_database(self, redis_server, key_prefix):
        ours = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}
        code = f"""
from django.conf import settings
settings.configure(EMAIL_BACKEND="{OURS}", MAILER={ours})
import sys
from django.core.mail import send_mail
assert send_mail("Hi", "Hi", "a@example.com", ["b@example.org"]) == 1
assert not {{"django.contrib.admin", "mailer.contrib.django.models", "rich"}} & sys.modules.keys()
"""
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        assert get_mailer().counts()[JobState.QUEUED] == 1

    def test_without_django_the_error_says_what_to_install(self):
        code = """
import sys
sys.modules["django"] = None
try:
    import mailer.contrib.django
except ImportError as error:
    print(error)
"""
        said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
        assert "pip install 'celery-mailer[django]'" in said


class TestCommand:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch):
        for name in [name for name in os.environ if name.startswith("MAILER_")]:
            monkeypatch.delenv(name)
        before = dict(os.environ)
        yield
        os.environ.clear()
        os.environ.update(before)

    def test_it_is_the_mailer_command_with_django_s_settings(self, capsys):
        sent = message()
        sent.mailer = {"tags": ["order"]}
        sent.send()
        message().send()
        call_command("mailer", "list", "--tag", "order")
        shown = capsys.readouterr().out
        assert sent.job_id in shown
        assert len(shown.splitlines()) == 2
        call_command("mailer", "cancel", sent.job_id)
        assert get_mailer().get(sent.job_id).state is JobState.CANCELED

    def test_its_exit_code_is_that_of_the_command(self, capsys):
        with pytest.raises(SystemExit) as end:
            call_command("mailer", "show", "nosuch")
        assert end.value.code == 1
        assert capsys.readouterr().err == "error: no job is recorded under the id 'nosuch'\n"

    def test_a_wrong_setting_is_one_line(self):
        with override_settings(MAILER={"NOSUCH": 1}), pytest.raises(CommandError, match="'NOSUCH'"):
            call_command("mailer", "list")

    def test_workers_that_it_starts_have_the_settings_of_django(self, tmp_path):
        given = {
            "redis_url": "redis://:secret@127.0.0.1/1",
            "durable": True,
            "retry_delays": [1, 2.5],
            "attachment_roots": [tmp_path, "/var/spool"],
            "attachment_hosts": ["files.example.com"],
            "relays": {"main": {"url": "smtp://me:secret@mx.example.com"}},
            "broker_url": None,
        }
        export(given)
        exported = {k: v for k, v in os.environ.items() if k.startswith("MAILER_")}
        assert exported == {
            "MAILER_REDIS_URL": "redis://:secret@127.0.0.1/1",
            "MAILER_DURABLE": "True",
            "MAILER_RETRY_DELAYS": "1.0,2.5",
            "MAILER_ATTACHMENT_ROOTS": f"{tmp_path}:/var/spool",
            "MAILER_ATTACHMENT_HOSTS": "files.example.com",
            "MAILER_RELAYS": '{"main": {"url": "smtp://me:secret@mx.example.com"}}',
        }
        from mailer import load_settings

        assert load_settings() == load_settings(**given)
