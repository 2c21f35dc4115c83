"""What ``pre_send`` functions may do to an email, and what a worker does where one is at fault."""

import asyncio
import threading
import time

import attrs
import pytest
from msgspec.structs import replace

from mailer import Email, RecipientState, Vetoed, load_settings
from mailer.enqueueing import new_job
from mailer.hooks import Hook
from mailer.job import Recipient
from mailer.mime import render
from mailer.store.agenda import Assignment, Lease
from workers import hooks
from workers.hooks import HookFailed, SendHooks

TO = ("ann@example.org",)
PREPARED = b"From: shop@example.com\nTo: ann@example.org\nX-Old: 1\nSubject: Hi\n\nHi\n"


def assigned(email: Email) -> tuple[Assignment, dict[str, bytes]]:
    job = new_job(email, load_settings())
    message = replace(job.message, date=1_800_000_000)
    people = (Recipient(TO[0], RecipientState.PENDING),)
    lease = Lease(job.id, 1)
    made = Assignment(lease, job.head, message, people, job.priority, 2, 1, 0, 1)
    return made, dict(job.blobs)


def written(**fields) -> tuple[Assignment, dict[str, bytes]]:
    usual = {"from_email": "shop@example.com", "to": TO, "subject": "Hi", "text": "Hi\n"}
    return assigned(Email(**usual | fields))


def prepared() -> tuple[Assignment, dict[str, bytes]]:
    return assigned(Email.from_message(PREPARED))


async def sent(made, *functions, at_once: int = 2):
    """Apply hooks; gives the job and the bytes of its message."""
    job, blobs = made
    applied = SendHooks([Hook(f"app.{f.__name__}", f) for f in functions], at_once)
    try:
        job, message = await applied.apply(job, job.message, TO)
    finally:
        applied.close()
    return job, bytes(render(message, blobs)).decode()


def changing(**changes):
    def pre_send(outgoing):
        return attrs.evolve(outgoing, **changes)

    return pre_send


async def test_a_hook_may_change_subject_texts_headers_and_envelope_sender():
    change = changing(
        subject="Grüße",
        text="Bye\n",
        html="<p>Bye</p>\n",
        headers={"X-Tenant": "1"},
        envelope_sender="Bounces <b@example.net>",
    )
    made = written(headers={"X-Old": "1"})
    job, wire = await sent(made, change)
    assert job.head.envelope_sender == "b@example.net"
    for part in ("Subject: =?utf-8?", "Bye\n".replace("\n", "\r\n"), "<p>Bye</p>", "X-Tenant: 1"):
        assert part in wire
    assert "X-Old" not in wire
    assert "Hi" not in wire
    assert made[0].message.message_id in wire


async def test_async_hooks_and_others_are_run_in_their_order():
    async def first(outgoing):
        await asyncio.sleep(0)
        return attrs.evolve(outgoing, headers={**outgoing.headers, "X-First": "1"})

    def second(outgoing):
        assert outgoing.headers == {"X-Old": "1", "X-First": "1"}
        return attrs.evolve(outgoing, headers={**outgoing.headers, "X-Second": "2"})

    def third(outgoing):
        assert (outgoing.tries, outgoing.recipients) == (2, TO)

    _, wire = await sent(written(headers={"X-Old": "1"}), first, second, third)
    assert "X-Old: 1\r\nX-First: 1\r\nX-Second: 2\r\n" in wire


async def test_what_a_hook_leaves_alone_is_the_same_byte_for_byte():
    made = written(headers={"X-Old": "1"}, list_unsubscribe="https://example.com/leave")
    job, wire = await sent(made, lambda outgoing: outgoing)
    assert job is made[0]
    assert wire == (await sent(made))[1]


async def test_a_message_of_another_library_gets_headers_before_its_own():
    made = prepared()
    _, plain = await sent(made)

    def second(outgoing):
        return attrs.evolve(outgoing, headers={**outgoing.headers, "X-2": "2"})

    _, wire = await sent(made, changing(headers={"X-Tenant": "é"}), second)
    date, rest = plain.split("\r\n", 1)
    assert wire == f"{date}\r\nX-2: 2\r\nX-Tenant: =?utf-8?b?w6k=?=\r\n{rest}"


@pytest.mark.parametrize(
    ("make", "changes", "reason"),
    [
        (
            written,
            {"message_id": "<2@example.com>"},
            "changed message_id, which must stay .*",
        ),
        (written, {"recipients": ()}, "changed recipients, which must stay as it is"),
        (prepared, {"subject": "Bye"}, "changed subject, which must stay as it is"),
        (prepared, {"text": "Bye"}, "changed text, which must stay as it is"),
        (prepared, {"headers": {"x-old": "2"}}, "added the header x-old, which is there already"),
        (prepared, {"headers": {"Date": "1"}}, r"raised InvalidEmail \(.*\)"),
    ],
)
async def test_a_hook_may_change_nothing_else(make, changes, reason):
    with pytest.raises(HookFailed, match=f"^the hook app.pre_send {reason}$"):
        await sent(make(), changing(**changes))


async def test_a_hook_may_not_add_a_header_in_another_spelling():
    both = {"X-Old": "1", "x-old": "2"}
    with pytest.raises(HookFailed, match="added the header x-old"):
        await sent(written(headers={"X-Old": "1"}), changing(headers=both))


async def test_an_error_of_a_hook_is_told_with_its_place_and_without_its_words():
    def pre_send(outgoing):
        raise KeyError("canary")

    with pytest.raises(HookFailed) as failed:
        await sent(written(), pre_send)
    assert str(failed.value).startswith("the hook app.pre_send raised KeyError (")
    assert f"{__file__}, line" in str(failed.value)
    assert "canary" not in str(failed.value)


async def test_what_is_no_outgoing_is_told():
    with pytest.raises(HookFailed, match="returned a str, and no Outgoing"):
        await sent(written(), lambda outgoing: "")


@pytest.mark.parametrize("error", [Vetoed("no more"), MemoryError()])
async def test_a_veto_is_no_fault_and_want_of_memory_is_the_workers(error):
    def pre_send(outgoing):
        raise error

    with pytest.raises(type(error)):
        await sent(written(), pre_send)


async def test_a_hook_that_blocks_holds_up_neither_the_loop_nor_other_hooks():
    """Two meet at a barrier; that the loop goes on is seen, for it lets go of a third."""
    together, free = threading.Barrier(2, timeout=20), threading.Event()

    def pre_send(outgoing):
        together.wait()
        assert free.wait(20)

    applied = SendHooks([Hook("app.pre_send", pre_send)], 2)
    job, _ = written()
    running = [asyncio.create_task(applied.apply(job, job.message, TO)) for _ in range(2)]
    while together.n_waiting:
        await asyncio.sleep(0.01)
    free.set()
    assert await asyncio.gather(*running) == [(job, job.message)] * 2
    applied.close()


async def test_a_hook_that_takes_too_long_is_at_fault(monkeypatch):
    monkeypatch.setattr(hooks, "_LONGEST", 0.05)
    end = threading.Event()

    async def never(outgoing):
        await asyncio.sleep(1000)

    def blocks(outgoing):
        end.wait(20)

    began = time.monotonic()
    for hook in (never, blocks):
        with pytest.raises(HookFailed, match="raised TimeoutError"):
            await sent(written(), hook)
    end.set()
    assert time.monotonic() - began < 10
