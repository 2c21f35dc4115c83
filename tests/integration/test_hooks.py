"""``pre_enqueue`` with `Mailer` and `AsyncMailer`: what is stored, and what callers are told."""

import pickle
import sys
from types import SimpleNamespace

import attrs
import pytest
from either import Either

from mailer import AsyncMailer, Email, InvalidSetting, Mailer, Vetoed, load_settings
from mailer.templates import Letter


def email(to: str = "ann@example.org", **fields) -> Email:
    return Email(**{"from_email": "shop@example.com", "to": to, "subject": "Hi"} | fields)


@pytest.fixture
def hooks(monkeypatch):
    """A module of hooks, for each test to put its own there."""
    module = SimpleNamespace(pre_enqueue=lambda email: None)
    monkeypatch.setitem(sys.modules, "hooks_of_a_test", module)
    return module


@pytest.fixture(params=[Mailer, AsyncMailer])
async def mailer(request, redis_server, key_prefix, hooks):
    settings = load_settings(
        redis_url=redis_server.url, key_prefix=key_prefix, hooks=["hooks_of_a_test"]
    )
    either = Either(request.param(settings=settings))
    yield either
    await either.close()


def no_bob(email: Email) -> Email:
    if email.to[0].email.startswith("bob"):
        raise Vetoed("bob gets none")
    return attrs.evolve(email, subject=f"{email.subject} there")


async def test_what_a_hook_makes_of_an_email_is_what_is_stored_and_previewed(mailer, hooks):
    hooks.pre_enqueue = no_bob
    receipt = await mailer.enqueue(email())
    assert (await mailer.get(receipt.id)).subject == "Hi there"
    assert b"Subject: Hi there" in await mailer.message(receipt.id)
    assert b"Subject: Hi there" in await mailer.preview(email())


async def test_of_what_is_vetoed_nothing_is_stored(mailer, hooks):
    hooks.pre_enqueue = no_bob
    with pytest.raises(Vetoed, match=r"^vetoed: bob gets none$") as vetoed:
        await mailer.enqueue(email("bob@example.org"))
    assert sum((await mailer.counts()).values()) == 0
    again = pickle.loads(pickle.dumps(vetoed.value))
    assert (again.reason, str(again)) == ("bob gets none", "vetoed: bob gets none")


@pytest.mark.parametrize("before", [2, 150])
async def test_a_veto_among_many_is_named_and_those_before_it_are_stored(mailer, hooks, before):
    hooks.pre_enqueue = no_bob
    emails = [email() for _ in range(before)] + [email("bob@example.org"), email()]
    with pytest.raises(Vetoed, match=rf"^emails\[{before}\]: vetoed: bob gets none$") as vetoed:
        await mailer.enqueue_many(emails)
    assert len(vetoed.value.receipts) == before == sum((await mailer.counts()).values())
    rest = await mailer.enqueue_many(emails[len(vetoed.value.receipts) + 1 :])
    assert len(rest) == 1


async def test_of_a_batch_a_veto_refuses_a_row_and_only_what_is_no_content_may_change(
    mailer, hooks
):
    def pre_enqueue(email):
        if email.to[0].email.startswith("bob"):
            raise Vetoed("bob gets none")
        if email.subject == "Hi Dora":
            return attrs.evolve(email, subject="Bye")
        return attrs.evolve(email, tags=["news"])

    hooks.pre_enqueue = pre_enqueue
    letter = Letter(from_email="shop@example.com", subject="Hi {{ name }}", text="Hi\n")
    rows = [{"to": f"{name}@example.org", "name": name} for name in ("ann", "bob", "carl")]
    mistakes = {}
    receipt = await mailer.enqueue_batch("spring", letter, rows, on_mistake=mistakes.setdefault)
    assert (receipt.created, receipt.refused) == (2, 1)
    assert str(mistakes[1]) == "rows[1]: vetoed: bob gets none"
    assert {job.tags for job in await mailer.list()} == {("news",)}

    with pytest.raises(InvalidSetting, match="changed subject of an email of a batch"):
        await mailer.enqueue_batch("autumn", letter, [{"to": "dora@example.org", "name": "Dora"}])


async def test_an_error_in_a_hook_comes_to_whoever_enqueues(mailer, hooks):
    def pre_enqueue(email):
        raise KeyError("tenant")

    hooks.pre_enqueue = pre_enqueue
    for call in (mailer.enqueue(email()), mailer.enqueue_many([email()])):
        with pytest.raises(KeyError, match="tenant"):
            await call
    assert sum((await mailer.counts()).values()) == 0


async def test_hooks_are_found_when_the_first_email_comes(redis_server, monkeypatch):
    """So they may import the module that makes the mailer; and a wrong name stores nothing."""
    settings = load_settings(redis_url=redis_server.url, hooks=["hooks_to_come"])
    with Mailer(settings=settings) as mailer:
        with pytest.raises(InvalidSetting, match="MAILER_HOOKS: can't import hooks_to_come"):
            mailer.enqueue(email())
        monkeypatch.setitem(sys.modules, "hooks_to_come", SimpleNamespace(pre_enqueue=no_bob))
        with pytest.raises(Vetoed):
            mailer.enqueue(email("bob@example.org"))
