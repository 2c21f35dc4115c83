"""Replies of an SMTP server (RFC 5321, section 4.2), read from a stream of bytes, within limits."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

# RFC 5321 wants 512 bytes per line; servers write longer ones, and an attacker endless ones.
MAX_LINE = 4096
MAX_LINES = 100
MAX_TEXT = 1000  # characters kept of a reply: it goes on record for every recipient
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class MalformedReply(Exception):
    """What came is no SMTP reply, or has no end."""


class Reply(msgspec.Struct, frozen=True):
    """One reply, its lines joined with spaces.

    Attributes:
        code: for example 450.
        enhanced_code: for example ``4.7.1`` (RFC 3463), where there is one.
        text: the rest.
    """

    code: int
    enhanced_code: str | None
    text: str

    @classmethod
    def of(cls, code: int, text: str) -> "Reply":
        """Make a reply of what followed the code, taking the enhanced code out of the text."""
        text = _shown(text)[:MAX_TEXT]
        match = _ENHANCED.match(text)
        if not match:
            return cls(code, None, text)
        # the lines after the first repeat the enhanced code (RFC 2034, section 4)
        return cls(code, match[1], text[match.end() :].replace(f" {match[1]} ", " "))

    @property
    def positive(self) -> bool:
        """Whether the command was carried out (2yz)."""
        return 200 <= self.code < 300

    @property
    def intermediate(self) -> bool:
        """Whether the command may go on (3yz)."""
        return 300 <= self.code < 400

    def __str__(self) -> str:
        code = f"{self.code} {self.enhanced_code}" if self.enhanced_code else str(self.code)
        return f"{code} {self.text}" if self.text else code


def any_positive(replies: Sequence[Reply]) -> bool:
    """Whether the server agreed to some of what was said."""
    for reply in replies:  # noqa: SIM110 - a generator takes longer than one or two replies
        if 200 <= reply.code < 300:
            return True
    return False


def all_positive(replies: Sequence[Reply]) -> bool:
    """Whether the server agreed to all that was said."""
    for reply in replies:  # noqa: SIM110 - likewise
        if not 200 <= reply.code < 300:
            return False
    return True


def any_intermediate(replies: Sequence[Reply]) -> bool:
    """Whether the server waits for the rest of something."""
    for reply in replies:  # noqa: SIM110 - likewise
        if 300 <= reply.code < 400:
            return True
    return False


class ReplyParser:
    """Cuts a stream into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Take what arrived; give the replies that are complete now, also those before garbage.

        Raises:
            MalformedReply: the stream can't be read any further.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for ended in lines:
            line = _bounded(ended.rstrip(b"\r"))
            if line[3:4] != b"-" and not self._lines:
                yield _reply(line)
            elif reply := self._take(line):
                yield reply
        _bounded(self._rest)

    def _take(self, line: bytes) -> Reply | None:
        """Take a line of a reply that has several."""
        code, text = _cut(line)
        self._lines.append(text)
        if line[3:4] == b"-":
            if len(self._lines) >= MAX_LINES:
                raise MalformedReply(f"the reply has over {MAX_LINES} lines")
            return None
        text_of_all, self._lines = " ".join(self._lines), []
        return Reply.of(code, text_of_all)


def _bounded(line: bytes) -> bytes:
    """Refuse a line without end."""
    if len(line) > MAX_LINE:
        raise MalformedReply(f"a line of the reply is over {MAX_LINE} bytes long")
    return line


@lru_cache(maxsize=256)
def _reply(line: bytes) -> Reply:
    """Read a reply of one line; a server says the same to every MAIL and RCPT."""
    return Reply.of(*_cut(line))


def _cut(line: bytes) -> tuple[int, str]:
    """Cut a line into code and text."""
    code, separator, text = line[:3], line[3:4], line[4:]
    is_code = len(code) == 3 and code.isdigit() and b"200" <= code <= b"599"
    if not (is_code and separator in (b" ", b"-", b"")):
        raise MalformedReply(f"no SMTP reply: {line[:60]!a}")
    return int(code), text.decode("utf-8", "backslashreplace").strip()


def _shown(text: str) -> str:
    """Escape what would do something to a terminal or a log; printable ASCII is the rule."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
