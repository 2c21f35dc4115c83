"""Signed messages, as they come out of a worker."""

import os

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailer import Attachment, Email, JobState
from mailer.dkim.keys import DkimKey
from mailer.testing import eventually, greylist
from mailer.testing.processes import ProcessFailed

MB = 1024 * 1024


@pytest.fixture
def keys(tmp_path):
    """Two key files and a mailer.toml that names them."""
    made = {"r2026": rsa.generate_private_key(65537, 2048), "e2026": None}
    made["e2026"] = ed25519.Ed25519PrivateKey.generate()
    config, loaded = [], []
    for selector, private in made.items():
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{selector}.pem").write_bytes(pem)
        config.append(
            f'[[dkim."example.com"]]\nselector = "{selector}"\n'
            f'key_file = "{tmp_path / selector}.pem"\n'
        )
        loaded.append(DkimKey.load("example.com", selector, pem))
    (tmp_path / "mailer.toml").write_text("\n".join(config))
    return loaded


def verdicts(data, keys):
    records = {f"{key.dns_name}.".encode(): key.dns_record.encode() for key in keys}
    message = dkim.DKIM(data)
    count = data.partition(b"\r\nFrom:")[0].count(b"DKIM-Signature:")
    return [message.verify(i, dnsfunc=lambda name, timeout: records[name]) for i in range(count)]


def test_messages_of_the_domain_leave_with_both_signatures(system, smtp, keys, tmp_path):
    smtp.faults += [greylist("grey@")]
    large = Attachment.from_bytes(os.urandom(MB), filename="a.bin")
    unsubscribe = {"list_unsubscribe": "https://example.com/u/1", "one_click_unsubscribe": True}
    prepared = b"From: Gr\xc3\xb6\xc3\x9fe <a@mail.example.com>\nSubject: x\n\n  as \t it is \n\n\n"
    emails = [
        system.email(subject="Grüße", text="  a \n\n\n", html="<p>ü</p>", **unsubscribe),
        system.email(text="\n.\n..\n", attachments=[large]),
        system.email(["ann@example.org", "grey@example.org"], text="", html="x"),
        Email.from_message(prepared, recipients="ann@example.org"),
        system.email(from_email="shop@other.example"),
    ]
    with system.worker(MAILER_CONFIG=str(tmp_path / "mailer.toml")) as worker:
        receipts = system.mailer.enqueue_many(emails)
        for receipt in receipts:
            assert system.ended(receipt.id).state is JobState.SENT
        eventually(lambda: "DKIM signatures may not verify" in worker.tail(1000))
    received = {m.message_id: m.data for m in smtp.received}
    found = [verdicts(received[receipt.message_id], keys) for receipt in receipts]
    assert found == [[True, True]] * 4 + [[]]
    first, second = (m.data for m in smtp.received if m.message_id == receipts[2].message_id)
    assert first == second


def test_a_worker_with_a_key_that_can_t_be_used_does_not_start(system, keys, tmp_path):
    (tmp_path / "r2026.pem").write_text("no key")
    worker = system.worker(MAILER_CONFIG=str(tmp_path / "mailer.toml"))
    worker.start()
    with pytest.raises(ProcessFailed) as failed:
        worker.wait_until_ready()
    assert worker.stop() == os.EX_CONFIG
    reason = "MAILER_DKIM: the DKIM key r2026 of example.com is no private key"
    assert reason in str(failed.value)
    assert "Traceback" not in worker.tail(1000)
