"""Code as users write it; ``mypy --strict`` must accept it, and infer these types. Never run."""

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, assert_type

import attrs

from mailer import (
    Address,
    AsyncMailer,
    Attachment,
    Attempt,
    Decision,
    Email,
    Event,
    EventsMissed,
    Group,
    IdempotencyConflict,
    InvalidEmail,
    Job,
    JobNotFound,
    JobState,
    Mailer,
    MailerError,
    Outgoing,
    Priority,
    Receipt,
    Recipient,
    RecipientState,
    RelayPause,
    RetryPolicy,
    Settings,
    StoreUnavailable,
    Suppression,
    TemplateError,
    Vetoed,
    WaitTimeout,
    WrongState,
    load_settings,
)
from mailer.templates import Rendered, Template, Templates


def every_field() -> Email:
    """All that an email can have, as users write it: strings where addresses are meant."""
    email = Email(
        from_email="Shop <shop@example.com>",
        to=["jm@example.org", "Ann <ann@example.org>"],
        cc=[Group("Team", (Address("bob@example.org"),)), "ben@example.org"],
        bcc=("carl@example.org",),
        reply_to=[],
        sender="Office <office@example.com>",
        subject="Your order ✓",
        text="…",
        html="<p>…</p>",
        amp=None,
        calendar=None,
        in_reply_to="<1@example.org>",
        references=["<1@example.org>"],
        list_unsubscribe="https://example.com/u",
        one_click_unsubscribe=True,
        auto_submitted="auto-generated",
        importance="high",
        headers={"X-Order": "42"},
        attachments=[
            Attachment.from_path("invoice.pdf"),
            Attachment.from_path(Path("logo.png"), content_id="logo"),
            Attachment.from_path("shared.pdf", upload=True),
            Attachment.from_bytes(b"a,b", filename="a.csv", content_type="text/csv"),
            Attachment.from_url("https://files.example.com/terms.pdf"),
            Attachment.from_uri("s3://invoices/42.pdf", sha256="0" * 64),
            Attachment.from_message(EmailMessage()),
        ],
        envelope_sender="bounces@example.com",
        priority="high",
        scheduled_at=datetime.now(UTC),
        expires_at=None,
        tags=["order"],
        metadata={"order": 42},
        idempotency_key="order-42",
        relay=None,
        delivery="at-least-once",
        dsn_notify=["failure", "delay"],
        dsn_return="headers",
        retry=RetryPolicy(delays=(60.0, 300.0), max_attempts=3),
    )
    Email(from_email="shop@example.com", to="jm@example.org", priority=Priority.LOW)
    Email(from_email="shop@example.com", to="jm@example.org", retry="urgent")
    assert_type(Email.from_message(EmailMessage(), recipients="jm@example.org", tags=["a"]), Email)
    Email.from_message(b"From: shop@example.com\n\n", envelope_sender="bounces@example.com")
    assert_type(email.from_email, Address)
    assert_type(email.to, tuple[Address | Group, ...])
    assert_type(email.recipients, tuple[Address, ...])
    assert_type(email.text, str | None)
    assert_type(email.headers, Mapping[str, str])
    assert_type(email.attachments, tuple[Attachment, ...])
    assert_type(email.priority, Priority)
    assert_type(email.scheduled_at, datetime | None)
    assert_type(email.retry, RetryPolicy | str | None)
    return email


def templates() -> None:
    """Emails of templates."""
    folder = Templates("emails", default_locale="en", reload=True)
    Templates(Path("emails"), inline_css=False)
    Templates()
    assert_type(
        folder.email(
            "welcome",
            {"name": "Ann", "items": [1, 2]},
            locale="de",
            from_email="shop@example.com",
            to=["ann@example.org"],
        ),
        Email,
    )
    folder.email("welcome", from_email="shop@example.com", to="ann@example.org")
    assert_type(folder.names(), list[str])
    assert_type(folder.locales("welcome"), list[str])
    assert_type(folder.sample("welcome", "de"), dict[str, Any] | None)
    template = folder.load("welcome", locale="de")
    assert_type(template, Template)
    assert_type(Template.of(subject="Hi", text="Hi", html=None), Template)
    assert_type(Template.from_json(template.to_json()), Template)
    assert_type(template.sha256, str)
    rendered = template.render({"name": "Ann"})
    assert_type(rendered, Rendered)
    assert_type(rendered.subject, str)
    assert_type(rendered.html, str | None)
    try:
        template.render({})
    except TemplateError as error:
        invalid: InvalidEmail = error
        raise invalid from None


def mistakes() -> None:
    """What the checker must refuse; an ignore that is not needed is an error itself."""
    Email(to="jm@example.org")  # type: ignore[call-arg]  # from_email is missing
    Email(from_email="shop@example.com", to="jm@example.org", body="Hi")  # type: ignore[call-arg]
    Email(from_email="shop@example.com", delivery="twice")  # type: ignore[arg-type]
    Email(from_email="shop@example.com", text=b"Hi")  # type: ignore[arg-type]
    Mailer().get(42)  # type: ignore[arg-type]
    Template.of("Hi")  # type: ignore[call-arg]  # which part?
    every_field().subject = "Another"  # type: ignore[misc]  # it is frozen


