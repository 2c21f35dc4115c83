import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.smtp.replies import MAX_LINE, MAX_LINES, MAX_TEXT, MalformedReply, Reply, ReplyParser

STREAM = (
    b"250-2.1.0 first\r\n250-2.1.0 second\r\n250 2.1.0 third\r\n"
    b"550 5.1.1 <jm@example.org> unknown\r\n354 go on\r\n421\r\n"
)
REPLIES = [
    Reply(250, "2.1.0", "first second third"),
    Reply(550, "5.1.1", "<jm@example.org> unknown"),
    Reply(354, None, "go on"),
    Reply(421, None, ""),
]


def read(*pieces):
    parser = ReplyParser()
    return [reply for piece in pieces for reply in parser.feed(piece)]


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_a_stream_may_be_split_at_any_byte(at):
    assert read(STREAM[:at], STREAM[at:]) == REPLIES


def test_a_stream_may_come_byte_by_byte():
    assert read(*(bytes([byte]) for byte in STREAM)) == REPLIES


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"250 2.0.0 queued\r\n", Reply(250, "2.0.0", "queued")),
        (b"250 queued\r\n", Reply(250, None, "queued")),
        (b"250\r\n", Reply(250, None, "")),
        (b"250 \r\n", Reply(250, None, "")),
        (b"250 2.0.0\r\n", Reply(250, "2.0.0", "")),
        (b"250 ok\n", Reply(250, None, "ok")),
        (b"452 4.5.3 too many\r\n", Reply(452, "4.5.3", "too many")),
        (b"250 2.0.0.1 no code\r\n", Reply(250, None, "2.0.0.1 no code")),
        (b"250 3.0.0 no class\r\n", Reply(250, None, "3.0.0 no class")),
        (b"250 2.1234.0 long\r\n", Reply(250, None, "2.1234.0 long")),
        (b"250-\r\n250 end\r\n", Reply(250, None, " end")),
        (b"250-one\r\n250\r\n", Reply(250, None, "one ")),
        (b"250-one\r\n550 two\r\n", Reply(550, None, "one two")),
    ],
    ids=ascii,
)
def test_a_reply_is_a_code_perhaps_an_enhanced_code_and_a_text(line, reply):
    assert read(line) == [reply]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"250 gr\xc3\xbc\xc3\x9fe\r\n", "grüße"),
        (b"250 gr\xfc\xdfe\r\n", r"gr\xfc\xdfe"),
        (b"250 a\x1b[2Jb\r\n", r"a\x1b[2Jb"),
        (b"250 a\rb\r\n", r"a\rb"),
        (b"250 a\x00b\r\n", r"a\x00b"),
        (b"250 a\xe2\x80\xaeb\r\n", r"a\u202eb"),
        (b"250 a\tb\r\n", r"a\tb"),
    ],
    ids=["utf-8", "latin-1", "escape", "bare cr", "nul", "bidi", "tab"],
)
def test_what_cannot_be_shown_is_escaped(raw, shown):
    """Replies go to terminals and logs: no server may write there as it likes."""
    (reply,) = read(raw)
    assert reply.text == shown


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n",
        b"hello\r\n",
        b"25\r\n",
        b"25a ok\r\n",
        b"250_ok\r\n",
        b"2500 ok\r\n",
        b"100 ok\r\n",
        b"600 ok\r\n",
        b"000\r\n",
        b" 250 ok\r\n",
        b"\x00\xff\xfe\r\n",
        b"\xd9\xa2\xd9\xa5 ok\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"250-one\r\nnonsense\r\n",
        b"+50 ok\r\n",
    ],
    ids=ascii,
)
def test_garbage_is_no_reply(garbage):
    with pytest.raises(MalformedReply):
        read(garbage)


def test_an_error_shows_only_the_beginning_of_the_garbage():
    with pytest.raises(MalformedReply) as caught:
        read(b"\x1b" * 4000 + b"\r\n")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("end", [b"", b"\r\n"], ids=["without end", "with an end"])
def test_a_line_is_bounded(end):
    with pytest.raises(MalformedReply, match="4096 bytes"):
        read(b"250 " + b"x" * MAX_LINE + end)


def test_a_line_without_end_is_given_up_at_its_bound():
    parser = ReplyParser()
    fed = 0
    with pytest.raises(MalformedReply):  # noqa: PT012 - which of the pieces is one too many is open
        while fed < 3_000_000:
            list(parser.feed(b"2" * 1000))
            fed += 1000
    assert fed <= MAX_LINE


def test_the_number_of_lines_is_bounded():
    most = b"250-x\r\n" * (MAX_LINES - 1)
    assert len(read(most + b"250 x\r\n")) == 1
    with pytest.raises(MalformedReply, match="100 lines"):
        read(most + b"250-x\r\n")


def test_what_is_kept_of_a_reply_is_bounded():
    (reply,) = read((b"250-" + b"x" * 4000 + b"\r\n") * 50 + b"250 x\r\n")
    assert len(reply.text) <= MAX_TEXT


def test_the_enhanced_code_of_each_line_is_left_out_of_the_text():
    (reply,) = read(b"550-5.7.1 You are\r\n550-5.7.1 not\r\n550 5.7.1 welcome\r\n")
    assert str(reply) == "550 5.7.1 You are not welcome"


@pytest.mark.parametrize(
    ("code", "done", "continues"),
    [
        (200, True, False),
        (250, True, False),
        (299, True, False),
        (300, False, True),
        (354, False, True),
        (399, False, True),
        (400, False, False),
        (599, False, False),
    ],
)
def test_2yz_is_done_and_3yz_goes_on(code, done, continues):
    reply = Reply.of(code, "")
    assert (reply.positive, reply.intermediate) == (done, continues)


@given(st.lists(st.binary(max_size=40)))
def test_nothing_but_malformed_reply_is_ever_raised(pieces):
    parser = ReplyParser()
    try:
        for piece in pieces:
            for reply in parser.feed(piece):
                assert 200 <= reply.code <= 599
                assert str(reply).isprintable()
    except MalformedReply:
        pass
