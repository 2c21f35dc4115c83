"""The snippets of docs/django.md, run as settings of Django, or as code of an application."""

import django
import pytest
from django.core.mail import mail_admins, send_mail
from django.test import override_settings
from django_project import DEPRECATED
from pages import snippets

from mailer.contrib.django import get_mailer

pytestmark = [pytest.mark.filterwarnings(each) for each in DEPRECATED]
NOTE = "run by tests/integration/test_django_docs.py: "
SNIPPETS = {str(s): s for s in snippets("python") if s.note.startswith(NOTE)}
SETTINGS = [name for name, s in SNIPPETS.items() if s.note.startswith(f"{NOTE}settings")]
CODE = [name for name, s in SNIPPETS.items() if s.note == f"{NOTE}code"]


def test_every_snippet_is_one_of_these():
    assert sorted(SETTINGS + CODE) == sorted(SNIPPETS)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_as_documented_send_email(name, redis_server, key_prefix):
    snippet = SNIPPETS[name]
    if snippet.note.endswith("6.1") and django.VERSION < (6, 1):
        pytest.skip("new in Django 6.1")
    settings = {"INSTALLED_APPS": []}
    exec(snippet.text, settings)
    settings = {name: value for name, value in settings.items() if name.isupper()}
    del settings["INSTALLED_APPS"]  # apps are loaded once
    here = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix}
    settings["MAILER"] = settings.get("MAILER", {}) | here
    with override_settings(**settings):
        assert send_mail("Hi", "Hi", None, ["ann@example.org"]) == 1
        for using in settings.get("MAILERS", {}):
            assert send_mail("Hi", "Hi", None, ["ann@example.org"], using=using) == 1
        mail_admins("Hi", "Hi")
        assert get_mailer().list()


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("on_commit", [False, True])
def test_code_as_documented_runs(name, on_commit, redis_server, key_prefix, capsys):
    here = {"REDIS_URL": redis_server.url, "KEY_PREFIX": key_prefix, "ON_COMMIT": on_commit}
    backend = {"EMAIL_BACKEND": "mailer.contrib.django.EmailBackend"}
    with override_settings(MAILER=here, **backend):
        exec(SNIPPETS[name].text, {})
        (job,) = get_mailer().list()
        assert job.id in capsys.readouterr().out, "by itself, or in its Message-ID"
