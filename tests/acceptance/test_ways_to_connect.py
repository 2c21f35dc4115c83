"""Every way to reach a relay and to sign in, through one worker; and rules of the settings."""

import ssl
from contextlib import ExitStack

import pytest
import trustme

from mailer import JobState
from mailer.testing import SmtpServerThread, say

USERS = {"shop": "secret"}


@pytest.fixture(scope="module")
def histories(shared_system):
    """Sends one email each way; gives the job and the server."""
    system, folder = shared_system, shared_system.folder
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ours = authority.issue_cert("client.example", common_name="client.example")
    ours.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(asking)
    authority.configure_trust(asking)
    asking.verify_mode = ssl.CERT_REQUIRED
    (folder / "token").write_text("secret\n")
    (folder / "tokens_of_test.py").write_text("def token():\n    return 'secret'\n")
    ca = f'ca_file = "{folder / "ca.pem"}"'
    signs_in = "shop:secret@"
    # name → options of the server, what stands before the host, what behind it, and in the table
    ways = {
        "plain": ({"users": USERS, "mechanisms": ["PLAIN"]}, signs_in, "", ""),
        "login": ({"users": USERS, "mechanisms": ["LOGIN"]}, signs_in, "", ""),
        "cram": ({"users": USERS, "mechanisms": ["CRAM-MD5"]}, signs_in, "", ""),
        "token_file": (
            {"users": USERS, "mechanisms": ["XOAUTH2"]},
            *("shop@", "", f'token_file = "{folder / "token"}"'),
        ),
        "token_command": (
            {"users": USERS, "mechanisms": ["XOAUTH2"]},
            *("shop@", "", 'token_command = ["printf", "secret"]'),
        ),
        "token_function": (
            {"users": USERS, "mechanisms": ["XOAUTH2"]},
            *("shop@", "", 'token_function = "tokens_of_test:token"'),
        ),
        "starttls": ({"starttls": tls, "users": USERS}, signs_in, "?starttls=required", ca),
        "opportunistic": ({"starttls": tls}, "", "?starttls=opportunistic", ca),
        "implicit": ({"implicit_tls": tls, "users": USERS}, signs_in, "", ca),
        "certificate": (
            {"starttls": asking},
            *("", "?starttls=required", f'{ca}\nclient_certificate = "{folder / "client.pem"}"'),
        ),
        "socket": ({"socket": folder / "smtp.sock"}, "", "", ""),
        "lmtp": ({"lmtp": True}, "", "", ""),
        "lmtp_socket": ({"lmtp": True, "socket": folder / "lmtp.sock"}, "", "", ""),
        "own_rule": ({"faults": [say("554 5.7.1 our quota is over", "rcpt", times=1)]}, "", "", ""),
    }
    with ExitStack() as servers:
        config, running = [], {}
        for name, (options, before, behind, more) in ways.items():
            running[name] = server = servers.enter_context(SmtpServerThread(**options))
            url = server.url.replace("://", f"://{before}") + behind
            config.append(f'[relays.{name}]\nurl = "{url}"\n{more}')
        config.append('[[rules]]\nname = "quota"\naction = "retry"\nphrase = "our quota"')
        file = folder / "mailer.toml"
        file.write_text("\n".join(config))
        system.settings.pop("MAILER_RELAY_URL", None)
        with system.worker(MAILER_CONFIG=str(file), PYTHONPATH=str(folder)):
            people = ["ann@example.org", "bob@example.org"]
            jobs = {name: system.enqueue(people, relay=name) for name in ways}
            yield {name: (system.ended(job), running[name]) for name, job in jobs.items()}


@pytest.mark.parametrize(
    "way",
    [
        *("plain", "login", "cram", "token_file", "token_command", "token_function"),
        *("starttls", "opportunistic", "implicit", "certificate"),
        *("socket", "lmtp", "lmtp_socket"),
    ],
)
def test_an_email_arrives_each_way(histories, way):
    job, server = histories[way]
    assert job.state is JobState.SENT
    assert len(job.attempts) == 1
    received = server.received[0]
    signed_in = way in {"plain", "login", "cram", "starttls", "implicit"} or "token" in way
    assert received.user == ("shop" if signed_in else "")
    assert received.secure is (way in {"starttls", "opportunistic", "implicit", "certificate"})
    assert received.certificate == ("client.example" if way == "certificate" else "")
    # with LMTP each recipient has a delivery of their own
    assert len(server.received) == (2 if way.startswith("lmtp") else 1)


def test_a_rule_of_the_settings_comes_before_ours(histories):
    job, server = histories["own_rule"]
    assert job.state is JobState.SENT
    assert [attempt.rule for attempt in job.attempts] == ["quota", "accepted"]
    assert len(server.received) == 2
