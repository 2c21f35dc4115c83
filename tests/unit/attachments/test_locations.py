import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.attachments.locations import (
    endpoint,
    require_allowed_uri,
    require_allowed_url,
    require_prefix,
)
from mailer.errors import AttachmentUnavailable, InvalidSetting

HOSTS = ["files.example", "cdn.example:8443", "Bücher.example", "10.0.0.5", "[2001:DB8::1]:444"]
PREFIXES = ["s3://invoices/", "gs://bucket/reports", "memory://tests/", "abfs://c@acc.example/x/"]


def refused_url(url, hosts=HOSTS):
    with pytest.raises(AttachmentUnavailable) as caught:
        require_allowed_url(url, hosts)
    return str(caught.value)


def refused_uri(uri, prefixes=PREFIXES):
    with pytest.raises(AttachmentUnavailable) as caught:
        require_allowed_uri(uri, prefixes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://files.example/a.pdf", "https://files.example/a.pdf"),
        ("https://files.example", "https://files.example/"),
        ("https://files.example?a=1", "https://files.example/?a=1"),
        ("HTTPS://Files.EXAMPLE.:443/A", "https://files.example/A"),
        ("https://files.example:0443/", "https://files.example/"),
        ("https://cdn.example:8443/x?y=1&z=%2F#part", "https://cdn.example:8443/x?y=1&z=%2F"),
        ("https://bücher.example/ü.pdf", "https://xn--bcher-kva.example/%C3%BC.pdf"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://ｆｉｌｅｓ。example/", "https://files.example/"),  # noqa: RUF001
        ("https://10.0.0.5/a%2fb", "https://10.0.0.5/a%2fb"),
        ("https://[2001:db8:0:0::1]:444/", "https://[2001:db8::1]:444/"),
        ("https://files.example/a/../b//c", "https://files.example/a/../b//c"),
        ("https://files.example/?u=https://evil.example/@", None),
    ],
)
def test_a_url_of_an_allowed_host_is_read(url, read):
    assert str(require_allowed_url(url, HOSTS)) == (read or url)


@pytest.mark.parametrize(
    "url",
    [
        *("https://evil.example/", "https://files.example:8443/", "https://cdn.example/"),
        *("https://sub.files.example/", "https://files.example.evil.example/"),
        *("https://evilfiles.example/", "https://localhost/", "https://127.0.0.1/"),
        *("https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/"),
        *("https://[::1]/", "https://[::ffff:10.0.0.5]/", "https://[::ffff:a00:5]/"),
        *("https://[2001:db8::1]/", "https://10.0.0.5:8443/", "https://167772165/"),
        *("https://１２７.０.０.１/", "https://ⓛocalhost/"),  # noqa: RUF001
    ],
)
def test_a_url_of_another_host_is_refused_and_the_setting_named(url):
    sentence = refused_url(url + "secret?token=secret")
    assert "is not an allowed host; add it to MAILER_ATTACHMENT_HOSTS" in sentence
    assert "secret" not in sentence


