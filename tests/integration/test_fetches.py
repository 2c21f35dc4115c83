"""Attachments that are fetched: once, kept, and pinned on the record of each job."""

import asyncio
import os
from contextlib import suppress
from hashlib import sha256

import attrs
import msgspec
import pytest

from mailer import AttachmentUnavailable
from mailer.errors import AttachmentUnreachable
from mailer.message import AttachmentRef, Source
from mailer.store.agenda import Lease
from workers.fetches import Fetches
from workers.leases import LeaseLost

CONTENT = os.urandom(300_000)
LIMIT = 1_000_000


@pytest.fixture
def store(real_store):
    return real_store


@attrs.define
class Remote:
    """What lies elsewhere, and who asked for it."""

    contents: dict = attrs.field(factory=lambda: {"https://x.example/a": CONTENT})
    asked: list = attrs.field(factory=list)
    fault: Exception | None = None

    async def fetch(self, uri, limit):
        self.asked.append(uri)
        for start in range(0, len(self.contents[uri]), 100_000):
            if self.fault and start:
                raise self.fault
            yield self.contents[uri][start : start + 100_000]


@pytest.fixture
def remote():
    return Remote()


@pytest.fixture
def fetches(store, remote):
    return Fetches(store.agenda, store.blobs, store.runner, remote.fetch, LIMIT)


async def begun(store, *sources):
    job = store.new_job()
    remote = [AttachmentRef(f"{i}", "application/pdf", source) for i, source in enumerate(sources)]
    message = msgspec.structs.replace(job.message, attachments=tuple(remote))
    (receipt,) = await store.run(
        store.jobs.enqueue([msgspec.structs.replace(job, message=message)])
    )
    return await again(store, receipt.id)


async def again(store, job_id):
    (assignment,) = await store.run(store.agenda.begin([job_id], "w1", 60))
    return assignment


A = Source(uri="https://x.example/a")
PINNED = Source(sha256(CONTENT).hexdigest(), len(CONTENT))


async def test_what_is_fetched_is_pinned_for_every_later_attempt(store, fetches, remote):
    job = await begun(store, A)
    message = await fetches.pinned(job)
    assert [a.source for a in message.attachments] == [PINNED]
    assert store.raw.get(store.keys.blob(PINNED.sha256)) == CONTENT
    remote.contents["https://x.example/a"] = b"something else by now"
    await store.run(store.agenda.undispatch([job.lease.job_id]))
    handed_back = store.result(job, "queued", due_ms=1)
    await store.run(store.agenda.finish([handed_back]))
    later = await again(store, job.lease.job_id)
    assert await fetches.pinned(later) == message
    assert len(remote.asked) == 1
    store.assert_consistent()


async def test_what_several_jobs_attach_is_fetched_once(store, fetches, remote):
    jobs = [await begun(store, A, A) for _ in range(5)]
    messages = await asyncio.gather(*(fetches.pinned(job) for job in jobs))
    assert {a.source for message in messages for a in message.attachments} == {PINNED}
    assert len(remote.asked) == 1
    store.assert_consistent()


async def test_a_content_that_went_with_its_last_use_is_fetched_again(store, fetches, remote):
    first, second = await begun(store, A), await begun(store, A)
    await fetches.pinned(first)
    await store.run(store.agenda.finish([store.result(first)]))
    assert not store.raw.exists(store.keys.blob(PINNED.sha256))
    await fetches.pinned(second)
    assert len(remote.asked) == 2
    store.assert_consistent()


@pytest.mark.parametrize(
    "fault", [AttachmentUnreachable("slow"), AttachmentUnavailable("gone"), OSError("net")]
)
async def test_a_fetch_that_fails_leaves_nothing_and_is_made_again(store, fetches, remote, fault):
    job = await begun(store, A)
    before = store.everything()
    remote.fault = fault
    with pytest.raises(type(fault)):
        await fetches.pinned(job)
    assert store.everything() == before
    remote.fault = None
    assert (await fetches.pinned(job)).attachments[0].source == PINNED


async def test_a_content_that_is_not_what_its_producer_said_is_refused(store, fetches):
    job = await begun(store, Source(sha256="0" * 64, uri=A.uri))
    before = store.everything()
    with pytest.raises(AttachmentUnavailable, match="not what its producer's sha256 says"):
        await fetches.pinned(job)
    assert store.everything() == before


async def test_the_sum_of_all_attachments_is_bounded(store, fetches):
    other = Source("0" * 64, LIMIT - len(CONTENT) + 1)
    job = await begun(store, other, A)
    with pytest.raises(AttachmentUnavailable, match="MAILER_MAX_ATTACHMENT_BYTES"):
        await fetches.pinned(job)


async def test_who_lost_the_lease_pins_nothing(store, fetches):
    job = await begun(store, A)
    stale = msgspec.structs.replace(job, lease=Lease(job.lease.job_id, job.lease.token - 1))
    with pytest.raises(LeaseLost):
        await fetches.pinned(stale)


async def test_a_job_that_is_canceled_does_not_end_the_fetch_of_others(store, fetches, remote):
    jobs = [await begun(store, A) for _ in range(2)]
    first, second = (asyncio.create_task(fetches.pinned(job)) for job in jobs)
    while not remote.asked:
        await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    assert (await second).attachments[0].source == PINNED
    assert len(remote.asked) == 1


async def test_an_email_without_anything_remote_costs_no_round_trip(store, fetches):
    job = await begun(store, PINNED)
    await store.runner.close()
    assert await fetches.pinned(job) is job.message
