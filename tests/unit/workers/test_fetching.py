import asyncio
import gc
import ssl
import sys
from contextlib import aclosing, suppress

import aiohttp
import fsspec
import pytest
import trustme

from mailer.errors import AttachmentUnavailable, AttachmentUnreachable, InvalidSetting
from workers.fetching.addresses import is_public
from workers.fetching.https import HttpsFetcher
from workers.fetching.objects import ObjectReader

LIMIT = 1_000_000
CONTENT = bytes(range(256)) * 3000  # several chunks


# --- over HTTPS


class HttpsServer:
    """Answers each path as ``replies`` say, byte by byte; each connection is for one request."""

    def __init__(self):
        self.replies = {}
        self.requests = []
        self.connections = 0
        self._tasks = set()

    async def start(self, tls):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, path="/", host="localhost"):
        return f"https://{host}:{self.port}{path}"

    @property
    def paths(self):
        return [request.split(" ")[1] for request in self.requests]

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self.connections += 1
        with suppress(OSError, EOFError, asyncio.CancelledError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            reply = self.replies[self.paths[-1].partition("?")[0]]
            if isinstance(reply, bytes):
                writer.write(reply)
                await writer.drain()
            else:
                await reply(writer)
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()


def head(status=200, **headers):
    fields = (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
    return "\r\n".join([f"HTTP/1.1 {status} Reason", *fields, "", ""]).encode()


def response(body=b"", status=200, length=None, **headers):
    return head(status, Content_Length=len(body) if length is None else length, **headers) + body


def redirect(target, status=302):
    return response(b"moved", status, Location=target)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "files.example", "127.0.0.1").configure_cert(tls)
    return tls


@pytest.fixture
async def server(server_tls):
    server = HttpsServer()
    await server.start(server_tls)
    yield server
    await server.stop()


@pytest.fixture
async def fetcher(server, authority):
    """Makes fetchers from localhost and files.example, at the server's port; the former private."""
    fetchers = []

    def make(hosts=(), private=(), seconds=20):
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
        hosts = [f"{host}:{server.port}" for host in ("localhost", "files.example", *hosts)]
        private = [f"{host}:{server.port}" for host in ("localhost", *private)]
        fetchers.append(HttpsFetcher(hosts, private, seconds, tls))
        return fetchers[-1]

    yield make
    for fetcher in fetchers:
        await fetcher.close()
    gc.collect()  # what was left open warns now, and so fails this test


@pytest.fixture
def dns(monkeypatch):
    """What the DNS answers: a list of addresses for each time it is asked about a host."""

    class Dns:
        answers = {}  # noqa: RUF012
        asked = []  # noqa: RUF012

    async def resolve(self, host, port=0, family=0):
        dns.asked.append(host)
        if host not in dns.answers:
            raise OSError(-2, "Name or service not known")
        answers = dns.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {"hostname": host, "host": a, "port": port, "family": 0, "proto": 0, "flags": 0}
            for a in addresses
        ]

    dns = Dns()
    dns.answers, dns.asked = {}, []
    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    return dns


@pytest.fixture
def connected(monkeypatch):
    """The addresses to which connections are begun."""
    addresses = []
    start = aiohttp.connector.aiohappyeyeballs.start_connection

    async def noted(addr_infos, **options):
        addresses.extend(info[4][0] for info in addr_infos)
        if not any(address.startswith("127.") for address in addresses):
            raise OSError(101, "Network is unreachable")
        return await start(addr_infos, **options)

    monkeypatch.setattr(aiohttp.connector.aiohappyeyeballs, "start_connection", noted)
    return addresses


async def read(source, location, limit=LIMIT):
    return await joined(source.fetch(location, limit))


async def joined(chunks):
    return b"".join([chunk async for chunk in chunks])


async def fails(error, source, location, *words, limit=LIMIT):
    """Assert that a fetch fails so, with these words; what it asked for is never repeated."""
    with pytest.raises(error) as caught:
        await read(source, location, limit)
    sentence = str(caught.value)
    for word in words:
        assert word in sentence
    assert "secret" not in sentence
    assert len(sentence) < 400
    return sentence


