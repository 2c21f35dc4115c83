import pytest

from mailer.errors import InvalidSetting
from mailer.settings import Settings
from workers.relays.relay import Relay, Tls, relays

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://mx.example.com", "mx.example.com", 25, Tls.REQUIRED),
        ("smtp://mx.example.com:587", "mx.example.com", 587, Tls.REQUIRED),
        ("smtp://mx.example.com/", "mx.example.com", 25, Tls.REQUIRED),
        ("smtp://MX.example.com", "mx.example.com", 25, Tls.REQUIRED),
        ("smtp://10.0.0.1", "10.0.0.1", 25, Tls.REQUIRED),
        ("smtp://localhost.example.com", "localhost.example.com", 25, Tls.REQUIRED),
        ("smtp://127.0.0.1.example.com", "127.0.0.1.example.com", 25, Tls.REQUIRED),
        ("smtp://localhost:1025", "localhost", 1025, Tls.OFF),
        ("smtp://127.0.0.1", "127.0.0.1", 25, Tls.OFF),
        ("smtp://127.1.2.3", "127.1.2.3", 25, Tls.OFF),
        ("smtp://[::1]:1025", "::1", 1025, Tls.OFF),
        ("smtp://localhost?starttls=required", "localhost", 25, Tls.REQUIRED),
        ("smtp://mx.example.com?starttls=off", "mx.example.com", 25, Tls.OFF),
        ("smtp://mx.example.com?starttls=opportunistic", "mx.example.com", 25, Tls.OPPORTUNISTIC),
        ("smtps://mx.example.com", "mx.example.com", 465, Tls.IMPLICIT),
        ("smtps://localhost:4650", "localhost", 4650, Tls.IMPLICIT),
    ],
    ids=str,
)
def test_a_url_says_where_and_how(url, host, port, tls):
    relay = Relay.parse(url)
    assert (relay.host, relay.port, relay.tls) == (host, port, tls)
    assert (relay.username, relay.password) == (None, None)
    assert relay.name == f"{host}:{port}"


def test_credentials_are_unquoted():
    relay = Relay.parse("smtp://us%40er:p%3A%2F%40ss@mx.example.com")
    assert (relay.username, relay.password) == ("us@er", "p:/@ss")


def test_a_relay_is_shown_without_its_password():
    relay = Relay.parse(f"smtp://user:{SECRET}@mx.example.com")
    assert relay.password == SECRET
    assert SECRET not in f"{relay!r} {relay} {relay.name}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mx.example.com",
        "mx.example.com:25",
        "http://mx.example.com",
        "smtp://",
        "smtp://:25",
        "smtp://mx.example.com/path",
        f"smtp://user:{SECRET}@mx.example.com:port",
        f"smtp://user:{SECRET}@mx.example.com:65536",
        f"smtp://user:{SECRET}@mx.example.com:-1",
        f"smtp://user:{SECRET}@mx.example.com?tls=on",
        f"smtp://user:{SECRET}@mx.example.com?starttls=yes",
        f"smtp://user:{SECRET}@mx.example.com?starttls=",
        f"smtps://user:{SECRET}@mx.example.com?starttls=required",
        f"smtp://:{SECRET}@mx.example.com",
        "smtp://user@mx.example.com",
        f"smtp://user:{SECRET}@mx.example.com?starttls=off",
        f"smtp://user:{SECRET}@mx.example.com?starttls=opportunistic",
        f"smtp://user:{SECRET}@[::1",
        # a password that should have been quoted ends up in another part of the URL
        f"smtp://user:{SECRET}/x@mx.example.com",
        f"smtp://user:{SECRET}?x@mx.example.com",
        f"smtp://user:{SECRET}#x@mx.example.com",
        f"smtp://user:12?{SECRET}@mx.example.com",
        f"smtp://user:12?starttls={SECRET}@mx.example.com",
        f"smtp://user:12#{SECRET}@mx.example.com",
        f"smtp://user:12/{SECRET}@mx.example.com",
        f"smtp://user:{SECRET}\u2100@mx.example.com",
        f"smtp://user:[{SECRET}]@mx.example.com",
    ],
    ids=ascii,
)
def test_a_wrong_url_is_refused_by_the_settings_name_and_never_repeated(url):
    with pytest.raises(InvalidSetting, match="MAILER_RELAY_URL") as caught:
        relays(Settings(relay_url=url))
    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        f"smtp://user:{SECRET}@localhost",
        f"smtp://user:{SECRET}@127.0.0.1?starttls=off",
        f"smtp://user:{SECRET}@mx.example.com",
        f"smtps://user:{SECRET}@mx.example.com",
    ],
)
def test_a_password_may_go_through_tls_or_stay_on_this_machine(url):
    assert Relay.parse(url).password == SECRET


