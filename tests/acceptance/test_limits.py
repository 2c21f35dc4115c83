"""Limits across all workers: rates and connections, exact; paces learned from replies."""

from itertools import pairwise

import redis

from mailer import JobState
from mailer.testing import SmtpServerThread, eventually, slow, too_fast

ROUNDS = 5  # seconds of sending


def configure(system, toml):
    file = system.folder / "mailer.toml"
    file.write_text(toml)
    system.settings.pop("MAILER_RELAY_URL", None)
    system.settings["MAILER_CONFIG"] = str(file)


def most_within(moments, seconds):
    """Count the most messages in any time of that length."""
    moments, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_four_workers_together_send_100_a_second_and_no_more(system, smtp):
    """Never more than 100 in any second plus the burst, and at least 95 % of it used."""
    rate, burst = 100, 10
    limit = f'rate = "{rate}/s"\nburst = {burst}'
    configure(system, f'[relays.main]\nurl = "{smtp.url}"\n{limit}')
    with (
        system.worker("w1"),
        system.worker("w2"),
        system.worker("w3"),
        system.worker("w4"),
    ):
        count = rate * ROUNDS
        ids = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(count))]
        jobs = [system.ended(job, 60) for job in ids]
    assert {job.state for job in jobs} == {JobState.SENT}
    moments = sorted(message.at for message in smtp.received)
    assert len(moments) == count, "none lost, none twice"
    assert most_within(moments, 1.0) <= rate + burst
    used = (count - burst) / (moments[-1] - moments[0])
    assert used >= 0.95 * rate
    assert {len(job.attempts) for job in jobs} == {1}


def test_a_few_connections_are_shared_by_all_workers(system):
    with SmtpServerThread(faults=[slow(0.05)]) as smtp:
        configure(
            system,
            f"""
            relays.main.url = "{smtp.url}"
            [limits.careful]
            recipient_domains = "*"
            connections = 2
            """,
        )
        with system.worker("w1"), system.worker("w2"), system.worker("w3"):
            ids = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(60))]
            assert {system.ended(job, 60).state for job in ids} == {JobState.SENT}
        moments = sorted(message.at for message in smtp.received)
        # each takes 50 ms: three at a time would end within less
        closest = min(c - a for (a, _), (_, c) in pairwise(pairwise(moments)))
        assert closest >= 0.04
        together = any(b - a < 0.04 for a, b in pairwise(moments))
        assert together, "two at a time; one after the other, none would be that close"


def test_a_killed_worker_s_connections_come_back(system):
    with SmtpServerThread(faults=[slow(30.0)]) as smtp:
        configure(
            system,
            f'relays.main.url = "{smtp.url}"\nrelays.main.max_connections = 1\n',
        )
        with system.worker("w1") as worker:
            first = system.enqueue()
            eventually(lambda: smtp.faults[0].happened)
            waiting = system.enqueue()
            held = eventually(lambda: system.mailer.get(waiting).held)
            assert held == "relay main is used up for now"
            worker.kill()
        permits = f"{{{system.settings['MAILER_KEY_PREFIX']}}}:permits:relay main"
        with redis.Redis.from_url(system.redis.url) as client:
            assert client.zcard(permits) == 1
            assert 0 < client.pttl(permits) <= 2 * 3_600_000
            ((member, _),) = client.zrange(permits, 0, -1, withscores=True)
            client.zadd(permits, {member: 1})  # as if its time had passed
        smtp.faults.clear()
        with system.worker("w2"):
            assert system.ended(waiting).state is JobState.SENT
            assert system.ended(first).state is JobState.SENT


def test_who_is_not_limited_does_not_wait_for_those_who_are(system, smtp):
    configure(
        system,
        f"""
        relays.main.url = "{smtp.url}"
        [limits.slow]
        recipient_domains = ["slow.example", "*.slow.example"]
        rate = "2/s"
        burst = 1
        """,
    )
    with system.worker():
        both = [system.enqueue(["ann@slow.example", "ann@example.org"]) for _ in range(6)]
        others = [system.enqueue() for _ in range(20)]
        assert {system.ended(job).state for job in others} == {JobState.SENT}
        assert smtp.state.count >= 20
        jobs = [system.ended(job) for job in both]
    assert {job.state for job in jobs} == {JobState.SENT}
    assert {len(job.attempts) for job in jobs} == {2}, "the limited ones apart"
    slow_ones = [m.at for m in smtp.received if m.recipients == ("ann@slow.example",)]
    assert len(slow_ones) == 6
    assert most_within(slow_ones, 1.0) <= 3


def test_a_server_that_wants_less_gets_less(system, smtp):
    """No setting: "too many" slows that domain down, and success speeds it up again."""
    smtp.faults += [too_fast(3, at="rcpt")]
    with system.worker():
        ids = [system.enqueue() for _ in range(12)]
        paces = eventually(system.mailer.paces)
        assert "too many" in paces["domain example.org"].reason.lower()
        jobs = [system.ended(job, 40) for job in ids]
        assert {job.state for job in jobs} == {JobState.SENT}
        refused = sum(len(job.attempts) - 1 for job in jobs)
        assert refused <= 12, "it was not asked in vain again and again"
        slowest = system.mailer.paces()["domain example.org"].interval
        smtp.faults.clear()

        def is_quicker():
            system.ended(system.enqueue())
            paces = system.mailer.paces()
            return not paces or paces["domain example.org"].interval < slowest

        eventually(is_quicker, timeout=30)
