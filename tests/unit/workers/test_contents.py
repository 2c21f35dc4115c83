"""The attachments of a batch: read when needed, encoded once where several jobs share them."""

import asyncio
import os
from base64 import encodebytes
from contextlib import aclosing
from hashlib import sha256

import pytest

from mailer.address import Address
from mailer.errors import AttachmentUnavailable
from mailer.message import AttachmentRef, Message, Source
from mailer.mime import Streamed
from mailer.store.blobs import PART_BYTES
from workers.contents import Budget, Contents
from workers.sources import Sources

LARGE = PART_BYTES * 3 + 1


class Counting(Sources):
    """Sources over files that count how often each was opened."""

    def __init__(self, root):
        super().__init__(blobs=None, runner=None, roots=[root])
        object.__setattr__(self, "opened", [])

    def _raw(self, source):
        self.opened.append(source)
        return super()._raw(source)


@pytest.fixture
def sources(tmp_path):
    return Counting(tmp_path)


@pytest.fixture
def file(tmp_path):
    """Makes files; gives the content and the reference of each."""

    def make(size, content_type="application/pdf", content=None):
        content = os.urandom(size) if content is None else content
        path = tmp_path / sha256(content).hexdigest()[:8]
        path.write_bytes(content)
        source = Source(sha256(content).hexdigest(), len(content), path=str(path))
        return content, AttachmentRef(path.name, content_type, source)

    return make


def message(*attachments):
    return Message("<1@example.com>", Address("a@example.com"), attachments=attachments)


def in_base64(content):
    return encodebytes(content).replace(b"\n", b"\r\n").removesuffix(b"\r\n")


async def all_of(contents, streamed):
    async with aclosing(contents.chunks(streamed)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def encoded(contents, given):
    (one,) = await contents.of(given, given, eight_bit=True)
    return one


async def test_a_small_content_is_at_hand_and_a_large_one_streamed(sources, file):
    for size in (0, 1, 57, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, LARGE):
        content, reference = file(size)
        given = message(reference)
        contents = Contents(sources, Budget(), [given])
        found = (await encoded(contents, given)).content
        if size > PART_BYTES:
            assert isinstance(found, Streamed)
            length, found = found.length, await all_of(contents, found)
            assert length == len(found)
        assert found == in_base64(content)


async def test_each_chunk_begins_where_a_line_does_or_with_a_line_end(sources, file):
    _, reference = file(LARGE)
    contents = Contents(sources, Budget(), [])
    async with aclosing(contents.chunks(Streamed(reference.source, 0))) as chunks:
        first, *others = [chunk async for chunk in chunks]
    assert all(chunk.startswith(b"\r\n") for chunk in others)
    assert max(map(len, [first, *others])) <= PART_BYTES * 78 // 57


async def test_lines_that_go_as_they_are_are_cut_between_lines(sources, file):
    body = b"".join(b"%d %s\r\n" % (i, b".x" * (i % 400)) for i in range(3000))
    _, reference = file(0, content=body)
    contents = Contents(sources, Budget(), [])
    streamed = await contents.lines(reference.source, whole=False)
    assert isinstance(streamed, Streamed)
    async with aclosing(contents.chunks(streamed)) as chunks:
        found = [chunk async for chunk in chunks]
    assert len(found) > 2
    assert all(chunk.endswith(b"\r\n") for chunk in found if chunk)
    assert b"".join(found) == body
    assert await contents.lines(reference.source, whole=True) == body


async def test_what_several_jobs_need_is_read_and_encoded_once(sources, file):
    content, reference = file(LARGE)
    jobs = [message(reference) for _ in range(5)]
    contents = Contents(sources, Budget(), jobs)
    found = await asyncio.gather(*(encoded(contents, job) for job in jobs))
    assert all(one is found[0] for one in found)
    assert found[0].content == in_base64(content)
    assert len(sources.opened) == 1


async def test_what_is_shared_is_held_only_as_long_as_a_job_may_need_it(sources, file):
    _, reference = file(LARGE)
    jobs = [message(reference) for _ in range(3)]
    room = LARGE * 2
    budget = Budget(room)
    contents = Contents(sources, budget, jobs)
    for job in jobs:
        await encoded(contents, job)
        assert not budget.take(room)
        contents.done(job)
    assert budget.take(room)


async def test_a_job_that_ends_without_its_contents_needs_them_no_more(sources, file):
    _, reference = file(LARGE)
    jobs = [message(reference) for _ in range(3)]
    budget = Budget(LARGE * 2)
    contents = Contents(sources, budget, jobs)
    await encoded(contents, jobs[0])
    for job in jobs:
        contents.done(job)
    assert budget.take(LARGE * 2)


async def test_beyond_the_budget_what_is_shared_is_streamed(sources, file):
    _, one = file(LARGE)
    _, other = file(LARGE)
    jobs = [message(reference) for reference in (one, other) for _ in range(2)]
    contents = Contents(sources, Budget(LARGE * 2), jobs)
    kinds = [type((await encoded(contents, job)).content) for job in jobs]
    assert kinds == [bytes, bytes, Streamed, Streamed]


async def test_a_job_that_is_canceled_takes_nothing_away_from_the_others(sources, file):
    content, reference = file(LARGE)
    jobs = [message(reference) for _ in range(2)]
    contents = Contents(sources, Budget(), jobs)
    first = asyncio.create_task(encoded(contents, jobs[0]))
    second = asyncio.create_task(encoded(contents, jobs[1]))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).content == in_base64(content)
    assert len(sources.opened) == 1


async def test_a_shared_content_that_can_t_be_read_fails_each_job(sources, file, tmp_path):
    _, reference = file(LARGE)
    jobs = [message(reference) for _ in range(2)]
    (tmp_path / reference.filename).unlink()
    contents = Contents(sources, Budget(), jobs)
    for job in jobs:
        with pytest.raises(AttachmentUnavailable, match="does not exist"):
            await encoded(contents, job)
        contents.done(job)


@pytest.mark.parametrize("eight_bit", [True, False])
async def test_a_message_within_a_message_goes_as_it_is_where_that_can_be(sources, file, eight_bit):
    _, reference = file(0, "message/rfc822", "Subject: ü\n\nü\n".encode())
    given = message(reference)
    contents = Contents(sources, Budget(), [given, given])
    (one,) = await contents.of(given, given, eight_bit=eight_bit)
    assert one.encoding == ("8bit" if eight_bit else "base64")


@pytest.mark.parametrize("change", [b"other", b"shorter", b"longer than before", None])
@pytest.mark.parametrize("size", [9, LARGE])
async def test_what_differs_from_its_pin_is_never_given_whole(
    sources, file, change, size, tmp_path
):
    content, reference = file(size)
    if change == b"other":
        change = content[:-1] + bytes([content[-1] ^ 1])
    elif change == b"shorter":
        change = content[:-1]
    elif change:
        change = content + b"x"
    path = tmp_path / reference.filename
    path.write_bytes(change) if change is not None else path.unlink()
    given = []
    with pytest.raises(AttachmentUnavailable):
        async with aclosing(sources.parts(reference.source)) as parts:
            given += [part async for part in parts]
    assert sum(map(len, given)) < size
