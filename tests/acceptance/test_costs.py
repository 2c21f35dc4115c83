"""What an email costs on the way out, counted: through a real worker, from a queue that is full."""

import subprocess
import sys
from pathlib import Path

import pytest
import redis

from mailer import JobState

EMAILS = 200
TEXT = "A letter of some lines.\n" * 40
# Bytes to the relay per email: MAIL, RCPT, BDAT and the message, whose text has 1,000; and where
# several go in one write, RSET.
OCTETS = 1376
# Of the Lua steps: a batch is claimed and begun at once, and results are recorded in groups. A step
# for each email would be one more; on a slow machine groups are small.
STEPS = 0.6

SINK = Path(__file__).parents[2] / "benchmarks" / "sink.py"


@pytest.fixture
def sink(tmp_path, monkeypatch):
    """A server that counts, in a process of its own: its counters, and its port."""
    monkeypatch.syspath_prepend(SINK.parent)
    from sink import Counters

    counters = tmp_path / "counters"
    arguments = [sys.executable, SINK, counters]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Counters(counters), int(process.stdout.readline())
        finally:
            process.terminate()


def test_an_email_costs_few_bytes_and_few_steps(system, sink):
    counters, port = sink
    emails = [system.email(f"ann{i:03}@example.org", text=TEXT) for i in range(EMAILS)]
    ids = [receipt.id for receipt in system.mailer.enqueue_many(emails)]
    with redis.Redis.from_url(system.redis.url) as raw:
        raw.config_resetstat()
    with (
        redis.Redis.from_url(system.redis.url) as raw,
        system.worker(MAILER_RELAY_URL=f"smtp://127.0.0.1:{port}", MAILER_CONNECTIONS="10"),
    ):
        assert {system.ended(job, 60).state for job in ids} == {JobState.SENT}
        steps = raw.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert counters["messages"] == EMAILS
    # what is said once on each of ten connections is but little of it
    assert 0.97 * OCTETS < counters["bytes"] / EMAILS <= OCTETS
    # each message was written at once, if not several, and read in a piece or two
    assert counters["reads"] <= 2.2 * EMAILS
    assert steps / EMAILS <= STEPS
