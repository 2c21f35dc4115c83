import asyncio

import pytest

from mailer.errors import StoreUnavailable
from mailer.job import JobState
from mailer.store.agenda import ENDED, Lease, Recorded, Result
from workers.journal import Journal


class Agenda:
    """Says what would be recorded."""

    def finish(self, results):
        return list(results)


class Runner:
    """Takes what it is given, once it may; away as often as told."""

    def __init__(self):
        self.groups = []
        self.times_away = 0
        self.may = asyncio.Event()
        self.may.set()

    async def run(self, operation):
        await self.may.wait()
        if self.times_away:
            self.times_away -= 1
            raise StoreUnavailable("away")
        self.groups.append(operation)
        return [Recorded.DONE] * len(operation)


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
async def journal(runner, monkeypatch):
    monkeypatch.setattr("workers.journal._FIRST_WAIT", 0)
    told = []
    journal = Journal(
        Agenda(), runner, lambda results, done: told.extend(zip(results, done, strict=True))
    )
    journal.told = told
    writing = asyncio.create_task(journal.keep_writing())
    yield journal
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


def result(job_id):
    return Result(Lease(job_id, 1), JobState.SENT, ENDED, 1, (), None)


A, B, C = map(result, "abc")


async def test_what_comes_while_a_group_is_written_goes_with_the_next(journal, runner):
    runner.may.clear()
    journal.add(A)
    await asyncio.sleep(0)
    journal.add(B)
    journal.add(C)
    runner.may.set()
    await journal.emptied()
    assert runner.groups == [[A], [B, C]]


async def test_while_redis_is_away_results_are_kept_and_written_in_the_end(journal, runner):
    runner.times_away = 3
    journal.add(A)
    journal.add(B)
    await journal.emptied()
    assert runner.groups == [[A, B]]
    assert journal.told == [(A, Recorded.DONE), (B, Recorded.DONE)]


async def test_it_is_empty_once_all_was_written_and_no_sooner(journal, runner):
    runner.may.clear()
    journal.add(A)
    emptied = asyncio.create_task(journal.emptied())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not emptied.done()
    runner.may.set()
    await emptied
    assert runner.groups == [[A]]