@pytest.mark.parametrize("tls", [Tls.REQUIRED, Tls.IMPLICIT, Tls.OPPORTUNISTIC])
def test_certificates_are_verified(tls):
    context = Relay(name="main", host="mx.example.com", port=25, tls=tls).tls_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


def test_without_tls_there_is_no_context():
    relay = Relay(name="main", host="localhost", port=25, tls=Tls.OFF)
    assert relay.tls_context() is None


# tables


def read(**table):
    (relay,) = relays(Settings(relays={"main": table})).values()
    return relay


def test_a_table_says_what_a_url_can_not():
    relay = read(
        url="smtps://user@mx.example.com",
        token_command=["print-token"],
        connections=3,
        messages_per_connection=50,
        connection_seconds=60,
        without="CHUNKING",
    )
    assert (relay.name, relay.host, relay.tls) == ("main", "mx.example.com", Tls.IMPLICIT)
    assert relay.token.command == ("print-token",)
    assert (relay.connections, relay.messages_per_connection) == (3, 50)
    assert relay.connection_seconds == 60
    assert relay.without == {"chunking"}


@pytest.mark.parametrize(
    ("general", "table", "late"),
    [
        ({}, {}, 200),
        ({}, {"connections": 5}, 50),
        ({}, {"connections": 5, "late_connections": 7}, 7),
        ({}, {"late_connections": 0}, 0),
        ({"late_connections": 9}, {}, 9),
        ({"late_connections": 0}, {}, 0),
        ({}, {"max_connections": 40}, 0),
        ({"late_connections": 9}, {"max_connections": 40}, 0),
        ({"late_connections": 9}, {"max_connections": 40, "late_connections": 3}, 3),
    ],
)
def test_how_many_connections_may_wait_for_late_answers(general, table, late):
    table = {"url": "smtp://mx.example.com", **table}
    (relay,) = relays(Settings(relays={"main": table}, **general)).values()
    assert relay.late_connections == late


def test_a_relay_without_a_table_has_late_connections_too():
    (relay,) = relays(Settings(connections=3)).values()
    assert (relay.connections, relay.late_connections) == (3, 30)
    (relay,) = relays(Settings(connections=3, late_connections=1)).values()
    assert relay.late_connections == 1


def test_relays_keep_the_order_of_the_file():
    tables = {name: {"url": f"smtp://{name}.example.com"} for name in ("b", "a", "c")}
    assert list(relays(Settings(relays=tables))) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("url", "lmtp", "socket", "port"),
    [
        ("lmtp://127.0.0.1", True, None, 24),
        ("lmtp://127.0.0.1:2424", True, None, 2424),
        ("lmtp+unix:///run/dovecot/lmtp", True, "/run/dovecot/lmtp", 24),
        ("smtp+unix:///run/a%20b", False, "/run/a b", 25),
    ],
)
def test_lmtp_and_unix_sockets(url, lmtp, socket, port):
    relay = Relay.parse(url)
    assert (relay.lmtp, relay.socket, relay.port, relay.tls) == (lmtp, socket, port, Tls.OFF)
    assert relay.name == (socket or f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"url": "mx.example.com"}, "relays.main.url"),
        ({"url": "smtps+unix:///run/x"}, "relays.main.url"),
        ({"url": "lmtp+unix://host/x"}, "relays.main.url"),
        ({"url": "smtp+unix://"}, "relays.main.url"),
        ({"url": f"smtp://u:{SECRET}@mx.example.com", "token_file": "t"}, "relays.main"),
        ({"url": "smtp://mx.example.com", "token_file": "t"}, "relays.main"),
        ({"url": "smtp://u@mx.example.com"}, "relays.main"),
        ({"url": "smtp://u@mx.example.com?starttls=off", "token_file": "t"}, "relays.main"),
        ({"url": "smtp://127.0.0.1", "ca_file": "ca.pem"}, "relays.main"),
        ({"url": "smtp://mx.example.com", "ca_file": "no-such.pem"}, "relays.main.ca_file"),
        (
            {"url": "smtp://mx.example.com", "client_certificate": "no-such.pem"},
            "relays.main.client_certificate",
        ),
    ],
    ids=str,
)
def test_a_table_that_contradicts_itself_is_refused(table, named):
    with pytest.raises(InvalidSetting) as caught:
        read(**table)
    assert str(caught.value).startswith(f"{named}: ")
    assert SECRET not in str(caught.value)


def test_a_url_beside_the_tables_is_a_contradiction():
    settings = Settings(relay_url="smtp://a.example", relays={"b": {"url": "smtp://b.example"}})
    with pytest.raises(InvalidSetting, match=r"MAILER_RELAY_URL: .*\[relays\]"):
        relays(settings)
