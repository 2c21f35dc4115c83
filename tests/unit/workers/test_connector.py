"""How sessions are made: mechanisms of AUTH, tokens, certificates, Unix sockets, LMTP."""

import ssl
import sys
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trustme

from mailer.testing import Options, SmtpServer, add, hang_up_once, say
from workers.outcomes.outcome import Verdict, classify
from workers.relays.relay import Relay, Tls
from workers.relays.tokens import Token
from workers.smtp.connector import Connector, RelayFault
from workers.smtp.timeouts import Timeouts
from workers.smtp.transaction import Dsn, Envelope, Phase

MESSAGE = b"Message-ID: <m@example.com>\r\nSubject: hi\r\n\r\nHello\r\n"
ONE = Envelope("from@example.com", ["jm@example.org"])
TWO = Envelope("from@example.com", ["jm@example.org", "anna@example.net"])
USER, SECRET = "user", "s3cr3t"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def a_connector(server, context=None, **relay):
    defaults = {"name": "r", "host": "127.0.0.1", "port": server.port, "tls": Tls.OFF}
    relay = Relay(**{**defaults, **relay})
    return Connector(relay, "client.example", 5.0, Timeouts(5, 5, 5, 5), context)


async def sent(connect, envelope=ONE):
    session = await connect()
    transcript = await session.transact(envelope, MESSAGE)
    session.close()
    return transcript


# AUTH


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_each_mechanism_signs_in(mechanism):
    async with SmtpServer(Options(users={USER: SECRET}, mechanisms=[mechanism])) as server:
        transcript = await sent(a_connector(server, username=USER, password=SECRET))
    assert transcript.final.positive
    assert server.state.received[0].user == USER


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_a_wrong_password_is_said_once(mechanism):
    """In three mechanisms it would be three failures, and some servers lock an account then."""
    options = Options(users={USER: SECRET}, mechanisms=[mechanism, "LOGIN"])
    async with SmtpServer(options) as server:
        server.state.commands = []
        with pytest.raises(RelayFault) as caught:
            await a_connector(server, username=USER, password="wr0ng")()
        assert server.state.commands.count("AUTH") == 1
    assert (caught.value.phase, caught.value.reply.code) == (Phase.AUTH, 535)
    assert "wr0ng" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(("tls", "verb"), [(Tls.OFF, "CRAM-MD5"), (Tls.REQUIRED, "PLAIN")])
async def test_in_the_clear_the_password_itself_is_not_said(server_tls, trusting, tls, verb):
    options = Options(users={USER: SECRET}, faults=[say("535 5.7.8 no", "auth")])
    if tls is Tls.REQUIRED:
        options.starttls = server_tls
    options.mechanisms = ["LOGIN", "PLAIN", "CRAM-MD5"]
    async with SmtpServer(options) as server:
        used = []
        server.state.options.mechanisms = _Noting(options.mechanisms, used)
        with pytest.raises(RelayFault):
            await a_connector(server, trusting, tls=tls, username=USER, password=SECRET)()
    assert used == [verb]


class _Noting(list):
    """Mechanisms that note which of them is asked for."""

    def __init__(self, names, used):
        super().__init__(names)
        self._used = used

    def __contains__(self, name):
        self._used.append(name)
        return super().__contains__(name)


async def test_a_server_with_other_mechanisms_only_is_a_fault_that_names_them():
    options = Options(users={USER: SECRET}, mechanisms=["XOAUTH2"])
    async with SmtpServer(options) as server:
        with pytest.raises(RelayFault, match="xoauth2") as caught:
            await a_connector(server, username=USER, password=SECRET)()
    assert caught.value.phase is Phase.AUTH


# XOAUTH2


def a_token(tmp_path, *tokens):
    """Makes tokens, one each time it is asked; counts how often that was."""
    count = tmp_path / "count"
    program = (
        f"import pathlib; p = pathlib.Path({str(count)!r}); "
        f"n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); "
        f"print({tokens!r}[n])"
    )
    return Token(command=[sys.executable, "-c", program]), count


