"""Jobs as they are listed: by state, recipient and tag, page by page."""

from collections.abc import AsyncIterator

import pytest
from either import Either

from mailer import AsyncMailer, Email, InvalidArgument, Mailer, listing, load_settings
from mailer.store.keys import Keys


@pytest.fixture(params=[Mailer, AsyncMailer])
async def mailer(request, redis_server, key_prefix) -> AsyncIterator[Either]:
    settings = load_settings(redis_url=redis_server.url, key_prefix=key_prefix)
    either = Either(request.param(settings=settings))
    yield either
    await either.close()


def email(to="ann@example.org", **fields) -> Email:
    return Email(from_email="shop@example.com", to=to, **fields)


async def enqueued(mailer, *emails: Email) -> list[str]:
    return [receipt.id for receipt in await mailer.enqueue_many(emails)]


def ids(jobs) -> list[str]:
    return [job.id for job in jobs]


async def test_jobs_of_one_recipient(mailer):
    ann, both, bob = await enqueued(
        mailer,
        email("Ann <Ann@Example.org>"),
        email(["bob@example.org", "ann@example.org"]),
        email("bob@example.org", bcc="joann@example.org"),
    )
    assert set(ids(await mailer.list(recipient="ann@EXAMPLE.org"))) == {ann, both}
    assert ids(await mailer.list(recipient="joann@example.org")) == [bob]
    assert await mailer.list(recipient="nn@example.org") == []


async def test_jobs_to_one_domain(mailer):
    (books, _) = await enqueued(mailer, email("a@bücher.example"), email("b@our.bücher.example"))
    assert ids(await mailer.list(recipient="@BÜCHER.example")) == [books]
    assert ids(await mailer.list(recipient="@xn--bcher-kva.example")) == [books]


async def test_jobs_with_one_tag(mailer):
    order, news = await enqueued(
        mailer, email(tags=["order", "eu"]), email("bob@example.org", tags=["news"])
    )
    assert ids(await mailer.list(tag="order")) == [order]
    assert ids(await mailer.list(tag="news", recipient="bob@example.org")) == [news]
    assert await mailer.list(tag="news", recipient="ann@example.org") == []
    assert await mailer.list(tag="ord") == []


async def test_state_recipient_and_tag_together(mailer):
    gone, waits = await enqueued(mailer, email(tags=["order"]), email(tags=["order"]))
    await mailer.cancel(gone)
    assert ids(await mailer.list("canceled", tag="order")) == [gone]
    assert ids(await mailer.list("queued", recipient="ann@example.org", tag="order")) == [waits]


@pytest.mark.parametrize(
    "recipient", ["ann", "ann@", "@", "a@b@c@", "a@example.org, b@example.org"]
)
async def test_what_is_no_address_is_refused(mailer, recipient):
    with pytest.raises(InvalidArgument, match="recipient: is an address such as"):
        await mailer.list(recipient=recipient)


@pytest.mark.parametrize("token", ["", "x", "nan-1", "1.5-x"])
async def test_a_page_begins_where_a_page_ended_and_nowhere_else(mailer, token):
    with pytest.raises(InvalidArgument, match="older_than: is what the page before has"):
        await mailer.page(older_than=token)


async def pages(mailer, **options) -> list[listing.Page]:
    found = [await mailer.page(**options)]
    while found[-1].older:
        found.append(await mailer.page(**options, older_than=found[-1].older))
    return found


@pytest.mark.parametrize("limit", [7, 70, 250])
async def test_pages_hold_every_job_once_and_the_newest_first(mailer, limit):
    stored = await enqueued(mailer, *(email() for _ in range(250)))
    for job_id in stored[:30:3]:
        await mailer.cancel(job_id)
    everything = [job for page in await pages(mailer, limit=limit) for job in page.jobs]
    assert sorted(ids(everything)) == sorted(stored)
    assert ids(everything) == ids(await mailer.list(limit=250))
    moments = [job.updated_at for job in everything]
    assert moments == sorted(moments, reverse=True)


async def test_a_page_is_right_where_more_jobs_than_usual_have_one_time(
    mailer, redis_server, key_prefix
):
    import redis

    stored = await enqueued(mailer, *(email() for _ in range(330)))
    with redis.Redis.from_url(redis_server.url) as raw:
        raw.zadd(Keys(key_prefix).state("queued"), dict.fromkeys(stored, 1_700_000_000_000))
    listed = [job.id for page in await pages(mailer, limit=50) for job in page.jobs]
    assert listed == sorted(stored, reverse=True)


async def test_a_search_says_how_far_it_went_and_goes_on_from_there(mailer, monkeypatch):
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 40)
    monkeypatch.setattr(listing, "_STEP", 15)
    (rare,) = await enqueued(mailer, email("rare@example.org"))
    await enqueued(mailer, *(email() for _ in range(99)))
    found = await pages(mailer, recipient="rare@example.org", limit=3)
    assert [(page.looked_at, ids(page.jobs)) for page in found] == [
        (40, []),
        (40, []),
        (20, [rare]),
    ]
    assert found[0].older
    assert await mailer.list(recipient="rare@example.org") == [], "as its description says"


async def test_a_search_stops_where_it_has_found_enough(mailer):
    await enqueued(mailer, *(email(tags=["all"]) for _ in range(20)))
    found = await pages(mailer, tag="all", limit=8)
    assert [(len(page.jobs), page.looked_at) for page in found] == [(8, 8), (8, 8), (4, 4)]


async def test_pages_stay_in_place_while_new_jobs_come(mailer):
    old = await enqueued(mailer, *(email() for _ in range(6)))
    first = await mailer.page(limit=3)
    await enqueued(mailer, email(), email())
    second = await mailer.page(limit=3, older_than=first.older)
    assert sorted(ids(first.jobs) + ids(second.jobs)) == sorted(old)


async def test_no_message_travels_with_a_page(mailer, redis_server, key_prefix):
    import redis

    await enqueued(mailer, *(email(text="x" * 50_000) for _ in range(3)))
    await mailer.page()  # the server knows the script now
    with redis.Redis.from_url(redis_server.url) as raw:
        before = raw.info()
        await mailer.page(tag="no such")
        after = raw.info()
    sent = after["total_net_output_bytes"] - before["total_net_output_bytes"]
    assert sent < 30_000
