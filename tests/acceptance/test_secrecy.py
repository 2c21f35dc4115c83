"""Canaries in every private part of an email, looked for wherever others can read."""

import base64
import json
import threading

import pytest
import redis
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mailer import Attachment, JobState
from mailer.testing import SmtpServerThread, eventually, say
from mailer.testing.ports import free_port

CANARIES = ["canary-subject", "canary-body", "canary-name", "canary-file", "canary-local"]
CANARIES += ["canary-path", "canary-signature"]


@pytest.fixture
def dkim_key():
    """A private key, and a part of it that nothing else holds."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return pem.decode(), pem.splitlines()[1][24:]


def spellings(text: str) -> list[bytes]:
    """A text as it stands, and as base64 would hide it, at each offset."""
    plain = text.encode()
    hidden = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]  # its core
    return [plain, *hidden]


def found(text: str, places: list[bytes]) -> bool:
    return any(spelling in place for spelling in spellings(text) for place in places)


def test_celery_messages_events_and_logs_hold_no_content(system, smtp, dkim_key):
    """What passes through the broker, and what the worker logs, names jobs by their ids only."""
    smtp.faults.append(say("550 5.1.1 <canary-local@example.org>: no such user", "rcpt"))
    commands: list[bytes] = []
    done = threading.Event()

    def watch(monitor: redis.client.Monitor) -> None:
        while not done.is_set():
            commands.append(monitor.next_command()["command"].encode())

    with redis.Redis.from_url(system.redis.url) as client, client.monitor() as monitor:
        watcher = threading.Thread(target=watch, args=[monitor])
        watcher.start()
        pem, secret = dkim_key
        nowhere = f"localhost:{free_port()}"
        hosts = {"attachment_hosts": [nowhere], "attachment_private_hosts": [nowhere]}
        with system.worker(
            arguments=("-E",),  # task events, which go to whoever asks
            MAILER_ATTACHMENT_HOSTS=nowhere,
            MAILER_ATTACHMENT_PRIVATE_HOSTS=nowhere,
            MAILER_DKIM=json.dumps({"example.com": [{"selector": "s1", "key": pem}]}),
            MAILER_LOG_LEVEL="DEBUG",
        ) as worker:
            url = f"https://{nowhere}/canary-path.pdf?signature=canary-signature"
            remote = system.email(attachments=[Attachment.from_url(url)])
            deferred = system.producer(**hosts).enqueue(remote).id
            eventually(lambda: system.mailer.get(deferred).state is JobState.DEFERRED)
            job_id = system.enqueue(
                "canary-name <canary-local@example.org>",
                subject="canary-subject",
                text="canary-body",
                attachments=[Attachment.from_bytes(b"canary-body", filename="canary-file.txt")],
            )
            assert system.ended(job_id).state is JobState.FAILED
            eventually(lambda: found("task-failed", list(commands)))
        done.set()
        client.ping()  # so that the watcher sees that it is done
        watcher.join()
        log = worker.log.read_bytes()
    prefix = f"{{{system.settings['MAILER_KEY_PREFIX']}}}:broker:".encode()
    public = [c for c in commands if prefix in c or c.upper().startswith(b"PUBLISH")]
    assert found(job_id, public), "the batch was seen"
    for canary in CANARIES:
        assert not found(canary, public)
        assert not found(canary, [log])
    assert secret not in b"".join([*commands, log])
    assert "canary" not in repr(system.mailer.get(deferred))


def test_the_credentials_of_relays_stay_in_the_worker(system):
    """Passwords and tokens are in no log and nowhere in Redis, right or wrong."""
    secrets = ["canary-password", "canary-token"]
    users = {"shop": "right"}
    with (
        SmtpServerThread(users=users, mechanisms=["LOGIN"]) as by_password,
        SmtpServerThread(users=users, mechanisms=["XOAUTH2"]) as by_token,
    ):
        config = system.folder / "mailer.toml"
        config.write_text(
            f"""
            [relays.a]
            url = "{by_password.url.replace("://", "://shop:canary-password@")}"
            [relays.b]
            url = "{by_token.url.replace("://", "://shop@")}"
            token_command = ["printf", "canary-token"]
            """
        )
        del system.settings["MAILER_RELAY_URL"]
        with system.worker(MAILER_CONFIG=str(config), MAILER_LOG_LEVEL="DEBUG") as worker:
            jobs = [system.enqueue(relay=relay) for relay in "ab"]
            for job in jobs:
                eventually(lambda job=job: system.mailer.get(job).attempts)
            told = repr([system.mailer.paused_relays(), *map(system.mailer.get, jobs)])
        log = worker.log.read_bytes()
    assert "535" in told
    with redis.Redis.from_url(system.redis.url) as client:
        ours = client.scan_iter(f"*{system.settings['MAILER_KEY_PREFIX']}*", count=1000)
        stored = [repr(_content(client, key)).encode() for key in ours]
    assert stored
    for secret in secrets:
        assert not found(secret, [log, told.encode(), *stored])


def _content(client, key):
    """Read a key of any type."""
    match client.type(key):
        case b"hash":
            return client.hgetall(key)
        case b"zset":
            return client.zrange(key, 0, -1)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case _:
            return client.get(key)