async def test_a_token_signs_in(tmp_path):
    token, count = a_token(tmp_path, SECRET)
    async with SmtpServer(Options(users={USER: SECRET}, mechanisms=["XOAUTH2"])) as server:
        assert (await sent(a_connector(server, username=USER, token=token))).final.positive
    assert server.state.received[0].user == USER
    assert len(count.read_text()) == 1


async def test_a_token_that_has_run_out_is_fetched_anew_once(tmp_path):
    token, count = a_token(tmp_path, "old", SECRET)
    async with SmtpServer(Options(users={USER: SECRET}, mechanisms=["XOAUTH2"])) as server:
        assert (await sent(a_connector(server, username=USER, token=token))).final.positive
    assert len(count.read_text()) == 2


async def test_a_token_that_is_refused_twice_is_a_fault_of_the_relay(tmp_path):
    token, count = a_token(tmp_path, "0ld-token", "0ld-token", SECRET)
    async with SmtpServer(Options(users={USER: SECRET}, mechanisms=["XOAUTH2"])) as server:
        with pytest.raises(RelayFault) as caught:
            await a_connector(server, username=USER, token=token)()
    assert (caught.value.phase, caught.value.reply.code) == (Phase.AUTH, 535)
    assert "0ld-token" not in f"{caught.value!r} {caught.value}"
    assert len(count.read_text()) == 2


async def test_without_a_token_nothing_is_said(tmp_path):
    token = Token(file=tmp_path / "nothing-here")
    async with SmtpServer(Options(users={USER: SECRET}, mechanisms=["XOAUTH2"])) as server:
        server.state.commands = []
        with pytest.raises(RelayFault, match="no access token") as caught:
            await a_connector(server, username=USER, token=token)()
        assert "AUTH" not in server.state.commands
    assert caught.value.phase is Phase.AUTH


# certificates


async def test_our_certificate_is_shown_to_those_who_ask(authority, server_tls, tmp_path):
    ours = authority.issue_cert("client.example", common_name="client.example")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(asking)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    relay = Relay.parse("smtp://127.0.0.1:25?starttls=required")
    certificates = attrs.evolve(
        relay.certificates, ca_file=tmp_path / "ca.pem", client=tmp_path / "client.pem"
    )
    async with SmtpServer(Options(starttls=asking)) as server:
        context = attrs.evolve(relay, certificates=certificates).tls_context()
        connect = a_connector(server, context, tls=Tls.REQUIRED)
        assert (await sent(connect)).final.positive
        received = server.state.received[0]
        assert (received.secure, received.certificate) == (True, "client.example")
        bare = attrs.evolve(certificates, client=None)
        context = attrs.evolve(relay, certificates=bare).tls_context()
        with suppress(RelayFault):  # with TLS 1.3 the refusal may come after the handshake
            assert (await sent(a_connector(server, context, tls=Tls.REQUIRED))).failure
        assert server.state.count == 1


