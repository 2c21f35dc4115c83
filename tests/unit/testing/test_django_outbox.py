"""docs/testing.md's test case for Django passes, by Django's own test runner."""

import os
import subprocess
import sys

from pages import snippet

PROJECT = """
import django
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.test.runner import DiscoverRunner
from django.urls import path

from mailer import Email, Mailer

settings.configure(
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
mailer = Mailer("redis://127.0.0.1:1/0")


def signup(request):
    address = request.POST["email"]
    email = Email(from_email="a@example.com", to=address, subject="Welcome", text="Hello!")
    transaction.on_commit(lambda: mailer.enqueue(email))
    return HttpResponse()


urlpatterns = [path("signup", signup)]

if __name__ == "__main__":
    raise SystemExit(DiscoverRunner(verbosity=2).run_tests(["test_signup"]))
"""


def test_a_test_case_of_django_has_an_outbox(tmp_path):
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "test_signup.py").write_text(snippet("docs/testing.md", "django.test"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "project.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test_who_signs_up_is_welcomed (test_signup.SignupTest" in done.stderr
    assert "test_what_django_sends_goes_there_too (test_signup.SignupTest" in done.stderr
