"""A mailer reaches Redis in each way that a URL can name."""

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
import trustme

from mailer import AsyncMailer, Email, Mailer
from mailer.testing import EmbeddedRedis
from mailer.testing.link import SlowLink

EMAILS = 40


@pytest.fixture(params=["redis", "rediss", "unix"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "redis.sock"
    with EmbeddedRedis(options={"unixsocket": str(path)}) as server:
        redis.Redis.from_url(server.url).config_set("requirepass", "secret")
        if request.param == "unix":
            yield f"unix://:secret@{path}?db=3"
        elif request.param == "redis":
            yield f"redis://:secret@127.0.0.1:{server.port}/3"
        else:
            authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(tls)
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            with SlowLink(server.port, tls=tls) as link:
                yield f"rediss://:secret@127.0.0.1:{link.port}/3?ssl_ca_certs={tmp_path}/ca.pem"


def email(text: str = "Hello") -> Email:
    return Email(from_email="shop@example.com", to="anna@example.org", subject="Hi", text=text)


def test_one_by_one_in_bulk_and_from_several_threads(url):
    with Mailer(url) as mailer:
        ids = {mailer.enqueue(email()).id for _ in range(EMAILS)}
        ids |= {receipt.id for receipt in mailer.enqueue_many(email() for _ in range(EMAILS))}
        with ThreadPoolExecutor(8) as threads:
            ids |= {r.id for r in threads.map(lambda _: mailer.enqueue(email()), range(EMAILS))}
        assert {job.id for job in mailer.list(limit=1000)} == ids
        assert len(ids) == 3 * EMAILS


def test_what_is_larger_than_any_buffer_comes_back_whole(url):
    with Mailer(url) as mailer:
        text = "0123456789abcde\n" * 30_000
        job_id = mailer.enqueue(email(text)).id
        assert mailer.message(job_id).count(b"0123456789abcde") == 30_000


async def test_a_loop_in_the_same_ways(url):
    async with AsyncMailer(url) as mailer:
        receipts = await asyncio.gather(*(mailer.enqueue(email()) for _ in range(EMAILS)))
        assert {job.id for job in await mailer.list()} == {receipt.id for receipt in receipts}