async def test_only_the_pinned_issuer_is_trusted(server_tls, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    relay = Relay.parse("smtp://127.0.0.1:25?starttls=required")
    certificates = attrs.evolve(relay.certificates, ca_file=tmp_path / "other.pem")
    async with SmtpServer(Options(starttls=server_tls)) as server:
        context = attrs.evolve(relay, certificates=certificates).tls_context()
        with pytest.raises(RelayFault, match="TLS failed") as caught:
            await a_connector(server, context, tls=Tls.REQUIRED)()
    assert caught.value.phase is Phase.TLS


@pytest.mark.parametrize(
    "fault",
    [
        say("454 4.7.0 TLS not available", "starttls"),
        hang_up_once(at="starttls"),
    ],
    ids=["454", "closed"],
)
async def test_tls_that_is_required_is_had_or_nothing_is_said(server_tls, trusting, fault):
    options = Options(starttls=server_tls, users={USER: SECRET}, faults=[fault])
    async with SmtpServer(options) as server:
        server.state.commands = []
        user = {"username": USER, "password": SECRET}
        with pytest.raises(RelayFault) as caught:
            await a_connector(server, trusting, tls=Tls.REQUIRED, **user)()
        assert not {"AUTH", "MAIL"} & {*server.state.commands}
    assert caught.value.phase is Phase.TLS


async def test_what_is_said_behind_the_220_of_starttls_is_forgotten(server_tls, trusting):
    """It came in the clear, perhaps from somebody else."""
    forged = add("250-evil\r\n250 AUTH LOGIN\r\n550 no", "starttls")
    async with SmtpServer(Options(starttls=server_tls, faults=[forged])) as server:
        session = await a_connector(server, trusting, tls=Tls.REQUIRED)()
        assert "chunking" in session.extensions
        assert "auth" not in session.extensions
        assert (await session.transact(ONE, MESSAGE)).final.positive
        session.close()
    assert server.state.received[0].secure


# Unix sockets and LMTP


async def test_a_unix_socket_is_as_good_as_a_port(tmp_path):
    async with SmtpServer(socket=tmp_path / "smtp") as server:
        connect = a_connector(server, socket=str(tmp_path / "smtp"))
        assert (await sent(connect)).final.positive


async def test_a_socket_that_is_not_there_is_a_fault(tmp_path):
    async with SmtpServer() as server:
        with pytest.raises(RelayFault) as caught:
            await a_connector(server, socket=str(tmp_path / "nothing"))()
    assert caught.value.phase is Phase.CONNECT


@pytest.mark.parametrize("where", ["port", "socket"])
async def test_lmtp_has_a_reply_for_each_recipient(tmp_path, where):
    """Over quota is found out when the message is there (RFC 2033, 4.2)."""
    fault = say("452 4.2.2 mailbox full", "dot", "anna")
    socket: Path | None = tmp_path / "lmtp" if where == "socket" else None
    async with SmtpServer(Options(lmtp=True, faults=[fault]), socket=socket) as server:
        connect = a_connector(server, lmtp=True, socket=str(socket) if socket else None)
        session = await connect()
        for _ in range(2):
            transcript = await session.transact(TWO, MESSAGE)
            judgements = classify(transcript, 2).judgements
            assert [j.verdict for j in judgements] == [Verdict.ACCEPTED, Verdict.DEFERRED]
        session.close()
    assert [r.recipients for r in server.state.received] == [("jm@example.org",)] * 2


async def test_with_lmtp_one_refused_recipient_has_no_reply_to_the_message():
    fault = say("550 5.1.1 nobody", "rcpt", "jm")
    async with SmtpServer(Options(lmtp=True, faults=[fault])) as server:
        transcript = await sent(a_connector(server, lmtp=True), TWO)
    judgements = classify(transcript, 2).judgements
    assert [j.verdict for j in judgements] == [Verdict.REFUSED, Verdict.ACCEPTED]


async def test_an_smtp_server_that_should_speak_lmtp_is_a_fault_of_the_relay():
    async with SmtpServer() as server:
        with pytest.raises(RelayFault) as caught:
            await a_connector(server, lmtp=True)()
    assert caught.value.reply.code == 500


# parameters


async def test_reports_are_asked_for_where_the_server_offers_dsn():
    dsn = Dsn(notify="FAILURE,DELAY", ret="HDRS", envid="job+1")
    envelope = Envelope("from@example.com", ["j=m@example.org"], dsn=dsn)
    async with SmtpServer() as server:
        await sent(a_connector(server), envelope)
        await sent(a_connector(server, without=frozenset({"dsn"})), envelope)
    asked, plain = server.state.received
    assert {"RET=HDRS", "ENVID=job+2B1"} < {*asked.parameters}
    assert asked.recipient_parameters == {
        "j=m@example.org": ("NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;j+3Dm@example.org")
    }
    assert plain.recipient_parameters == {"j=m@example.org": ()}


async def test_an_extension_may_be_left_unused():
    async with SmtpServer() as server:
        server.state.commands = []
        session = await a_connector(server, without=frozenset({"chunking", "pipelining"}))()
        for _ in range(3):
            assert (await session.transact(ONE, MESSAGE)).final.positive
        session.close()
    assert "BDAT" not in server.state.commands
    assert {received.turns for received in server.state.received} == {4}
    assert server.state.breaches == []
