import asyncio
import time

import pytest

from mailer.errors import StoreUnavailable
from mailer.store.agenda import Lease
from workers.leases import Leases

A, B = Lease("a", 1), Lease("b", 1)


class Agenda:
    """Says what would be renewed."""

    def renew(self, leases, seconds):
        return list(leases)


class Runner:
    """Answers each renewal as told: the jobs that are gone, or an error."""

    def __init__(self):
        self.asked = []
        self.answer = set()
        self.meanwhile = lambda: None

    async def run(self, operation):
        self.asked.append(operation)
        self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def now(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: now[0])
    return now


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
def leases(runner):
    return Leases(Agenda(), runner, 60.0)


@pytest.fixture
def renewal(leases, monkeypatch):
    """Lets one round of renewals happen."""

    async def one_round():
        rounds = 0

        async def sleep(seconds):
            nonlocal rounds
            assert seconds == 20
            rounds += 1
            if rounds == 2:
                raise asyncio.CancelledError

        monkeypatch.setattr(asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await leases.keep_renewing()

    return one_round


def test_a_lease_is_held_from_the_moment_it_was_asked_for(now, leases):
    leases.take([A], asked_at=990.0)
    assert leases.holds(A)
    now[0] = 1049.9
    assert leases.holds(A)
    now[0] = 1050.0
    assert not leases.holds(A)


@pytest.mark.parametrize("lease", [Lease("a", 2), Lease("b", 1)], ids=["token", "job"])
def test_another_token_or_job_is_another_lease(now, leases, lease):
    leases.take([A], 1000.0)
    assert not leases.holds(lease)


def test_what_was_dropped_is_not_held(now, leases):
    leases.take([A, B], 1000.0)
    leases.drop([A, Lease("unknown", 1)])
    assert (leases.holds(A), leases.holds(B), len(leases)) == (False, True, 1)


async def test_a_renewed_lease_is_held_for_longer(now, leases, renewal):
    leases.take([A], 1000.0)
    now[0] = 1020.0
    await renewal()
    now[0] = 1079.9
    assert leases.holds(A)
    now[0] = 1080.0
    assert not leases.holds(A)


async def test_a_lease_counts_from_before_the_renewal_was_asked_for(now, leases, renewal, runner):
    leases.take([A], 1000.0)
    now[0] = 1020.0
    runner.meanwhile = lambda: now.__setitem__(0, 1050.0)
    await renewal()
    now[0] = 1080.0
    assert not leases.holds(A)


async def test_a_lease_that_is_gone_is_dropped(now, leases, renewal, runner):
    leases.take([A, B], 1000.0)
    runner.answer = {"a"}
    await renewal()
    assert (leases.holds(A), leases.holds(B)) == (False, True)


async def test_a_lease_dropped_meanwhile_does_not_come_back(now, leases, renewal, runner):
    leases.take([A, B], 1000.0)
    runner.meanwhile = lambda: leases.drop([A])
    await renewal()
    assert (leases.holds(A), leases.holds(B)) == (False, True)


async def test_while_redis_is_away_leases_run_out(now, leases, renewal, runner):
    leases.take([A], 1000.0)
    runner.answer = StoreUnavailable("away")
    await renewal()
    assert leases.holds(A)
    now[0] = 1060.0
    assert not leases.holds(A)


async def test_many_leases_are_renewed_in_portions(now, leases, renewal, runner):
    leases.take([Lease(str(n), 1) for n in range(1200)], 1000.0)
    await renewal()
    assert [len(asked) for asked in runner.asked] == [500, 500, 200]


async def test_without_leases_nothing_is_asked(leases, renewal, runner):
    await renewal()
    assert runner.asked == []
