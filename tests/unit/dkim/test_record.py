"""The published DKIM key: what is wrong with it, in one sentence."""

import socket
import sys
import threading
from base64 import b64encode

import dns.exception
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mailer.dkim.keys import DkimKey
from mailer.dkim.record import LookupFailed, problem_with, txt_records

NAME = "s1._domainkey.example.com"


def load(private):
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return DkimKey.load("example.com", "s1", pem)


KEY = load(ed25519.Ed25519PrivateKey.generate())
PUBLIC = KEY.dns_record.rpartition("p=")[2]
OTHER = load(ed25519.Ed25519PrivateKey.generate())


def problem(*records, key=KEY):
    def lookup(name):
        assert name == NAME
        return records

    return problem_with(key, lookup)


@pytest.mark.parametrize(
    "record",
    [
        KEY.dns_record,
        f"v=DKIM1;k=ed25519;p={PUBLIC};",
        f" v = DKIM1 ; p = {PUBLIC[:20]} {PUBLIC[20:]} ; k = ed25519 ; x=y",
        f"k=ed25519; h=sha1:sha256; s=email; t=s; p={PUBLIC}",
    ],
    ids=["ours", "without spaces", "with spaces", "with more tags"],
)
def test_a_record_that_holds_the_key_is_fine(record):
    assert problem(record) is None


def test_both_forms_of_an_rsa_key_are_fine():
    private = rsa.generate_private_key(65537, 2048)
    key = load(private)
    assert problem(key.dns_record, key=key) is None
    bare = b64encode(private.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()
    assert problem(f"p={bare}", key=key) is None


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], f"no DKIM key is published: add a TXT record at {NAME} with {KEY.dns_record}"),
        ([OTHER.dns_record], "has another key"),
        (["v=DKIM1; k=ed25519; p=%%%"], "has another key"),
        (["v=DKIM1; k=ed25519; p=ü"], "has another key"),
        ([f"v=DKIM1; p={PUBLIC}"], "has a key for 'rsa', not for ed25519"),
        (["v=DKIM1; p="], "revoked"),
        (["v=spf1 -all"], "is no DKIM key"),
        (["some words"], "is no DKIM key"),
        ([f"v=DKIM2; k=ed25519; p={PUBLIC}"], "is no DKIM key"),
        ([f"v=DKIM1; k=ed25519; h=sha1; p={PUBLIC}"], "does not allow SHA-256"),
        ([f"v=DKIM1; k=ed25519; s=tlsrpt; p={PUBLIC}"], "is not for email"),
        ([f"v=DKIM1; k=ed25519; t=y:s; p={PUBLIC}"], "only tests DKIM"),
        ([KEY.dns_record, OTHER.dns_record], "has 2 TXT records: leave only"),
    ],
)
def test_what_is_wrong_is_told_with_the_text_to_publish(records, said):
    sentence = problem(*records)
    assert said in sentence
    assert NAME in sentence
    assert KEY.dns_record in sentence


def test_a_lookup_that_fails_is_told_with_its_reason():
    def lookup(name):
        raise LookupFailed("all servers are on holiday")

    assert problem_with(KEY, lookup) == (
        f"the DKIM key at {NAME} could not be looked up: all servers are on holiday"
    )


def test_without_dnspython_the_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    assert "pip install 'celery-mailer[dns]'" in problem_with(KEY)


@pytest.fixture
def dns_server(monkeypatch):
    """Serve DNS over UDP: give it a function that makes the reply, or nothing for silence."""
    replies = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve():
            while True:
                data, client = server.recvfrom(4096)
                if not data:
                    return
                query = dns.message.from_wire(data)
                if reply := replies[0](query):
                    server.sendto(reply.to_wire(), client)

        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = server.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        thread = threading.Thread(target=serve)
        thread.start()
        yield replies.append
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"", server.getsockname())
        thread.join()


def answer(query, *texts):
    reply = dns.message.make_response(query)
    question = query.question[0]
    assert question.name.to_text() == f"{NAME}."
    if texts:
        reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", *texts))
    return reply


def refusal(query, code):
    reply = dns.message.make_response(query)
    reply.set_rcode(code)
    return reply


def test_dns_is_asked_and_strings_are_joined(dns_server):
    dns_server(lambda query: answer(query, f'"v=DKIM1; k=ed25519; p={PUBLIC[:9]}" "{PUBLIC[9:]}"'))
    assert txt_records(NAME) == [KEY.dns_record]
    assert problem_with(KEY) is None


@pytest.mark.parametrize(
    "reply", [answer, lambda query: refusal(query, dns.rcode.NXDOMAIN)], ids=["empty", "NXDOMAIN"]
)
def test_a_name_without_records_has_none_published(dns_server, reply):
    dns_server(reply)
    assert "no DKIM key is published" in problem_with(KEY)


def test_a_server_that_fails_is_told_of(dns_server):
    dns_server(lambda query: refusal(query, dns.rcode.SERVFAIL))
    assert "could not be looked up: " in problem_with(KEY)


def test_a_silent_server_is_not_waited_for_long(dns_server, monkeypatch):
    monkeypatch.setattr("mailer.dkim.record.LOOKUP_SECONDS", 0.2)
    dns_server(lambda query: None)
    assert "could not be looked up: The resolution lifetime expired" in problem_with(KEY)


def test_a_machine_without_a_resolver_is_told_of(monkeypatch):
    def resolve(*args, **kwargs):
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    assert "could not be looked up: " in problem_with(KEY)