async def test_content_is_fetched_in_chunks(server, fetcher):
    server.replies["/a%2Fb"] = response(CONTENT)
    chunks = [chunk async for chunk in fetcher().fetch(server.url("/a%2Fb?c=%2f#d"), len(CONTENT))]
    assert b"".join(chunks) == CONTENT
    assert max(map(len, chunks)) <= 256 * 1024
    assert min(map(len, chunks[:-1])) >= 64 * 1024
    assert server.paths == ["/a%2Fb?c=%2f"]


async def test_the_request_asks_for_no_encoding_and_carries_no_cookies(server, fetcher):
    server.replies["/"] = response(b"content", Set_Cookie="a=b; Path=/")
    source = fetcher()
    for _ in range(2):
        assert await read(source, server.url()) == b"content"
    for request in server.requests:
        assert "Accept-Encoding: identity\r\n" in request
        assert "Connection: close\r\n" in request
        assert "Cookie" not in request
        assert f"Host: localhost:{server.port}\r\n" in request
    assert server.connections == 2


async def test_proxies_of_the_environment_are_not_used(server, fetcher, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.replies["/"] = response(b"content")
    assert await read(fetcher(), server.url()) == b"content"


async def test_empty_content_and_content_in_http_chunks_are_fetched(server, fetcher):
    server.replies["/empty"] = response()
    server.replies["/chunked"] = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    source = fetcher()
    assert await read(source, server.url("/empty"), 0) == b""
    assert await read(source, server.url("/chunked"), 5) == b"abcde"
    await fails(AttachmentUnavailable, source, server.url("/chunked"), "more than 4", limit=4)


async def test_many_fetches_at_a_time_share_a_fetcher(server, fetcher):
    server.replies["/"] = response(CONTENT)
    source = fetcher()
    contents = await asyncio.gather(*(read(source, server.url()) for _ in range(20)))
    assert set(contents) == {CONTENT}


async def test_a_host_that_is_not_allowed_is_not_asked(server, fetcher, dns, connected):
    for url in (
        "https://evil.example/secret",
        f"https://localhost:{server.port + 1}/secret",
        f"http://localhost:{server.port}/secret",
        f"https://127.0.0.1:{server.port}/secret",
        f"https://2130706433:{server.port}/secret",
        f"https://user:secret@localhost:{server.port}/",
    ):
        await fails(AttachmentUnavailable, fetcher(), url)
    assert dns.asked == connected == server.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "169.254.169.254", "10.1.2.3", "100.100.100.200", "0.0.0.0", "224.0.0.1"),
        *("::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "fd00:ec2::254", "fe80::1", "fe80::1%lo"),
    ],
)
async def test_a_host_with_a_private_address_is_not_connected_to(
    server, fetcher, dns, connected, address
):
    for addresses in ([address], ["93.184.215.14", address]):
        dns.answers["files.example"] = [addresses]
        await fails(
            AttachmentUnavailable,
            fetcher(),
            server.url("/secret", "files.example"),
            *("files.example leads to", "not a public address", "MAILER_ATTACHMENT_PRIVATE_HOSTS"),
        )
    assert connected == server.requests == []


async def test_a_host_that_may_be_private_is_connected_to(server, fetcher, dns):
    dns.answers["files.example"] = [["127.0.0.1"]]
    server.replies["/"] = response(b"content")
    source = fetcher(private=["files.example"])
    assert await read(source, server.url("/", "files.example")) == b"content"


async def test_a_dns_that_answers_otherwise_the_second_time_leads_nowhere_else(
    server, fetcher, dns, connected
):
    """The connection goes to just the address that was checked; the next one is checked again."""
    dns.answers["files.example"] = [["93.184.215.14"], ["127.0.0.1"]]
    source, url = fetcher(), server.url("/secret", "files.example")
    await fails(AttachmentUnreachable, source, url, "files.example", "Network is unreachable")
    assert connected == ["93.184.215.14"]
    assert dns.asked == ["files.example"]
    await fails(AttachmentUnavailable, source, url, "leads to 127.0.0.1")
    assert connected == ["93.184.215.14"]
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_a_listed_private_address_must_be_allowed_to_be_private(
    server, fetcher, connected, host
):
    source = fetcher(hosts=[host])
    await fails(AttachmentUnavailable, source, server.url("/", host), "not a public address")
    assert connected == server.requests == []