def test_the_refused_host_is_named_as_it_has_to_be_added():
    assert "cdn.example:81 is not" in refused_url("https://CDN.example:81/")
    assert "xn--mnchen-3ya.example is not" in refused_url("https://münchen.example/")
    assert "[::1]:81 is not" in refused_url("https://[0::1]:81/")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://files.example/", "does not begin with https://"),
        ("ftp://files.example/", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("//files.example/", "does not begin with https://"),
        ("files.example", "does not begin with https://"),
        ("", "does not begin with https://"),
        ("https:files.example/", "has no host"),
        ("https:///files.example/", "has no host"),
        ("https://", "has no host"),
        ("https://files.example:/", "malformed"),
        ("https://files.example:99999/", "malformed"),
        ("https://files.example:0/", "malformed"),
        ("https://files.example:+443/", "malformed"),
        ("https://files.example:٤٤٣/", "malformed"),
        ("https://files.example../", "malformed"),
        ("https://.files.example/", "malformed"),
        ("https://files%2eexample/", "malformed"),
        ("https://files.example%00.evil.example/", "malformed"),
        ("https://[files.example]/", "malformed"),
        ("https://[fe80::1%25eth0]/", "malformed"),
        ("https://[::1]files.example/", "malformed"),
        ("https://files.example[::1]/", "malformed"),
        ("https://[::1/", "malformed"),
        ("https://files.example℀.evil.example/", "malformed"),
        ("https://" + "a" * 64 + ".example/", "malformed"),
        ("https://user:password@files.example/", "a user or a password"),
        ("https://files.example@evil.example/", "a user or a password"),
        ("https://files.example:443@evil.example/", "a user or a password"),
        ("https://@files.example/", "a user or a password"),
        ("https://evil.example\\@files.example/", "a backslash"),
        ("https://files.example\\.evil.example/", "a backslash"),
        ("https://files.example/a b", "a space"),
        (" https://files.example/", "a space"),
        ("https://files.example/\u3000", "a space"),
        ("https://files.exa\tmple/", "a control character"),
        ("https://files.example/\r\nX-Header: 1", "a control character"),
        ("https://files.example/\0", "a control character"),
        ("\x01https://files.example/", "a control character"),
        ("https://files.example/\ud800", "a control character"),
        ("https://files.example/" + "a" * 8000, "over 8000 characters"),
    ],
)
def test_what_is_no_plain_https_url_is_refused(url, words):
    sentence = refused_url(url)
    assert words in sentence
    assert "password@" not in sentence
    assert len(sentence) < 250


def test_without_hosts_nothing_is_allowed():
    assert "MAILER_ATTACHMENT_HOSTS" in refused_url("https://files.example/", [])


def test_what_a_url_asks_for_is_not_shown_by_repr():
    assert "token" not in repr(require_allowed_url("https://files.example/?token=1", HOSTS))


@pytest.mark.parametrize(
    "entry", ["", "https://files.example", "files.example/", "a b", "*.example", "::1", "a:b", "a:"]
)
def test_a_malformed_host_is_an_invalid_setting(entry):
    with pytest.raises(InvalidSetting, match="MAILER_ATTACHMENT_HOSTS"):
        require_allowed_url("https://files.example/", [entry])


PIECES = st.sampled_from(
    [
        *("https://", "https:", "//", "files.example", "evil.example", "cdn.example:8443", "[::1]"),
        *("@", "\\", "#", "?", "/", ":", ".", "%2e", "%40", "443", "8443", "127.0.0.1", "[", "]"),
        *("。", "／", "＠", "\u200b", "ß", "℀", "\t", "\n", "\0"),  # noqa: RUF001
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=8).map("".join))
@example("files.example/../@evil.example")
def test_whatever_is_allowed_leads_to_a_listed_host_for_every_parser(rest):
    """What was read leads nowhere else by the parser of the standard library, nor by aiohttp's."""
    from urllib.parse import urlsplit

    from yarl import URL

    try:
        found = require_allowed_url(f"https://{rest}", HOSTS)
    except AttachmentUnavailable:
        return
    listed = {endpoint(entry) for entry in HOSTS}
    assert (found.host, found.port) in listed
    parts = urlsplit(str(found))
    assert (parts.scheme, parts.hostname, parts.port or 443) == ("https", found.host, found.port)
    url = URL(str(found), encoded=True)
    assert (url.scheme, url.raw_host, url.port) == ("https", found.host, found.port)
    assert url.raw_path_qs == found.target
    assert str(found).isascii()
    assert set(str(found)) <= set(string.printable) - set(string.whitespace) - set('\\"<>^`{|}#')


@given(st.from_regex(r"[a-z0-9.-]{1,20}(:[0-9]{1,4})?", fullmatch=True))
def test_no_name_outside_the_hosts_passes(authority):
    try:
        known = endpoint(authority) in {endpoint(entry) for entry in HOSTS}
    except InvalidSetting:
        known = False
    if not known:
        refused_url(f"https://{authority}/")


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://invoices/a.pdf", "s3://invoices/2026/a b ü.pdf", "s3://invoices/100%.pdf"),
        *("s3://invoices/a%20b", "s3://invoices/..a/b..", "s3://invoices/...", "memory://tests/a"),
        *("gs://bucket/reports", "gs://bucket/reports/a", "abfs://c@acc.example/x/a*[1].pdf"),
    ],
)
def test_a_uri_under_an_allowed_prefix_passes(uri):
    require_allowed_uri(uri, PREFIXES)


