"""Contents in the store: uploaded, counted, pinned, and gone with their last use."""

import os
from hashlib import sha256

import msgspec
import pytest

from mailer import Attachment, JobState
from mailer.message import AttachmentRef, Source
from mailer.store.agenda import Lease, Pinning
from mailer.store.blobs import PART_BYTES, MissingBlobs

LARGE = os.urandom(100_000)
DIGEST = sha256(LARGE).hexdigest()


def large(content=LARGE):
    return {"attachments": [Attachment.from_bytes(content, filename="a.bin")]}


async def upload(store, content=LARGE):
    digest = sha256(content).hexdigest()
    await store.run(store.blobs.upload(digest, content))
    return digest


async def test_a_large_content_is_asked_for_before_anything_is_stored(store):
    job = store.new_job(**large())
    answer = await store.run(store.jobs.enqueue([job]))
    assert answer == MissingBlobs([DIGEST])
    assert store.everything() == {}
    await upload(store)
    (receipt,) = await store.run(store.jobs.enqueue([job]))
    assert receipt.created


async def test_several_jobs_ask_for_a_content_once(store):
    jobs = [store.new_job(**large()) for _ in range(3)]
    assert await store.run(store.jobs.enqueue(jobs)) == MissingBlobs([DIGEST])
    await upload(store)
    assert len(await store.run(store.jobs.enqueue(jobs))) == 3


async def test_an_uploaded_content_goes_unless_a_job_comes_to_need_it(store):
    await upload(store)
    assert 0 < store.raw.ttl(store.keys.blob(DIGEST)) <= 3600
    await store.enqueued(**large())
    assert store.raw.ttl(store.keys.blob(DIGEST)) == -1


async def test_uploading_again_does_not_limit_the_life_of_what_is_needed(store):
    await upload(store)
    await store.enqueued(**large())
    await upload(store)
    assert store.raw.ttl(store.keys.blob(DIGEST)) == -1


async def test_a_content_is_read_in_parts(store):
    content = os.urandom(2 * PART_BYTES + 5)
    digest = await upload(store, content)
    parts = [await store.run(store.blobs.part(digest, i * PART_BYTES)) for i in range(4)]
    assert list(map(len, parts)) == [PART_BYTES, PART_BYTES, 5, 0]
    assert b"".join(parts) == content
    assert await store.run(store.blobs.part("0" * 64, 0)) == b""
    store.raw.delete(store.keys.blob(digest))


async def gather(store, name, *parts):
    at = 0
    for part in parts:
        for operation in store.blobs.gather(name, at, part):
            await store.run(operation)
        at += len(part)


async def adopt(store, name, digest):
    for operation in store.blobs.adopt(name, digest):
        await store.run(operation)


async def begun_with_uri(store):
    """Begin a job whose attachment is yet to be fetched."""
    job = store.new_job()
    remote = AttachmentRef("a.bin", "application/pdf", Source(uri="https://example.com/a"))
    message = msgspec.structs.replace(job.message, attachments=(remote,))
    (receipt,) = await store.run(
        store.jobs.enqueue([msgspec.structs.replace(job, message=message)])
    )
    (assignment,) = await store.run(store.agenda.begin([receipt.id], "w1", 60))
    return assignment


def pinned(message):
    reference = msgspec.structs.replace(message.attachments[0], source=Source(DIGEST, len(LARGE)))
    return msgspec.structs.replace(message, attachments=(reference,))


async def test_what_was_fetched_is_gathered_part_by_part_and_pinned_on_the_job(store):
    begun = await begun_with_uri(store)
    await gather(store, "u1", LARGE[:70_000], LARGE[70_000:])
    await adopt(store, "u1", DIGEST)
    message = pinned(begun.message)
    assert await store.run(store.agenda.pin(begun.lease, message, [DIGEST])) is Pinning.DONE
    job_id = begun.lease.job_id
    assert await store.run(store.jobs.message(job_id)) == message
    assert store.raw.get(store.keys.blob(DIGEST)) == LARGE
    store.assert_consistent()
    await store.run(store.agenda.finish([store.result(begun)]))
    assert not store.raw.exists(store.keys.blob(DIGEST))


async def test_a_part_may_be_written_twice(store):
    """As by a client that repeats what it had no answer to."""
    await gather(store, "u1", b"ab", b"cd")
    for operation in store.blobs.gather("u1", 2, b"cd"):
        await store.run(operation)
    digest = sha256(b"abcd").hexdigest()
    await adopt(store, "u1", digest)
    assert store.raw.getdel(store.keys.blob(digest)) == b"abcd"


async def test_an_empty_content_can_be_gathered(store):
    await gather(store, "u1", b"")
    digest = sha256(b"").hexdigest()
    await adopt(store, "u1", digest)
    assert store.raw.getdel(store.keys.blob(digest)) == b""


async def test_what_is_gathered_and_forgotten_goes_by_itself(store):
    await gather(store, "u1", b"ab", b"cd")
    assert 0 < store.raw.ttl(store.keys.upload("u1")) <= 3600
    await store.run(store.blobs.discard("u1"))
    assert store.everything() == {}


async def test_a_content_that_is_there_is_not_replaced(store):
    await store.enqueued(**large(b"needed"))
    digest = sha256(b"needed").hexdigest()
    await gather(store, "u1", b"needed")
    await adopt(store, "u1", digest)
    assert store.raw.ttl(store.keys.blob(digest)) == -1
    assert not store.raw.exists(store.keys.upload("u1"))


async def test_only_the_holder_of_the_lease_can_pin(store):
    begun = await begun_with_uri(store)
    await upload(store)
    stale = Lease(begun.lease.job_id, begun.lease.token - 1)
    pin = store.agenda.pin(stale, pinned(begun.message), [DIGEST])
    assert await store.run(pin) is Pinning.LEASE_LOST
    await store.run(store.agenda.finish([store.result(begun, JobState.FAILED)]))
    late = store.agenda.pin(begun.lease, pinned(begun.message), [DIGEST])
    assert await store.run(late) is Pinning.LEASE_LOST
    assert store.raw.ttl(store.keys.blob(DIGEST)) > 0
    store.raw.delete(store.keys.blob(DIGEST))


async def test_what_is_gone_again_can_t_be_pinned(store):
    begun = await begun_with_uri(store)
    before = store.record(begun.lease.job_id)
    pin = store.agenda.pin(begun.lease, pinned(begun.message), [DIGEST])
    assert await store.run(pin) is Pinning.BLOB_GONE
    assert store.record(begun.lease.job_id) == before


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.UNCONFIRMED])
async def test_a_job_that_may_be_tried_again_keeps_its_contents(store, state):
    await upload(store)
    await store.ended(state, **large())
    assert store.raw.ttl(store.keys.blob(DIGEST)) == -1
