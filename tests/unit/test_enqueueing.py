"""What is checked against the settings at the moment of enqueueing."""

import pytest

from mailer import Email, InvalidEmail, load_settings
from mailer.enqueueing import new_job

RELAYS = {"main": {"url": "smtp://a.example"}, "bulk": {"url": "smtp://b.example"}}


def an_email(**fields):
    return Email(from_email="a@b.example", to="c@d.example", **fields)


def test_a_relay_that_the_settings_name_is_kept_with_the_job():
    assert new_job(an_email(relay="bulk"), load_settings(relays=RELAYS)).head.relay == "bulk"


def test_one_that_they_do_not_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidEmail, match="there is no relay 'bulky'; there are main, bulk"):
        new_job(an_email(relay="bulky"), load_settings(relays=RELAYS))


def test_a_producer_that_knows_no_relays_leaves_that_to_the_workers():
    assert new_job(an_email(relay="bulky"), load_settings()).head.relay == "bulky"
