"""The connection to Redis that all tasks of an event loop share, on real servers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from mailer.errors import StoreUnavailable
from mailer.store.operation import Operation, run_command
from mailer.store.runners import AsyncRunner
from mailer.testing import EmbeddedRedis
from mailer.testing.link import SlowLink

_TIMEOUT = 0.5


def echo(word: str) -> Operation[str]:
    return run_command("ECHO", word, parse=bytes.decode)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A server that no other test uses: it is frozen and restarted."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def link(server: EmbeddedRedis) -> Iterator[SlowLink]:
    with SlowLink(server.port) as link:
        yield link


@pytest.fixture
async def runner(link: SlowLink) -> AsyncIterator[AsyncRunner]:
    runner = AsyncRunner.connect(f"redis://127.0.0.1:{link.port}/1", _TIMEOUT)
    assert await runner.run(echo("warm")) == "warm"
    yield runner
    await runner.close()


async def test_what_many_ask_at_once_crosses_at_once(runner, link):
    before = link.turns
    words = [str(i) for i in range(200)]
    assert await asyncio.gather(*(runner.run(echo(word)) for word in words)) == words
    assert link.connections == 1
    assert link.turns - before <= 2


async def test_each_hears_the_answers_to_all_that_it_asked(runner):
    asked = [[f"{i}.{j}" for j in range(3)] for i in range(50)]
    answers = await asyncio.gather(*(runner.run_many([*map(echo, words)]) for words in asked))
    assert answers == asked


async def test_an_error_is_told_only_to_who_made_it(runner, link):
    wrong = run_command("HGET", "too few words", parse=bytes)
    refused, answer = await asyncio.gather(
        runner.run(wrong), runner.run(echo("right")), return_exceptions=True
    )
    assert isinstance(refused, StoreUnavailable)
    assert "Redis refused" in str(refused)
    assert answer == "right"
    assert link.connections == 1


async def test_the_answer_to_one_who_gave_up_is_given_to_nobody_else(runner, server, link):
    server.pause()
    impatient, patient = (asyncio.create_task(runner.run(echo(word))) for word in "ab")
    await asyncio.sleep(0.01)  # both have asked
    impatient.cancel()
    await asyncio.wait([impatient])
    later = asyncio.create_task(runner.run(echo("c")))
    server.resume()
    assert await patient == "b"
    assert await later == "c"
    assert impatient.cancelled()
    assert link.connections == 1


async def test_a_server_that_hangs_keeps_nobody_longer_than_the_timeout(runner, server):
    server.pause()
    begun = asyncio.get_running_loop().time()
    asking = [runner.run(echo(word)) for word in "abc"]
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert asyncio.get_running_loop().time() - begun < 2 * _TIMEOUT
    assert {str(error) for error in told} == {
        "Redis did not answer within 0.5 s (MAILER_STORE_TIMEOUT_SECONDS)"
    }
    server.resume()
    assert await runner.run(echo("again")) == "again"


async def test_a_restart_of_the_server_is_not_noticed(runner, server):
    server.restart()
    words = ["a", "b", "c"]
    assert await asyncio.gather(*(runner.run(echo(word)) for word in words)) == words


async def test_a_server_that_is_away_is_told_of_to_all_who_ask(runner, server):
    server.stop()
    told = await asyncio.gather(*(runner.run(echo(w)) for w in "abc"), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in told)
    assert all("MAILER_REDIS_URL" in str(error) for error in told)
    server.start()
    assert await runner.run(echo("again")) == "again"


async def test_what_blocks_holds_nobody_up(runner):
    wait = run_command("BLPOP", "nothing", _TIMEOUT / 2, parse=lambda reply: reply, blocks=True)
    waiting = asyncio.create_task(runner.run(wait, timeout=10 * _TIMEOUT))
    for word in "abc":
        assert await runner.run(echo(word)) == word
    assert not waiting.done()
    assert await waiting is None
