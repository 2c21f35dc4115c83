"""What several test tiers share: a real Redis server, and the store over a fake and a real one."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import attrs
import fakeredis
import hypothesis
import pytest
import redis
from fake_link import fake_runner

from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.job import Attempt, Decision, Job, JobState, Recipient, RecipientState
from mailer.loading import load_settings
from mailer.store.agenda import ENDED, Agenda, Assignment, Result
from mailer.store.blobs import Blobs
from mailer.store.jobs import Jobs
from mailer.store.keys import LANES, Keys, batch_of
from mailer.store.new_jobs import NewJob
from mailer.store.operation import Operation
from mailer.store.records import at, whole
from mailer.store.runners import AsyncRunner, SyncRunner
from mailer.store.suppressions import Suppressions
from mailer.testing import EmbeddedRedis

# the long form: CONTRIBUTING.md says how to choose it
hypothesis.settings.register_profile("long", max_examples=10_000, deadline=None)
# the suite tries the same examples every time: chance is for the long form
hypothesis.settings.register_profile("suite", derandomize=True)
hypothesis.settings.load_profile("suite")

_SETTINGS = load_settings(redis_url="redis://nowhere.invalid")
_WAITING = {JobState.SCHEDULED, JobState.QUEUED, JobState.DEFERRED}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One real server for the whole run; every test keeps to its own key prefix."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def key_prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@attrs.frozen
class Store:
    """The store's operations, the runner to run them by, and a look behind the scenes."""

    keys: Keys
    jobs: Jobs
    agenda: Agenda
    blobs: Blobs
    suppressions: Suppressions
    runner: SyncRunner | AsyncRunner
    raw: redis.Redis

    async def run(self, operation: Operation[Any]) -> Any:
        if isinstance(self.runner, SyncRunner):
            return self.runner.run(operation)
        return await self.runner.run(operation)

    async def run_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Run all of them at the same time, as far as the runner can."""
        if isinstance(self.runner, SyncRunner):
            calls = [asyncio.to_thread(self.runner.run, operation) for operation in operations]
        else:
            calls = [self.runner.run(operation) for operation in operations]
        return await asyncio.gather(*calls)

    @staticmethod
    def new_job(**fields: Any) -> NewJob:
        """Make a job of a plausible email, with ``fields`` of `Email` in place."""
        defaults = {"from_email": "shop@example.com", "to": ["jm@example.org"], "text": "Hi"}
        return new_job(Email(**(defaults | fields)), _SETTINGS)

    async def enqueued(self, count: int = 1, **fields: Any) -> list[str]:
        """Enqueue that many like emails; returns the jobs' ids."""
        receipts = await self.run(self.jobs.enqueue([self.new_job(**fields) for _ in range(count)]))
        return [receipt.id for receipt in receipts]

    async def begun(self, lease: float = 60, worker: str = "w1", **fields: Any) -> Assignment:
        """Enqueue one email and begin it."""
        (assignment,) = await self.run(
            self.agenda.begin(await self.enqueued(**fields), worker, lease)
        )
        return assignment

    def lease_is_over(self, job_id: str) -> None:
        """Make it so, as when a worker died a while ago."""
        self.raw.hset(self.keys.job(job_id), "lease", 0)

    async def job(self, job_id: str) -> Job:
        return (await self.run(self.jobs.get(job_id))).job

    async def state(self, job_id: str) -> JobState:
        return (await self.job(job_id)).state

    @staticmethod
    def result(
        assignment: Assignment,
        state: JobState = JobState.SENT,
        due_ms: int = ENDED,
        recipients: Sequence[RecipientState] | None = None,
        reply: str = "250 2.0.0 ok",
    ) -> Result:
        """Say what became of an attempt; by default everybody fared as the job did."""
        each = {
            JobState.SENT: RecipientState.ACCEPTED,
            JobState.DEFERRED: RecipientState.DEFERRED,
            JobState.FAILED: RecipientState.REFUSED,
            JobState.UNCONFIRMED: RecipientState.UNCONFIRMED,
        }.get(state, RecipientState.PENDING)
        states = recipients or [each] * len(assignment.recipients)
        return Result(
            lease=assignment.lease,
            state=state,
            due_ms=due_ms,
            tries=assignment.tries + 1,
            recipients=tuple(
                Recipient(r.address, s, reply)
                for r, s in zip(assignment.recipients, states, strict=True)
            ),
            attempt=Attempt(
                n=assignment.tries + 1,
                started_at=at(assignment.begun_ms),
                decision=Decision.RETRY if due_ms else Decision.SENT,
                reply=reply,
            ),
        )

    async def ended(self, state: JobState = JobState.SENT, **fields: Any) -> str:
        """Enqueue one email and let it end in ``state``."""
        assignment = await self.begun(**fields)
        assert await self.run(self.agenda.finish([self.result(assignment, state)])) == [True]
        return assignment.lease.job_id

    def now_ms(self) -> int:
        seconds, micros = self.raw.time()
        return seconds * 1000 + micros // 1000

    def record(self, job_id: str) -> dict[bytes, bytes]:
        return whole(self.raw.hgetall(self.keys.job(job_id)))

    def agenda_of(self, job_id: str) -> list[tuple[int, int]]:
        """Name each lane that holds the job, with the time at which it comes up."""
        scores = [self.raw.zscore(lane, job_id) for lane in self.keys.lanes]
        return [(i + 1, round(score)) for i, score in enumerate(scores) if score is not None]

    def everything(self) -> dict[bytes, Any]:
        """Dump all that is stored."""
        keys = sorted(self.raw.scan_iter(match=f"{self.keys.job('*')[:-5]}*", count=10_000))
        types = self.raw.pipeline(transaction=False)
        for key in keys:
            types.type(key)
        values = self.raw.pipeline(transaction=False)
        for key, kind in zip(keys, types.execute(), strict=True):
            match kind:
                case b"hash":
                    values.hgetall(key)
                case b"zset":
                    values.zrange(key, 0, -1, withscores=True)
                case b"stream":
                    values.xrange(key)
                case b"list":
                    values.lrange(key, 0, -1)
                case _:
                    values.get(key)
        return dict(zip(keys, values.execute(), strict=True))

    def wakes(self) -> tuple[int, int]:
        """Count the elements of ``wake`` and of ``wake:urgent``."""
        return self.raw.llen(self.keys.wake), self.raw.llen(self.keys.urgent_wake)

    def assert_consistent(self) -> None:
        """Assert what must hold at any time; the names of the two sides tell what is broken."""
        stored = self.everything()
        prefix = self.keys.job("").encode()
        records = {
            k.removeprefix(prefix): whole(v) for k, v in stored.items() if k.startswith(prefix)
        }
        expected_lanes: dict[int, set[bytes]] = {1: set(), 2: set(), 3: set()}
        expected_index: dict[JobState, set[bytes]] = {state: set() for state in JobState}
        blob_uses: dict[bytes, int] = {}
        for job_id, record in records.items():
            state = JobState(record[b"state"].decode())
            expected_index[state].add(job_id)
            if not state.ended:
                expected_lanes[int(record[b"lane"])].add(job_id)
            held = {b"lease", b"worker"} & record.keys()
            assert bool(held) is (state is JobState.SENDING), (job_id, state, held)
            if state is JobState.SENT:
                assert not {b"message", b"blobs"} & record.keys()
            else:
                assert b"message" in record
            for sha in record.get(b"blobs", b"").split():
                blob_uses[sha] = blob_uses.get(sha, 0) + 1
        prefix = self.keys.batch_prefix.encode()
        batches = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
        for batch in batches.values():
            for sha in batch[b"blobs"].split():
                blob_uses[sha] = blob_uses.get(sha, 0) + 1
        jobs_of = Counter(filter(None, (batch_of(job_id.decode()) for job_id in records)))
        counted = {digits.decode(): int(batch[b"jobs"]) for digits, batch in batches.items()}
        assert Counter(counted) == jobs_of, "a batch knows how many of its jobs are recorded"
        lanes = {
            i + 1: {job_id for job_id, _ in stored.get(lane.encode(), [])}
            for i, lane in enumerate(self.keys.lanes)
        }
        assert lanes == expected_lanes, "the agenda holds each job that has not ended, and only it"
        index = {
            state: {job_id for job_id, _ in stored.get(self.keys.state(state).encode(), [])}
            for state in JobState
        }
        assert index == expected_index, "the state indexes agree with the records"
        uses = stored.get(self.keys.blob_uses.encode(), {})
        assert {sha: int(n) for sha, n in uses.items()} == blob_uses
        prefix = self.keys.blob_prefix.encode()
        blobs = {key.removeprefix(prefix) for key in stored if key.startswith(prefix)}
        assert blobs == blob_uses.keys()
        assert all(self.raw.ttl(prefix + sha) == -1 for sha in blobs)
        assert max(self.wakes()) <= 1
        for job_id, record in records.items():
            self.jobs.get(job_id.decode()).parse(record)  # every record can be read