async def test_a_listed_address_that_may_be_private_is_connected_to(server, fetcher):
    server.replies["/"] = response(b"content")
    source = fetcher(hosts=["127.0.0.1"], private=["127.0.0.1"])
    assert await read(source, server.url("/", "127.0.0.1")) == b"content"


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1"])
async def test_a_listed_address_in_disguise_leads_nowhere(server, fetcher, connected, host):
    url = server.url("/", host)
    await fails((AttachmentUnavailable, AttachmentUnreachable), fetcher(hosts=[host]), url)
    assert connected == server.requests == []


async def test_redirects_to_allowed_places_are_followed(server, fetcher):
    server.replies["/1"] = redirect("/2?a=%2F")
    server.replies["/2"] = redirect(server.url("/3"), 308)

    async def with_a_body_that_nobody_reads(writer):
        writer.write(head(303, Location="4", Content_Length=10**12))
        await asyncio.Event().wait()

    server.replies["/3"] = with_a_body_that_nobody_reads
    server.replies["/4"] = response(b"content")
    assert await read(fetcher(), server.url("/1")) == b"content"
    assert server.paths == ["/1", "/2?a=%2F", "/3", "/4"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("https://evil.example/secret", "evil.example is not an allowed host"),
        ("//evil.example/secret", "evil.example is not an allowed host"),
        ("https://169.254.169.254/secret", "169.254.169.254 is not an allowed host"),
        ("https://{local}@evil.example/secret", "a user or a password"),
        ("https://[::1]:{port}/secret", "is not an allowed host"),
        ("https://127.0.0.1:{port}/secret", "is not an allowed host"),
        ("http://{local}/secret", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("https://{local}\\@evil.example/", "a backslash"),
        ("https://" + "a" * 7000 + "/", "malformed"),
        ("https://" + "a." * 120 + "example/", "is not an allowed host"),
        ("//[", "no URL"),
        ("https://files.example:{port}/secret", "not a public address"),
    ],
)
async def test_a_redirect_elsewhere_is_refused(server, fetcher, dns, connected, target, words):
    dns.answers = {"localhost": [["127.0.0.1"]], "files.example": [["127.0.0.1"]]}
    target = target.replace("{local}", f"localhost:{server.port}")
    server.replies["/"] = redirect(target.replace("{port}", str(server.port)))
    await fails(AttachmentUnavailable, fetcher(), server.url(), words)
    assert server.paths == ["/"]
    assert connected == ["127.0.0.1"]
    assert set(dns.asked) <= {"localhost", "files.example"}


async def test_a_redirect_loop_ends(server, fetcher):
    server.replies["/"] = redirect("/")
    await fails(AttachmentUnavailable, fetcher(), server.url(), "redirects too often")
    assert server.paths == ["/"] * 4


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 418, 451])
async def test_an_answer_that_will_not_change_is_final(server, fetcher, status):
    server.replies["/"] = response(status=status)
    await fails(AttachmentUnavailable, fetcher(), server.url("/?secret"), "localhost", str(status))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_an_answer_that_may_change_is_asked_for_again(server, fetcher, status):
    server.replies["/"] = response(status=status)
    await fails(AttachmentUnreachable, fetcher(), server.url("/?secret"), "localhost", str(status))


async def test_content_announced_too_large_is_refused_unread(server, fetcher):
    async def announce(writer):
        writer.write(response(length=10**12))
        await asyncio.Event().wait()

    server.replies["/"] = announce
    words = ("localhost", "more than 1000000 bytes", "MAILER_MAX_ATTACHMENT_BYTES")
    await fails(AttachmentUnavailable, fetcher(), server.url(), *words)


async def test_content_of_no_announced_length_is_refused(server, fetcher):
    """Where it broke off, it would look complete."""
    server.replies["/"] = head() + b"content"
    await fails(AttachmentUnavailable, fetcher(), server.url(), "does not say how long")


async def test_endless_content_is_refused_at_the_limit(server, fetcher):
    sent = 0

    async def pour(writer):
        nonlocal sent
        writer.write(head(Transfer_Encoding="chunked"))
        while True:
            writer.write(b"8000\r\n%b\r\n" % bytes(0x8000))
            sent += 0x8000
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone may never let the client run

    server.replies["/"] = pour
    await fails(AttachmentUnavailable, fetcher(), server.url(), "more than 1000000 bytes")
    assert sent < 100 * LIMIT


