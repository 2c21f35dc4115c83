"""A large backlog slows nothing down; a full one takes emails again, once some were delivered."""

import statistics
from collections.abc import Iterator

import psutil
import pytest
import redis

from mailer import AsyncMailer, Email, JobState, Mailer, QueueFull, load_settings
from mailer.store.agenda import Agenda
from mailer.store.keys import Keys
from mailer.store.runners import SyncRunner
from mailer.testing import EmbeddedRedis, eventually

SMALL, LARGE = 1_000, 50_000
HOUR = 3600.0


@pytest.fixture(scope="module")
def backlogs() -> Iterator[EmbeddedRedis]:
    """A server with two backlogs, under the prefixes `small` and `large`."""
    email = Email(from_email="a@example.com", to="b@example.org", subject="Hi", text="Hi\n")
    with EmbeddedRedis() as server:
        for prefix, size in (("small", SMALL), ("large", LARGE)):
            with Mailer(settings=load_settings(redis_url=server.url, key_prefix=prefix)) as mailer:
                mailer.enqueue_many(email for _ in range(size))
        yield server


def time_of_claims(server: EmbeddedRedis) -> dict[str, float]:
    """Claim from each in turn; return the server's own median time (µs) by prefix.

    Always the same jobs: so what is compared is the work, and not the processor's caches.
    """
    took: dict[str, list[float]] = {"small": [], "large": []}
    runner = SyncRunner.connect(server.url, 5)
    with redis.Redis.from_url(server.url) as raw:
        for _ in range(150):
            for prefix, times in took.items():
                agenda = Agenda(Keys(prefix))
                raw.config_resetstat()
                claim = runner.run(agenda.claim(100, 100, HOUR))
                times.append(raw.info("commandstats")["cmdstat_evalsha"]["usec"])
                ids = [job_id for lane in claim.ids.values() for job_id in lane]
                assert len(ids) == 100
                assert runner.run(agenda.undispatch(ids)) == 100
    runner.close()
    return {prefix: statistics.median(times) for prefix, times in took.items()}


def test_a_claim_takes_no_longer_with_fifty_times_as_many_jobs(backlogs):
    """As the server counts it; once more where the machine was busy with something else."""
    for tries_left in (1, 0):
        took = time_of_claims(backlogs)
        if took["large"] <= 1.5 * took["small"] or not tries_left:
            break
    assert took["large"] <= 1.5 * took["small"]


def test_the_memory_of_a_worker_does_not_depend_on_the_backlog(system, smtp, backlogs):
    """Each of two has sent 800; one has 200 left, the other 49,200."""
    smtp.state.options.keep = False
    system.settings["MAILER_REDIS_URL"] = backlogs.url
    used = {}
    for prefix in ("small", "large"):
        settings = load_settings(redis_url=backlogs.url, key_prefix=prefix)
        with (
            Mailer(settings=settings) as mailer,
            system.worker(prefix, MAILER_KEY_PREFIX=prefix) as worker,
        ):
            eventually(lambda mailer=mailer: mailer.counts()[JobState.SENT] >= 800)
            used[prefix] = psutil.Process(worker.pid).memory_info().rss
            assert not mailer.counts()[JobState.FAILED]
    assert used["large"] - used["small"] < 20 * 2**20


async def test_a_full_backlog_takes_emails_again_once_a_worker_has_delivered(system, smtp):
    email = system.email()
    settings = load_settings(
        redis_url=system.redis.url, key_prefix=system.settings["MAILER_KEY_PREFIX"], max_backlog=30
    )
    with Mailer(settings=settings) as mailer:
        async with AsyncMailer(settings=settings) as other:
            mailer.enqueue_many([email] * 30)
            with pytest.raises(QueueFull):
                mailer.enqueue(email)
            with pytest.raises(QueueFull):
                await other.enqueue(email)
            with system.worker():
                eventually(lambda: mailer.counts()[JobState.SENT] == 30)
                again = [mailer.enqueue(email), await other.enqueue(email)]
                assert [system.ended(each.id).state for each in again] == [JobState.SENT] * 2
    assert smtp.state.count == 32
