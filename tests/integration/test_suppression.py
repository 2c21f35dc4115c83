"""The suppression list by `Mailer` and `AsyncMailer`, against a real server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from either import Either

from mailer import (
    Address,
    AsyncMailer,
    Email,
    InvalidArgument,
    JobState,
    Mailer,
    RecipientState,
    load_settings,
)


@pytest.fixture(params=[Mailer, AsyncMailer])
async def mailer(request, redis_server, key_prefix) -> AsyncIterator[Either]:
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    either = Either(request.param(settings=settings))
    yield either
    await either.close()


def email(**fields) -> Email:
    return Email(**({"from_email": "shop@example.com", "to": "jm@example.org"} | fields))


async def test_who_is_suppressed_gets_nothing_until_that_is_taken_back(mailer):
    assert await mailer.suppress("Jörg <jm@example.org>", reason="asked to")
    assert not await mailer.suppress("JM@example.org", reason="asked again")
    receipt = await mailer.enqueue(email())
    assert receipt.created
    job = await mailer.get(receipt.id)
    assert job.state is JobState.SUPPRESSED
    assert job.recipients[0].reply == "on the suppression list: asked to"
    assert (await mailer.wait(receipt.id, timeout=1)).state is JobState.SUPPRESSED
    assert (await mailer.counts())[JobState.SUPPRESSED] == 1
    assert await mailer.unsuppress(Address("jm@EXAMPLE.org"))
    assert not await mailer.unsuppress("jm@example.org")
    assert (await mailer.get((await mailer.enqueue(email())).id)).state is JobState.QUEUED


async def test_a_suppressed_job_may_be_retried(mailer):
    await mailer.suppress("jm@example.org")
    receipt = await mailer.enqueue(email(to=["jm@example.org"]))
    await mailer.retry(receipt.id)
    job = await mailer.get(receipt.id)
    assert job.state is JobState.QUEUED, "the list is looked at again before it is sent"
    assert job.recipients[0].state is RecipientState.PENDING


async def test_a_tag_is_a_list_of_its_own(mailer):
    assert await mailer.suppress("jm@example.org", tag="news", reason="unsubscribed")
    receipts = await mailer.enqueue_many([email(tags=["news"]), email(tags=["order"]), email()])
    states = [(await mailer.get(receipt.id)).state for receipt in receipts]
    assert states == [JobState.SUPPRESSED, JobState.QUEUED, JobState.QUEUED]
    assert await mailer.unsuppress("jm@example.org", tag="news")


async def test_entries_are_found_by_address_and_by_tag(mailer):
    await mailer.suppress("ann@example.org", reason="complained", by="webhook")
    for tag in ("news", "n*"):
        await mailer.suppress("ann@example.org", tag=tag)
        await mailer.suppress("a?n@example.org", tag=tag)

    async def found(**asked) -> set[tuple[str, str | None]]:
        return {(e.address, e.tag) for e in await mailer.suppressions(**asked)}

    ann, odd = "ann@example.org", "a?n@example.org"
    every = {(ann, None), (ann, "news"), (ann, "n*"), (odd, "news"), (odd, "n*")}
    assert await found() == every
    assert await found(address="ANN@example.org") == {(ann, None), (ann, "news"), (ann, "n*")}
    assert await found(address=odd) == {(odd, "news"), (odd, "n*")}
    assert await found(tag="n*") == {(ann, "n*"), (odd, "n*")}
    assert await found(address=odd, tag="news") == {(odd, "news")}
    assert await found(address="nobody@example.org") == set()
    assert len(await found(limit=2)) == 2
    (entry, *_) = await mailer.suppressions(address=ann)
    assert (entry.reason, entry.by) == ("complained", "webhook")
    assert abs(entry.since - datetime.now(UTC)) < timedelta(seconds=5)


async def test_a_long_list_is_written_and_read_in_parts(mailer):
    people = [f"r{i}@example.org" for i in range(2500)]
    assert await mailer.suppress_many(iter(people), reason="import") == 2500
    assert await mailer.suppress_many([*people, "new@example.org"]) == 1
    everybody = await mailer.suppressions(limit=5000)
    assert sorted(e.address for e in everybody) == sorted([*people, "new@example.org"])
    assert len(await mailer.suppressions(limit=1500)) == 1500


@pytest.mark.parametrize(
    ("call", "arguments", "place"),
    [
        ("suppress", {"address": "nobody"}, "address"),
        ("suppress", {"address": "a@example.org\n"}, "address"),
        ("suppress", {"address": 5}, "address"),
        ("suppress", {"address": "a@example.org", "tag": ""}, "tag"),
        ("suppress", {"address": "a@example.org", "tag": "a\nb"}, "tag"),
        ("suppress", {"address": "a@example.org", "reason": "a\nb"}, "reason"),
        ("suppress", {"address": "a@example.org", "by": None}, "by"),
        ("suppress_many", {"addresses": ["a@example.org", "b"]}, "addresses[1]"),
        ("suppress_many", {"addresses": "a@example.org"}, "addresses"),
        ("unsuppress", {"address": "a@"}, "address"),
        ("suppressions", {"address": "a@"}, "address"),
        ("suppressions", {"tag": ""}, "tag"),
        ("suppressions", {"limit": 0}, "limit"),
    ],
)
async def test_what_is_malformed_is_named_and_nothing_stored(mailer, call, arguments, place):
    with pytest.raises(InvalidArgument) as caught:
        await getattr(mailer, call)(**arguments)
    assert caught.value.field == place
    assert await mailer.suppressions() == []