async def test_content_longer_than_announced_ends_where_it_was_announced(server, fetcher):
    """And what comes behind is no answer to the next request."""
    server.replies["/"] = response(b"content") + response(b"forged")
    server.replies["/next"] = response(b"next")
    source = fetcher()
    assert await read(source, server.url()) == b"content"
    assert await read(source, server.url("/next")) == b"next"


@pytest.mark.parametrize(
    "reply",
    [
        response(b"half", length=8),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nX\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
async def test_what_breaks_off_or_makes_no_sense_is_tried_again(server, fetcher, reply):
    server.replies["/"] = reply
    await fails(AttachmentUnreachable, fetcher(), server.url("/?secret"), "localhost", "broke off")


async def test_a_connection_that_is_reset_is_tried_again(server, fetcher):
    async def reset(writer):
        writer.write(response(b"half", length=10**6))
        await writer.drain()
        writer.transport.abort()

    server.replies["/"] = reset
    await fails(AttachmentUnreachable, fetcher(), server.url(), "localhost", "broke off")


@pytest.mark.parametrize(
    "headers",
    [
        *({"Content_Encoding": "gzip"}, {"Content_Encoding": "identity, br"}),
        *({"Content_Encoding": "x-unknown"}, {"Transfer_Encoding": "gzip, chunked"}),
        *({"Transfer_Encoding": "gzip"}, {"Transfer_Encoding": "chunked, identity"}),
    ],
)
async def test_encoded_content_is_refused(server, fetcher, headers):
    import gzip

    body = gzip.compress(bytes(10**7))
    if "Transfer_Encoding" in headers:
        server.replies["/"] = head(**headers) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        server.replies["/"] = response(body, **headers)
    await fails(AttachmentUnavailable, fetcher(), server.url("/?secret"), "localhost", "encoded")


async def test_content_that_says_it_is_not_encoded_is_fetched(server, fetcher):
    server.replies["/"] = response(b"content", Content_Encoding="Identity")
    assert await read(fetcher(), server.url()) == b"content"


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", response(length=1000)])
async def test_a_slow_drip_ends_in_time(server, fetcher, begun):
    async def drip(writer):
        writer.write(begun)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    server.replies["/"] = drip
    await fails(
        AttachmentUnreachable,
        fetcher(seconds=0.3),
        server.url("/?secret"),
        *("localhost", "took too long", "MAILER_ATTACHMENT_FETCH_SECONDS"),
    )
    assert server.paths == ["/?secret"]


async def test_interim_answers_without_end_end_in_time(server, fetcher):
    async def interim(writer):
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    server.replies["/"] = interim
    await fails(AttachmentUnreachable, fetcher(seconds=0.3), server.url(), "localhost")


async def test_redirects_share_the_time(server, fetcher):
    async def late(writer):
        await asyncio.sleep(0.2)
        writer.write(redirect("/"))

    server.replies["/"] = late
    await fails(AttachmentUnreachable, fetcher(seconds=0.3), server.url(), "took too long")
    assert len(server.requests) <= 2


async def test_a_dns_that_does_not_answer_ends_in_time(server, fetcher, monkeypatch):
    async def resolve(self, host, port=0, family=0):
        await asyncio.Event().wait()

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    await fails(AttachmentUnreachable, fetcher(seconds=0.1), server.url(), "took too long")


async def test_a_host_that_the_dns_does_not_know_is_tried_again(server, fetcher, dns):
    url = server.url("/secret", "files.example")
    await fails(AttachmentUnreachable, fetcher(), url, "files.example", "DNS")


async def test_a_port_that_nobody_listens_at_is_tried_again(server, fetcher):
    source, url = fetcher(), server.url()
    await server.stop()
    await fails(AttachmentUnreachable, source, url, "localhost", "can't be connected to")


async def test_a_certificate_that_is_not_valid_is_refused_before_anything_is_said(server):
    source = HttpsFetcher([f"localhost:{server.port}"], [f"localhost:{server.port}"], 20)
    await fails(AttachmentUnreachable, source, server.url(), "localhost", "certificate")
    await source.close()
    assert server.requests == []


async def test_the_certificate_of_another_host_is_refused(server, fetcher, dns):
    dns.answers["other.example"] = [["127.0.0.1"]]
    source = fetcher(hosts=["other.example"], private=["other.example"])
    url = server.url("/", "other.example")
    await fails(AttachmentUnreachable, source, url, "other.example", "certificate")
    assert server.requests == []


async def test_what_speaks_no_tls_is_tried_again(scripted):
    async def plain(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with scripted(plain) as port:
        source = HttpsFetcher([f"localhost:{port}"], [f"localhost:{port}"], 20)
        await fails(AttachmentUnreachable, source, f"https://localhost:{port}/", "localhost")
        await source.close()


async def test_a_fetch_that_is_not_read_to_its_end_closes_its_connection(server, fetcher):
    closed = asyncio.Event()

    async def serve(writer):
        writer.write(response(CONTENT, length=10**6))
        try:
            await writer.wait_closed()
        finally:
            closed.set()

    server.replies["/"] = serve
    async with aclosing(fetcher().fetch(server.url(), LIMIT)) as chunks:
        async for _ in chunks:
            break
    await asyncio.wait_for(closed.wait(), 10)


async def test_a_cancelled_fetch_is_cancelled_and_no_error_of_ours(server, fetcher):
    asked = asyncio.Event()

    async def serve(writer):
        asked.set()
        await asyncio.Event().wait()

    server.replies["/"] = serve
    task = asyncio.create_task(read(fetcher(), server.url()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reader_that_pauses_too_long_is_told_so_and_not_cancelled(server, fetcher):
    """The time runs on between chunks, but ends only the fetch, never its reader's own work."""

    async def stall(writer):
        writer.write(response(CONTENT, length=10**6))
        await asyncio.Event().wait()

    server.replies["/"] = stall
    chunks = fetcher(seconds=0.3).fetch(server.url(), LIMIT)
    await anext(chunks)
    await asyncio.sleep(0.4)
    with pytest.raises(AttachmentUnreachable, match="took too long"):
        await joined(chunks)


async def test_without_hosts_nothing_is_fetched_and_aiohttp_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "workers.fetching.connections", None)
    source = HttpsFetcher([], [], 20)
    words = "localhost is not an allowed host"
    await fails(AttachmentUnavailable, source, "https://localhost/", words)
    await source.close()


def test_hosts_without_aiohttp_are_an_invalid_setting(monkeypatch):
    monkeypatch.setitem(sys.modules, "workers.fetching.connections", None)
    with pytest.raises(InvalidSetting, match=r"MAILER_ATTACHMENT_HOSTS.*celery-mailer\[url\]"):
        HttpsFetcher(["files.example"], [], 20)


def test_a_malformed_host_is_told_at_once():
    with pytest.raises(InvalidSetting, match="neither host nor host:port"):
        HttpsFetcher(["https://files.example/"], [], 20)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.215.14", "8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:2800:21f:cb07::1"),
        *("64:ff9b::8.8.8.8", "2002:808:808::1", "::ffff:8.8.8.8"),
    ],
)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.0.0.192"),
        *("192.0.2.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("255.255.255.255", "168.63.129.16", "100.100.100.200", "192.88.99.1"),
        *("::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:10.0.0.1"),
        *("64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::10.0.0.1", "2002:a00:1::1"),
        *("2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1", "fc00::1", "fd00:ec2::254"),
        *("fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "100::1", "4000::1"),
    ],
)
def test_other_addresses(address):
    assert not is_public(address)


# --- through fsspec


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.pipe("/tests/a.pdf", CONTENT)
    system.pipe("/other/secret.pdf", b"secret")
    yield system
    system.rm("/tests", recursive=True)
    system.rm("/other", recursive=True)


@pytest.fixture
def reader(memory):
    return ObjectReader(["memory://tests/", "faulty://x/", "unknown://x/", "gdrive://x/"], 20)


@pytest.fixture
def faulty(monkeypatch):
    """A file system whose files are what the test puts here, or fail as it says."""
    from fsspec import AbstractFileSystem

    class Faulty(AbstractFileSystem):
        protocol = "faulty"
        cachable = False
        opened = None

        def _open(self, path, mode="rb", **options):
            opened = type(self).opened
            if isinstance(opened, Exception):
                raise opened
            return opened

    fsspec.register_implementation("faulty", Faulty, clobber=True)
    return Faulty


class File:
    """A file without a size that reads as ``read`` does."""

    closed = False

    def __init__(self, read):
        self.read = read

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


async def test_an_object_is_read_in_chunks(reader):
    chunks = [chunk async for chunk in reader.fetch("memory://tests/a.pdf", len(CONTENT))]
    assert b"".join(chunks) == CONTENT
    assert [len(chunk) for chunk in chunks] == [262144, 262144, 243712]


async def test_an_object_outside_the_prefixes_is_not_read(reader):
    for uri in ("memory://other/secret.pdf", "memory://tests/../other/secret.pdf"):
        await fails(AttachmentUnavailable, reader, uri)
    await fails(AttachmentUnavailable, reader, "file:///etc/passwd", "Attachment.from_path")
    await fails(AttachmentUnavailable, reader, "memory://other/x", "MAILER_ATTACHMENT_URIS")


async def test_an_object_above_the_limit_is_refused_unread(reader):
    words = ("more than 767999 bytes", "MAILER_MAX_ATTACHMENT_BYTES")
    await fails(AttachmentUnavailable, reader, "memory://tests/a.pdf", *words, limit=767_999)


async def test_an_endless_object_is_refused_at_the_limit(reader, faulty):
    faulty.opened = File(bytes)
    await fails(AttachmentUnavailable, reader, "faulty://x/secret", "more than 1000000 bytes")
    assert faulty.opened.closed


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (FileNotFoundError("secret"), AttachmentUnavailable, "no such object"),
        (IsADirectoryError("secret"), AttachmentUnavailable, "no such object"),
        (PermissionError("secret"), AttachmentUnavailable, "may not be read"),
        (ImportError("Install it"), AttachmentUnavailable, "Install it"),
        (ConnectionResetError("secret"), AttachmentUnreachable, "ConnectionResetError"),
        (OSError(5, "secret"), AttachmentUnreachable, "OSError"),
        (ValueError("secret"), AttachmentUnreachable, "ValueError"),
        (TimeoutError("secret"), AttachmentUnreachable, "took too long"),
    ],
)
async def test_each_fault_of_a_file_system_is_told(reader, faulty, fault, error, words):
    faulty.opened = fault
    await fails(error, reader, "faulty://x/secret", "faulty://", words)

    def read(size):
        raise fault

    faulty.opened = File(read)
    await fails(error, reader, "faulty://x/secret", "faulty://", words)
    assert faulty.opened.closed