assert len(LANES) == 3, "assert_consistent counts on three lanes"


def store_on(
    raw: redis.Redis, runner: SyncRunner | AsyncRunner, prefix: str, idempotency_seconds: int = 3600
) -> Store:
    keys = Keys(prefix)
    jobs = Jobs(keys, idempotency_seconds=idempotency_seconds)
    return Store(keys, jobs, Agenda(keys), Blobs(keys), Suppressions(keys), runner, raw)


@pytest.fixture
def fake_store(key_prefix: str) -> Store:
    """The store over fakeredis, run synchronously."""
    client = fakeredis.FakeRedis()
    return store_on(client, fake_runner(client), key_prefix)


@pytest.fixture
def own_store(key_prefix: str) -> Iterator[Store]:
    """The store over a real server that no other test uses."""
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as raw:
        runner = SyncRunner.connect(server.url, 5)
        yield store_on(raw, runner, key_prefix)
        runner.close()


@pytest.fixture
async def real_store(redis_server: EmbeddedRedis, key_prefix: str) -> AsyncIterator[Store]:
    """The store over a real server, run asynchronously, as workers do."""
    runner = AsyncRunner.connect(redis_server.url, 5)
    with redis.Redis.from_url(redis_server.url) as raw:
        store = store_on(raw, runner, key_prefix)
        yield store
        if stored := store.everything():
            raw.delete(*stored)
    await runner.close()


@pytest.fixture(params=["sync", "async"])
def runner_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["fake", "real"])
async def store(
    request: pytest.FixtureRequest, runner_kind: str, key_prefix: str
) -> AsyncIterator[Store]:
    """The store over fakeredis and over a real server, by both runners; consistent in the end."""
    runner: SyncRunner | AsyncRunner
    if request.param == "fake":
        server = fakeredis.FakeServer()
        raw: redis.Redis = fakeredis.FakeRedis(server=server)
        runner = (
            fake_runner(fakeredis.FakeRedis(server=server))
            if runner_kind == "sync"
            else AsyncRunner(fakeredis.FakeAsyncRedis(server=server, max_connections=500), 5)
        )
    else:
        url = request.getfixturevalue("redis_server").url
        raw = redis.Redis.from_url(url)
        runner = (SyncRunner if runner_kind == "sync" else AsyncRunner).connect(url, 5)
    store = store_on(raw, runner, key_prefix)
    yield store
    try:
        store.assert_consistent()
    finally:
        if stored := store.everything():
            raw.delete(*stored)
        if isinstance(runner, SyncRunner):
            runner.close()
        else:
            await runner.close()
        raw.close()
