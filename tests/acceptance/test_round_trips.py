"""How often a message waits for its server, counted on the wire; through a real worker."""

import statistics
from itertools import pairwise

import pytest

from mailer import JobState
from mailer.testing import eventually
from mailer.testing.link import SlowLink

PIPELINING = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
CHUNKING = (*PIPELINING, "CHUNKING")


def delivered(system, smtp, extensions, count, round_trip=0.0):
    """Send through one connection; returns what arrived, and the round trips on the wire."""
    smtp.state.options.extensions = extensions
    ids = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(count))]
    with SlowLink(smtp.port, round_trip) as link:
        url = f"smtp://127.0.0.1:{link.port}"
        with system.worker(MAILER_RELAY_URL=url, MAILER_CONNECTIONS="1"):
            assert {system.ended(job, 60).state for job in ids} == {JobState.SENT}
            assert link.connections == 1
            return smtp.received, link.turns


@pytest.mark.parametrize(
    ("extensions", "first", "others"),
    [(CHUNKING, 2, 1), (("8BITMIME",), 4, 4)],
    ids=["CHUNKING", "neither"],
)
def test_a_message_takes_as_few_round_trips_as_its_server_allows(
    system, smtp, extensions, first, others
):
    received, turns = delivered(system, smtp, extensions, 20)
    assert [message.turns for message in received] == [first] + [others] * 19
    ehlo = 1
    assert turns == ehlo + first + others * 19
    assert smtp.state.breaches == []


def test_the_commands_of_a_message_go_in_one_write_with_the_one_before(system, smtp):
    """So that each takes one round trip; the first ones take two, and those that begin a row."""
    received, turns = delivered(system, smtp, PIPELINING, 60)
    assert len(received) == 60
    assert 60 < turns <= 80
    assert smtp.state.breaches == []


@pytest.mark.parametrize(
    ("extensions", "least"), [(CHUNKING, 18), (PIPELINING, 18)], ids=["CHUNKING", "PIPELINING"]
)
def test_a_connection_is_as_quick_as_a_delay_of_50_ms_allows(system, smtp, extensions, least):
    received, _ = delivered(system, smtp, extensions, 40, round_trip=0.05)
    # the quicker ones tell what is possible; others had to wait for the processor
    gap, *_ = statistics.quantiles(b.at - a.at for a, b in pairwise(received[2:]))
    assert 1 / gap >= least


def test_500_emails_use_no_more_connections_than_the_pool_has(system, smtp):
    ids = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(500))]
    with system.worker(MAILER_CONNECTIONS="5"):
        assert {system.ended(job, 60).state for job in ids} == {JobState.SENT}
    assert smtp.state.count == 500
    assert smtp.state.connections <= 5


def test_a_server_that_ends_connections_after_a_few_messages_costs_no_attempt(system, smtp):
    """Whether it says 421, or closes: no email fails for it, and none waits."""
    smtp.state.options.max_messages = 7
    ids = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(100))]
    with system.worker(MAILER_CONNECTIONS="3"):
        jobs = [system.ended(job, 60) for job in ids]
    assert {job.state for job in jobs} == {JobState.SENT}
    assert [len(job.attempts) for job in jobs] == [1] * 100
    assert smtp.state.count == 100


@pytest.mark.parametrize("extensions", [CHUNKING, PIPELINING], ids=["CHUNKING", "PIPELINING"])
def test_a_server_that_closes_idle_connections_costs_no_attempt(system, smtp, extensions):
    smtp.state.options.extensions = extensions
    smtp.state.options.idle_seconds = 0.2
    with system.worker(MAILER_CONNECTIONS="1"):
        for _ in range(5):
            before = smtp.state.connections
            job = system.ended(system.enqueue())
            assert [len(job.attempts), job.state] == [1, JobState.SENT]
            eventually(lambda: not smtp.state.clients)
            assert smtp.state.connections == before + 1
    assert smtp.state.count == 5
