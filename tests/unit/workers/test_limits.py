"""Limits in the settings, and which of them a message must keep."""

import pytest

from mailer.errors import InvalidSetting
from mailer.loading import load_settings
from mailer.store.limits import Limit
from workers.relays.limits import Limits
from workers.relays.routes import Group

GROUP = Group(("a@gmail.com", "b@x.example", "c@googlemail.com", "d@y.example"), ("main",))


def read(**settings):
    return Limits.read(load_settings(**settings))


def google(**more):
    table = {"recipient_domains": ["gmail.com", "GoogleMail.com"], "rate": "20/s", **more}
    return read(limits={"google": table})


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [
        ("20/s", 20, 1),
        ("1/sec", 1, 1),
        ("100/min", 100, 60),
        ("100 / m", 100, 60),
        ("5000/h", 5000, 3600),
        ("50000/day", 50000, 86400),
        ("7/d", 7, 86400),
    ],
)
def test_a_rate_is_written_as_people_do(text, count, seconds):
    limit = google(rate=text).of_domain("gmail.com")
    (rate,) = limit.rates
    assert (rate.count, rate.seconds) == (count, seconds)


def test_there_may_be_several_rates():
    limit = google(rate=["20/s", "5000/h", "50000/d"]).of_domain("gmail.com")
    assert [(rate.count, rate.seconds) for rate in limit.rates] == [
        (20, 1),
        (5000, 3600),
        (50000, 86400),
    ]


@pytest.mark.parametrize("burst", [1, 2, 3, 10, 11, 100])
def test_what_is_early_and_what_is_late_stay_within_the_burst(burst):
    """(W + grace + tolerance) / interval + 1 messages in a time W: at most count + burst."""
    limit = google(burst=burst).of_domain("gmail.com")
    (rate,) = limit.rates
    most = (rate.seconds + limit.grace + rate.tolerance) / rate.interval + 1
    assert int(most + 1e-9) <= rate.count + burst
    assert limit.grace > 0, "else nothing could ever be in time"


def test_recipients_are_divided_by_the_limits_of_their_domains():
    divided = google().divide(GROUP)
    assert [(part.recipients, part.limit.name if part.limit else None) for part in divided] == [
        (("a@gmail.com", "c@googlemail.com"), "limit google"),
        (("b@x.example", "d@y.example"), None),
    ]


def test_without_any_limit_nothing_is_divided():
    (part,) = read().divide(GROUP)
    assert (part.recipients, part.limit) == (GROUP.recipients, None)


def test_a_star_limits_each_other_domain_by_itself():
    limits = read(
        limits={
            "google": {"recipient_domains": "gmail.com", "rate": "20/s"},
            "others": {"recipient_domains": "*", "connections": 2},
        }
    )
    names = [part.limit.name for part in limits.divide(GROUP)]
    assert names == [
        "limit google",
        "domain x.example",
        "domain googlemail.com",
        "domain y.example",
    ]
    assert limits.of_domain("x.example").connections == 2


def test_a_learned_pace_makes_a_limit_where_there_is_none():
    limits = google()
    assert limits.of_domain("x.example") is None
    paced = {"domain x.example", "relay main"}
    assert limits.of_domain("x.example", paced) == Limit("domain x.example")
    assert limits.name_for("x.example") == "domain x.example"
    assert limits.name_for("gmail.com") == "limit google"
    assert [limit.name for limit in limits.of("main", None, paced)] == ["relay main"]
    assert limits.of("main", None) == ()


def test_a_relay_has_a_limit_of_its_own():
    tables = {"main": {"url": "smtp://a.example", "rate": "14/s", "max_connections": 5}}
    limits = read(relays=tables)
    (limit,) = limits.of("main", None)
    assert (limit.name, limit.connections) == ("relay main", 5)
    assert limits.of("other", None) == ()


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"rate": "20"}, "limits.google.rate"),
        ({"rate": "0/s"}, "limits.google.rate"),
        ({"rate": "1.5/s"}, "limits.google.rate"),
        ({"rate": "20/w"}, "limits.google.rate"),
        ({"rate": ["20/s", "x"]}, "limits.google.rate"),
        ({"rate": []}, "limits.google"),
        ({"recipient_domains": []}, "limits.google.recipient_domains"),
        ({"recipient_domains": "no domain"}, "limits.google.recipient_domains"),
    ],
    ids=str,
)
def test_a_limit_that_makes_no_sense_is_refused(table, place):
    with pytest.raises(InvalidSetting) as caught:
        google(**table)
    assert str(caught.value).startswith(f"{place}: ")


def test_a_domain_in_two_limits_is_refused():
    table = {"recipient_domains": "gmail.com", "rate": "1/s"}
    with pytest.raises(InvalidSetting, match=r"limits\.b: 'gmail\.com' is in 'limit a' already"):
        read(limits={"a": table, "b": table})
