"""Which relays take which recipients, and in which order."""

from collections import Counter

import pytest

from mailer.address import Address
from mailer.errors import InvalidSetting
from mailer.job import Priority, Recipient
from mailer.message import Message
from mailer.settings import Settings
from mailer.store.agenda import Assignment, Lease
from mailer.store.records import Head
from workers.relays.relay import relays
from workers.relays.routes import Routes

RELAYS = {name: {"url": f"smtp://{name}.example.com"} for name in ("main", "bulk", "eu", "backup")}


def read(*tables):
    settings = Settings(relays=RELAYS, routes=list(tables))
    return Routes.read(settings, relays(settings))


def groups(routes, recipients="jm@example.org", sender="shop@example.com", tags=(), relay=None):
    """Divide the recipients; gives the groups as (addresses, relays)."""
    people = recipients.split()
    job = Assignment(
        lease=Lease("j", 1),
        head=Head("<m@example.com>", sender, "s", sender, relay=relay, tags=tags),
        message=Message("<m@example.com>", Address(sender)),
        recipients=tuple(map(Recipient, people)),
        priority=Priority.NORMAL,
        tries=0,
        since_ms=1,
        expires_ms=0,
        begun_ms=1,
    )
    found = routes.groups(job, people)
    return [(" ".join(group.recipients), " ".join(group.relays)) for group in found]


def test_without_routes_all_relays_take_everything_in_their_order():
    assert groups(read()) == [("jm@example.org", "main bulk eu backup")]


@pytest.mark.parametrize(
    ("table", "email", "taken"),
    [
        ({"sender_domains": "example.com"}, {}, True),
        ({"sender_domains": "EXAMPLE.com"}, {}, True),
        ({"sender_domains": "@example.com"}, {}, True),
        ({"sender_domains": "example.com"}, {"sender": "a@EXAMPLE.COM"}, True),
        ({"sender_domains": "example.com"}, {"sender": "a@sub.example.com"}, False),
        ({"sender_domains": "*.example.com"}, {"sender": "a@sub.example.com"}, True),
        ({"sender_domains": "*.example.com"}, {"sender": "a@a.b.example.com"}, True),
        ({"sender_domains": "*.example.com"}, {}, False),
        ({"sender_domains": "*.example.com"}, {"sender": "a@notexample.com"}, False),
        ({"recipient_domains": ["gmail.com", "example.org"]}, {}, True),
        ({"recipient_domains": ["gmail.com"]}, {}, False),
        ({"recipient_domains": "bücher.example"}, {"recipients": "a@xn--bcher-kva.example"}, True),
        ({"tags": "news"}, {"tags": ("order", "news")}, True),
        ({"tags": ["news", "offer"]}, {"tags": ("offer",)}, True),
        ({"tags": "news"}, {"tags": ("order",)}, False),
        ({"tags": "news"}, {}, False),
        ({"tags": "news", "sender_domains": "example.com"}, {"tags": ("news",)}, True),
        ({"tags": "news", "sender_domains": "other.example"}, {"tags": ("news",)}, False),
    ],
    ids=str,
)
def test_a_route_takes_what_fits_all_that_it_names(table, email, taken):
    routes = read({**table, "relays": ["bulk"]}, {"relays": "main"})
    ((_, relay),) = groups(routes, **email)
    assert relay == ("bulk" if taken else "main")


def test_the_first_route_that_fits_counts():
    routes = read(
        {"tags": "news", "relays": "bulk"},
        {"sender_domains": "example.com", "relays": "eu"},
        {"relays": "main"},
    )
    assert groups(routes, tags=("news",)) == [("jm@example.org", "bulk")]
    assert groups(routes) == [("jm@example.org", "eu")]


def test_recipients_are_divided_by_their_routes_and_keep_their_order():
    routes = read(
        {"recipient_domains": "*.eu.example", "relays": "eu"}, {"relays": ["main", "bulk"]}
    )
    assert groups(routes, "a@x.example b@a.eu.example c@y.example d@b.eu.example") == [
        ("a@x.example c@y.example", "main bulk"),
        ("b@a.eu.example d@b.eu.example", "eu"),
    ]


def test_an_email_that_names_its_relay_goes_there_and_nowhere_else():
    routes = read({"recipient_domains": "*.eu.example", "relays": "eu"}, {"relays": "main"})
    assert groups(routes, "a@x.example b@a.eu.example", relay="bulk") == [
        ("a@x.example b@a.eu.example", "bulk")
    ]


def test_weights_share_the_first_place_and_backups_come_last():
    routes = read({"relays": {"main": 3, "bulk": 1}, "backups": ["backup"]})
    seen = Counter(groups(routes)[0][1] for _ in range(4000))
    assert seen.keys() == {"main bulk backup", "bulk main backup"}
    assert 0.7 < seen["main bulk backup"] / 4000 < 0.8


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ([{"relays": "nosuch"}], "routes[0]"),
        ([{"relays": "main", "backups": "nosuch"}], "routes[0]"),
        ([{"relays": []}], "routes[0].relays"),
        ([{"relays": "bulk", "tags": "news"}], "routes"),
        ([{"relays": "bulk", "recipient_domains": "ex ample"}, {"relays": "main"}], "routes[0]"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused(tables, named):
    with pytest.raises(InvalidSetting) as caught:
        read(*tables)
    assert str(caught.value).startswith(named)