async def test_a_missing_object_is_final(reader):
    await fails(AttachmentUnavailable, reader, "memory://tests/secret", "no such object")
    await fails(AttachmentUnavailable, reader, "memory://tests/", "no such object")


async def test_a_protocol_without_its_library_says_what_to_install(reader):
    await fails(AttachmentUnavailable, reader, "gdrive://x/secret", "install gdrive_fs")
    await fails(AttachmentUnavailable, reader, "unknown://x/secret", "knows no protocol unknown")


async def test_a_read_that_hangs_ends_in_time_and_its_thread_closes_the_file(faulty):
    import threading

    let_go, closed = threading.Event(), threading.Event()

    class Hanging(File):
        def __exit__(self, *error):
            closed.set()

    def read(size):
        assert let_go.wait(20)
        return b"late"

    faulty.opened = Hanging(read)
    source = ObjectReader(["faulty://x/"], 0.1)
    words = ("took too long", "MAILER_ATTACHMENT_FETCH_SECONDS")
    await fails(AttachmentUnreachable, source, "faulty://x/secret", *words)
    assert not closed.is_set()
    let_go.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_an_object_that_is_not_read_to_its_end_is_closed(reader, faulty):
    faulty.opened = File(bytes)
    async with aclosing(reader.fetch("faulty://x/a", LIMIT)) as chunks:
        async for _ in chunks:
            break
    assert faulty.opened.closed


async def test_without_prefixes_nothing_is_read_and_fsspec_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    source = ObjectReader([], 20)
    await fails(AttachmentUnavailable, source, "memory://tests/a", "MAILER_ATTACHMENT_URIS")
    with pytest.raises(InvalidSetting, match=r"MAILER_ATTACHMENT_URIS.*celery-mailer\[uri\]"):
        ObjectReader(["memory://tests/"], 20)


def test_a_malformed_prefix_is_told_at_once():
    with pytest.raises(InvalidSetting, match="MAILER_ATTACHMENT_URIS"):
        ObjectReader(["file:///srv/"], 20)