@pytest.mark.parametrize(
    "uri",
    [
        *("s3://invoices", "s3://invoices-secret/a", "s3://other/a", "s3a://invoices/a"),
        *("gs://bucket/reports-secret", "gs://bucket/", "s3://Invoices/a", "s3://x@invoices/a"),
        *("s3://invoices%2Fa", "memory://a", "sftp://host/a"),
    ],
)
def test_a_uri_outside_is_refused_and_the_setting_named(uri):
    assert "MAILER_ATTACHMENT_URIS" in refused_uri(uri)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://invoices/../other/a", "has . or .."),
        ("s3://invoices/./a", "has . or .."),
        ("s3://invoices/..", "has . or .."),
        ("s3://invoices/%2e%2E/a", "has . or .."),
        ("s3://invoices/.%2e%2fa", "has . or .."),
        ("s3://invoices/%252e%252e/a", "has . or .."),
        ("s3://invoices/%25252525252e./a", "several times"),
        ("s3://invoices/..%5ca", "a backslash"),
        ("s3://invoices/..\\a", "a backslash"),
        ("s3://invoices/a\n", "a control character"),
        ("s3://invoices/a%00", "a control character"),
        ("s3://invoices/a\ud800", "a control character"),
        ("s3://invoices/a?versionId=1", "? or #"),
        ("s3://invoices/a#b", "? or #"),
        ("zip://a::s3://invoices/a.zip", "Attachment.from_bytes"),
        ("s3://invoices/a::file:///etc/passwd", "chains"),
        ("simplecache::s3://invoices/a", "chains"),
        ("s3://invoices/s3://other/a", "of the form"),
        ("S3://invoices/a", "of the form"),
        ("s3:///invoices/a", "of the form"),
        ("s3:invoices/a", "of the form"),
        ("/etc/passwd", "of the form"),
        ("data:,a", "of the form"),
        ("", "of the form"),
        ("file:///etc/passwd", "Attachment.from_path"),
        ("file://x/etc/passwd", "Attachment.from_path"),
        ("local://x/etc/passwd", "Attachment.from_path"),
        ("https://files.example/a", "Attachment.from_url"),
        ("http://files.example/a", "Attachment.from_url"),
        ("ftp://files.example/a", "Attachment.from_bytes"),
        ("data://x/a", "Attachment.from_bytes"),
        ("reference://x/a", "Attachment.from_bytes"),
        ("zip://x/a", "Attachment.from_bytes"),
        ("s3://invoices/" + "a" * 8000, "over 8000 characters"),
    ],
)
def test_a_uri_with_a_trick_in_it_is_refused(uri, words):
    assert words in refused_uri(uri, [*PREFIXES])


def test_a_key_and_a_password_are_not_repeated():
    sentence = refused_uri("sftp://user:password@host/secret-key")
    assert "sftp://host " in sentence
    assert "password" not in sentence
    assert "secret" not in sentence


def test_without_prefixes_nothing_is_allowed():
    assert "MAILER_ATTACHMENT_URIS" in refused_uri("memory://a/b", [])


@pytest.mark.parametrize(
    "entry", ["", "s3", "s3://", "s3:///", "file:///srv/", "https://a/", "s3://a/../b", "s3://a?b"]
)
def test_a_malformed_prefix_is_an_invalid_setting(entry):
    with pytest.raises(InvalidSetting, match="MAILER_ATTACHMENT_URIS"):
        require_prefix(entry)


@given(st.lists(st.sampled_from([*"./%:?#\\a", "..", "%2e", "%2f", "25", "://"])).map("".join))
def test_whatever_uri_is_allowed_stays_below_its_prefix(rest):
    """Even a file system that decodes and resolves the path, several times, stays there."""
    import posixpath
    from urllib.parse import unquote

    try:
        require_allowed_uri(f"s3://invoices/{rest}", PREFIXES)
    except AttachmentUnavailable:
        return
    path = f"/invoices/{rest}"
    for _ in range(10):
        assert f"{posixpath.normpath(path)}/".startswith("/invoices/")
        path = unquote(path)