def synchronous() -> None:
    """Every call of `Mailer`."""
    with Mailer("redis://127.0.0.1:6379/1") as mailer:
        assert_type(mailer, Mailer)
        receipt = mailer.enqueue(every_field())
        assert_type(receipt, Receipt)
        assert_type(receipt.id, str)
        assert_type(receipt.message_id, str)
        assert_type(receipt.created, bool)
        assert_type(mailer.enqueue_many(every_field() for _ in range(3)), list[Receipt])
        assert_type(mailer.get(receipt.id), Job)
        assert_type(mailer.wait(receipt.id, timeout=30), Job)
        mailer.check(every_field())
        assert_type(mailer.preview(every_field()), bytes)
        assert_type(mailer.message(receipt.id), bytes)
        assert_type(mailer.cancel(receipt.id), bool)
        mailer.retry(receipt.id)
        mailer.reschedule(receipt.id, datetime.now(UTC))
        assert_type(mailer.list(state="deferred", limit=50), list[Job])
        assert_type(mailer.list(JobState.DEFERRED), list[Job])
        assert_type(mailer.counts(), dict[JobState, int])
        assert_type(mailer.paused_relays(), dict[str, RelayPause])
        assert_type(mailer.suppress("jm@example.org", tag="news", reason="unsubscribed"), bool)
        assert_type(mailer.suppress_many(["jm@example.org", Address("a@example.org")]), int)
        assert_type(mailer.unsuppress("jm@example.org"), bool)
        assert_type(mailer.suppressions(tag="news", limit=10), Sequence[Suppression])
    assert_type(load_settings(redis_url="redis://127.0.0.1/1"), Settings)
    Mailer(settings=load_settings()).close()


async def asynchronous() -> None:
    """Every call of `AsyncMailer`."""
    async with AsyncMailer() as mailer:
        assert_type(mailer, AsyncMailer)
        receipt = await mailer.enqueue(every_field())
        assert_type(receipt, Receipt)
        assert_type(await mailer.enqueue_many([every_field()]), list[Receipt])
        assert_type(await mailer.get(receipt.id), Job)
        await mailer.check(every_field())
        assert_type(await mailer.wait(receipt.id, timeout=30), Job)
        assert_type(await mailer.cancel(receipt.id), bool)
        await mailer.retry(receipt.id)
        await mailer.reschedule(receipt.id, datetime.now(UTC))
        assert_type(await mailer.list(state="deferred", limit=50), list[Job])
        assert_type(await mailer.counts(), dict[JobState, int])
        assert_type(await mailer.paused_relays(), dict[str, RelayPause])
        assert_type(await mailer.suppress("jm@example.org"), bool)
        assert_type(await mailer.suppressions(), Sequence[Suppression])


def following() -> None:
    """Events, as they come."""
    with Mailer() as mailer:
        for event in mailer.events(group="app", states=["failed", JobState.SENT]):
            assert_type(event, Event)
            assert_type(event.id, str)
            assert_type(event.job_id, str)
            assert_type(event.state, JobState)
            assert_type(event.at, datetime)
            assert_type(event.tries, int)
        assert_type(mailer.events(after="now"), Generator[Event, None, None])
        with closing(mailer.events(states="failed", follow=False)) as events:
            assert_type(next(events), Event)


async def following_in_asyncio() -> None:
    """The same, awaited."""
    async with AsyncMailer() as mailer:
        async with aclosing(mailer.events(after="1-0")) as events:
            async for event in events:
                assert_type(event, Event)
        assert_type(mailer.events(), AsyncGenerator[Event, None])


def pre_enqueue(email: Email) -> Email | None:
    """A hook."""
    if not email.tags:
        raise Vetoed("it has no tag")
    return attrs.evolve(email, tags=[*email.tags, "more"], to="jm@example.org")


def pre_send(outgoing: Outgoing) -> Outgoing:
    """A hook."""
    assert_type(outgoing.recipients, tuple[str, ...])
    assert_type(outgoing.headers, Mapping[str, str])
    assert_type(outgoing.envelope_sender, Address)
    assert_type(outgoing.text, str | None)
    return attrs.evolve(
        outgoing,
        headers={**outgoing.headers, "X-Tries": str(outgoing.tries)},
        envelope_sender="bounces@example.com",
    )


def looking(job: Job) -> None:
    """What is recorded of a job."""
    assert_type(job.state, JobState)
    assert_type(job.state.ended, bool)
    assert_type(job.recipients, tuple[Recipient, ...])
    assert_type(job.recipients[0].address, str)
    assert_type(job.recipients[0].state, RecipientState)
    assert_type(job.recipients[0].reply, str | None)
    assert_type(job.attempts, tuple[Attempt, ...])
    assert_type(job.attempts[0].started_at, datetime)
    assert_type(job.attempts[0].ended_at, datetime | None)
    assert_type(job.attempts[0].decision, Decision)
    assert_type(job.attempts[0].code, int | None)
    assert_type(job.attempts[0].enhanced_code, str | None)
    assert_type(job.next_attempt_at, datetime | None)
    assert_type(job.metadata, dict[str, Any])
    assert_type(job.retries, int)


def errors() -> None:
    """Each error is a `MailerError`, and of a built-in kind where there is one."""
    try:
        Mailer().enqueue(every_field())
    except InvalidEmail as error:
        assert_type(error.field, str)
        assert_type(error.reason, str)
    except (IdempotencyConflict, JobNotFound, WrongState) as error:
        wrong: MailerError = error
        raise wrong from None
    except Vetoed as error:
        assert_type(error.reason, str)
    except EventsMissed:
        pass
    except (StoreUnavailable, WaitTimeout) as error:
        system: OSError = error
        raise system from None
