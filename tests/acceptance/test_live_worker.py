"""The worker of docs/testing.md, in a pytest of its own."""

import pytest
from pages import snippet

pytest_plugins = ["pytester"]
PAGE = "docs/testing.md"

MORE = """

import os
import subprocess
import sys

APPLICATION = '''
from mailer import Email, Mailer

print(Mailer().enqueue(Email(from_email="shop@example.com", to="nobody@example.org")).id)
'''


def test_an_application_enqueues_for_it_as_its_settings_say(mailer_worker):
    assert mailer_worker.smtp.received == mailer_worker.smtp.faults == []
    environment = {**os.environ, **mailer_worker.settings}
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION], env=environment, capture_output=True, check=True
    )
    assert mailer_worker.wait(done.stdout.decode().strip()).state is JobState.SUPPRESSED


LEFT = []


def test_that_leaves_an_email_behind(mailer_worker):
    mailer_worker.smtp.faults = [greylist("ann@", times=None)]
    email = Email(from_email="shop@example.com", to="ann@example.org", retry=RetryPolicy())
    LEFT.append(mailer_worker.mailer.enqueue(email).id)
    eventually(lambda: mailer_worker.mailer.get(LEFT[0]).state is JobState.DEFERRED)


def test_that_finds_it_canceled(mailer_worker):
    assert mailer_worker.mailer.get(LEFT[0]).state is JobState.CANCELED
"""


@pytest.mark.slow
def test_the_example_of_a_worker_passes_and_all_tests_share_it(pytester):
    """The first one puts a recipient on the suppression list, as the fixture asks for."""
    pytester.makeconftest(snippet(PAGE, "def mailer_worker_settings"))
    imports = "from mailer import RetryPolicy\nfrom mailer.testing import eventually\n"
    pytester.makepyfile(imports + snippet(PAGE, "mailer_worker.smtp.faults") + MORE)
    pytester.runpytest_subprocess("--durations=0").assert_outcomes(passed=4)
