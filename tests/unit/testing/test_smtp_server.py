"""The SMTP server for tests, through the standard library's client and bare sockets."""

import smtplib
import socket
import ssl

import pytest
import trustme

from mailer.testing import (
    SmtpServerThread,
    go_away,
    greylist,
    hang,
    hang_up_once,
    lose_reply,
    refuse,
    slow,
)

MESSAGE = b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n"


@pytest.fixture
def server():
    with SmtpServerThread() as server:
        yield server


@pytest.fixture
def client(server):
    with smtplib.SMTP("127.0.0.1", server.port, timeout=5) as client:
        yield client


def test_it_keeps_what_it_accepts(server, client):
    client.sendmail("a@b.c", ["x@y.z", "u@v.w"], MESSAGE)
    (message,) = server.received
    assert (message.sender, message.recipients) == ("a@b.c", ("x@y.z", "u@v.w"))
    assert message.data == MESSAGE
    assert message.message_id == "<1@x>"


@pytest.mark.parametrize("line", [b".", b"..", b".y", b"..y", b"y."])
def test_dots_at_the_beginning_of_lines_survive(server, client, line):
    data = b"\r\n".join([line, b"Subject: x", b"", line, line, b"end", b""])
    client.sendmail("a@b.c", "x@y.z", data)
    assert server.received[0].data == data


def test_it_takes_pipelined_commands(server):
    commands = b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<x@y.z>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(commands)
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    codes = [line[:3] for line in reply.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]


def test_it_wants_commands_in_their_order(client):
    assert client.docmd("MAIL", "FROM:<a@b.c>")[0] == 503
    client.ehlo()
    assert client.docmd("RCPT", "TO:<a@b.c>")[0] == 503
    assert client.docmd("DATA")[0] == 503
    assert client.docmd("BOGUS")[0] == 500


def test_starttls_and_auth(tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with (
        SmtpServerThread(starttls=context, users={"me": "secret"}) as server,
        smtplib.SMTP("127.0.0.1", server.port, timeout=5) as client,
    ):
        client.starttls(context=trusting)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("me", "wrong")
        client.login("me", "secret")
        client.sendmail("a@b.c", "x@y.z", MESSAGE)
        assert len(server.received) == 1


def test_it_greylists_and_refuses(server, client):
    server.faults += [greylist("grey@"), refuse("nobody@")]
    refused = client.sendmail("a@b.c", ["ann@x.y", "grey@x.y", "nobody@x.y"], MESSAGE)
    assert {address: code for address, (code, _) in refused.items()} == {
        "grey@x.y": 450,
        "nobody@x.y": 550,
    }
    assert client.sendmail("a@b.c", ["grey@x.y"], MESSAGE) == {}


@pytest.mark.parametrize("at", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("fault", [hang_up_once, go_away])
def test_it_hangs_up_at_any_phase(server, client, fault, at):
    server.faults.append(fault(at=at))
    with pytest.raises((smtplib.SMTPException, OSError)):
        client.sendmail("a@b.c", "x@y.z", MESSAGE)
    assert server.received == []


def test_it_loses_its_reply_but_not_the_message(server, client):
    server.faults.append(lose_reply())
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.sendmail("a@b.c", "x@y.z", MESSAGE)
    assert len(server.received) == 1


def test_it_hangs(server, client):
    server.faults.append(hang("mail"))
    client.ehlo()
    client.sock.settimeout(0.2)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        client.mail("a@b.c")


def test_it_is_slow_and_still_accepts(server, client):
    server.faults.append(slow(0.05))
    client.sendmail("a@b.c", "x@y.z", MESSAGE)
    assert len(server.received) == 1
