"""A blocking connection to Redis over a socket of which the test holds the other end."""

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from mailer.store import link as module
from mailer.store.link import Link

PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


class Socket(socket.socket):
    """One that tells when a thread goes to sleep over it."""

    asleep: Callable[[], Any] = staticmethod(lambda: None)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not select.select([self], [], [], 0)[0]:
            self.asleep()
        return super().recv(size, flags)


class Server:
    """The other end of each connection that redis-py would make."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self._sock: Socket | None = None

    def connect(self) -> None:
        ours, end = socket.socketpair()
        self._sock = Socket(fileno=ours.detach())
        self._sock.settimeout(5)
        self.ends.append(end)

    def disconnect(self) -> None:
        if self._sock:
            self._sock.close()

    def say(self, data: bytes) -> None:
        self.ends[-1].sendall(data)

    def heard(self, size: int) -> bytes:
        return self.ends[-1].recv(size, socket.MSG_WAITALL)


class Moments:
    """Time that passes only as the test says, and what comes to pass while a thread looks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.each_look: Callable[[], Any] = lambda: None

    def perf_counter(self) -> float:
        return self.now

    def sched_yield(self) -> None:
        self.looks += 1
        self.each_look()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.disconnect()
    for end in server.ends:
        end.close()


@pytest.fixture
def link(server: Server) -> Link:
    return Link(server)  # type: ignore[arg-type]


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    moments = Moments()
    monkeypatch.setattr(module, "time", moments)
    monkeypatch.setattr(module, "os", moments)
    return moments


class TestReplies:
    def test_commands_go_out_as_they_are_and_replies_come_back_in_their_order(self, link, server):
        link.write([PING, PING])
        assert server.heard(2 * len(PING)) == PING + PING
        server.say(b"+one\r\n:2\r\n")
        assert link.read(2) == [b"one", 2]

    @pytest.mark.parametrize("at", range(1, 12))
    def test_one_that_comes_in_two_pieces_is_whole(self, link, server, at):
        reply = b"*2\r\n+ok\r\n:1\r\n"
        link.write([PING])
        server.say(reply[:at])
        server._sock.asleep = lambda: server.say(reply[at:])
        assert link.read(1) == [[b"ok", 1]]

    def test_what_comes_with_the_reply_before_is_kept_for_the_next_read(self, link, server):
        link.write([PING, PING])
        server.say(b"+one\r\n+two\r\n")
        assert link.read(1) == [b"one"]
        assert link.read(1) == [b"two"]

    def test_errors_are_replies_and_known_by_their_kind(self, link, server):
        link.write([PING] * 4)
        server.say(b"-NOSCRIPT none of it\r\n-OOM too much\r\n-ERR wrong\r\n-READONLY a copy\r\n")
        replies = link.read(4)
        assert [type(reply) for reply in replies] == [
            *(NoScriptError, OutOfMemoryError, ResponseError, ResponseError)
        ]
        assert [*map(str, replies)] == ["none of it", "too much", "wrong", "READONLY a copy"]

    def test_what_the_server_says_unasked_is_no_reply(self, link, server):
        link.write([PING])
        server.say(b">2\r\n+moving\r\n:1\r\n" + PONG)
        assert link.read(1) == [b"PONG"]


class TestFaults:
    def test_a_connection_that_the_server_closes_is_broken(self, link, server):
        link.write([PING])
        server.ends[-1].close()
        with pytest.raises(RedisConnectionError):
            link.read(1)

    def test_a_reply_that_breaks_off_is_none(self, link, server):
        link.write([PING])
        server.say(b"*2\r\n+ok\r\n")
        server.ends[-1].shutdown(socket.SHUT_WR)
        with pytest.raises(RedisConnectionError, match="closed the connection"):
            link.read(1)

    def test_a_server_that_is_silent_is_given_up(self, link, server):
        link.write([PING])
        server._sock.settimeout(0.01)
        with pytest.raises(RedisTimeoutError):
            link.read(1)

    def test_after_it_was_closed_no_old_reply_is_read(self, link, server):
        link.write([PING])
        server.say(b"*2\r\n+the first half of an old one\r\n")
        server._sock.settimeout(0.01)
        with pytest.raises(RedisTimeoutError):
            link.read(1)
        link.close()
        link.write([PING])
        assert len(server.ends) == 2
        server.say(PONG)
        assert link.read(1) == [b"PONG"]


class TestWaiting:
    """Awake for a moment where the last reply came at once, else asleep."""

    def replied(self, link: Link, server: Server, moments: Moments, seconds: float) -> int:
        """Give a reply that takes so long, whether the thread looks or sleeps; how often it looked.

        One that looks finds it when it looks again.
        """

        def reply() -> None:
            moments.now += seconds
            server.say(PONG)

        link.write([PING])
        moments.looks, moments.each_look = 0, reply
        server._sock.asleep = reply
        assert link.read(1) == [b"PONG"]
        return moments.looks

    def test_a_reply_that_comes_while_the_thread_looks_is_read_at_once(self, link, server, moments):
        assert [self.replied(link, server, moments, 50e-6) for _ in range(3)] == [1, 1, 1]

    def test_after_a_slow_one_it_sleeps_until_one_has_come_at_once(self, link, server, moments):
        looks = [self.replied(link, server, moments, s) for s in (1e-3, 1e-3, 50e-6, 50e-6)]
        assert looks == [1, 0, 0, 1]

    def test_where_a_thread_cannot_look_it_sleeps(self, link, server, moments, monkeypatch):
        monkeypatch.delattr(select, "poll")  # as eventlet does
        assert [self.replied(link, server, moments, 50e-6) for _ in range(2)] == [0, 0]

    def test_it_looks_for_a_moment_and_no_longer(self, link, server, moments):
        def pass_by() -> None:
            moments.now += 40e-6

        link.write([PING])
        moments.each_look = pass_by
        server._sock.asleep = lambda: server.say(PONG)
        assert link.read(1) == [b"PONG"]
        assert moments.looks == 3
