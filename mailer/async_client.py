"""The public surface for asyncio; `mailer.client` has the sentences."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from mailer.address import Address
from mailer.batch import Batch, BatchReceipt
from mailer.batching import OnMistake, Row
from mailer.calls import Calls
from mailer.client import settings_with
from mailer.diversion import diverted
from mailer.email import Email
from mailer.errors import MailerError
from mailer.following import Reader
from mailer.job import Job, JobState, Receipt
from mailer.listing import Page
from mailer.portions import OnRecorded
from mailer.settings import Settings
from mailer.steps import Ahead, Answers, Call, Pause, Reading, Step, Together
from mailer.store.events import Event
from mailer.store.limits import Pace
from mailer.store.operation import Operation
from mailer.store.relays import RelayPause
from mailer.store.runners import AsyncRunner
from mailer.store.suppressions import Suppression

if TYPE_CHECKING:
    from mailer.templates.letter import Letter

T = TypeVar("T")


class AsyncMailer:
    """`Mailer` for asyncio: the same methods, awaited; it never blocks the event loop.

    Use it as ``async with AsyncMailer() as mailer``, or ``await mailer.close()`` in the end.
    """

    def __init__(self, redis_url: str | None = None, *, settings: Settings | None = None) -> None:
        settings = self._settings = settings_with(redis_url, settings)
        self._calls = Calls(settings)
        self._runner = AsyncRunner.connect(
            settings.redis_url.get_secret_value(), settings.store_timeout_seconds
        )

    async def enqueue(self, email: Email, *, durable: bool | None = None) -> Receipt:
        """See `Mailer.enqueue`."""
        return await self._run(self._calls.recording.enqueue(email, durable))

    async def enqueue_many(
        self,
        emails: Iterable[Email],
        *,
        durable: bool | None = None,
        on_recorded: OnRecorded | None = None,
    ) -> list[Receipt]:
        """See `Mailer.enqueue_many`."""
        return await self._run(self._calls.recording.enqueue_many(emails, durable, on_recorded))

    async def enqueue_batch(
        self,
        name: str,
        letter: "Letter",
        rows: Iterable[Row],
        *,
        on_mistake: OnMistake | None = None,
        durable: bool | None = None,
        dry_run: bool = False,
    ) -> BatchReceipt:
        """See `Mailer.enqueue_batch`."""
        call = self._calls.batching.enqueue(
            name, letter, rows, on_mistake, durable, dry_run=dry_run
        )
        return await self._run(call)

    async def batch(self, name: str) -> Batch:
        """See `Mailer.batch`."""
        return await self._run(self._calls.batching.batch(name))

    async def cancel_batch(self, name: str) -> int:
        """See `Mailer.cancel_batch`."""
        return await self._run(self._calls.batching.cancel(name))

    async def get(self, job_id: str) -> Job:
        """See `Mailer.get`."""
        return await self._run(self._calls.get(job_id))

    async def message(self, job_id: str) -> bytes:
        """See `Mailer.message`."""
        return await self._run(self._calls.message(job_id))

    async def check(self, email: Email) -> None:
        """See `Mailer.check`."""
        await self._run(self._calls.recording.check(email))

    async def preview(self, email: Email) -> bytes:
        """See `Mailer.preview`."""
        return await self._run(self._calls.preview(email))

    async def wait(self, job_id: str, timeout: float = 30) -> Job:  # noqa: ASYNC109 - as in Mailer
        """See `Mailer.wait`."""
        return await self._run(self._calls.wait(job_id, timeout))

    async def cancel(self, job_id: str) -> bool:
        """See `Mailer.cancel`."""
        return await self._run(self._calls.cancel(job_id))

    async def retry(self, job_id: str) -> None:
        """See `Mailer.retry`."""
        return await self._run(self._calls.retry(job_id))

    async def resolve(self, job_id: str, *, sent: bool) -> JobState:
        """See `Mailer.resolve`."""
        return await self._run(self._calls.resolve(job_id, sent=sent))

    async def reschedule(self, job_id: str, at: datetime) -> None:
        """See `Mailer.reschedule`."""
        return await self._run(self._calls.reschedule(job_id, at))

    async def list(
        self,
        state: JobState | str | None = None,
        limit: int = 50,
        *,
        recipient: str | None = None,
        tag: str | None = None,
    ) -> list[Job]:
        """See `Mailer.list`."""
        return (await self.page(state, limit, recipient=recipient, tag=tag)).jobs

    async def page(
        self,
        state: JobState | str | None = None,
        limit: int = 50,
        *,
        recipient: str | None = None,
        tag: str | None = None,
        older_than: str | None = None,
    ) -> Page:
        """See `Mailer.page`."""
        return await self._run(self._calls.listing.page(state, recipient, tag, limit, older_than))

    async def counts(self) -> dict[JobState, int]:
        """See `Mailer.counts`."""
        return await self._run(self._calls.counts())

    async def paces(self) -> dict[str, Pace]:
        """See `Mailer.paces`."""
        return await self._run(self._calls.paces())

    async def paused_relays(self) -> dict[str, RelayPause]:
        """See `Mailer.paused_relays`."""
        return await self._run(self._calls.paused_relays())

    async def suppress(
        self, address: str | Address, *, tag: str | None = None, reason: str = "", by: str = "api"
    ) -> bool:
        """See `Mailer.suppress`."""
        return await self._run(self._calls.suppressing.suppress(address, tag, reason, by))

    async def suppress_many(
        self,
        addresses: Iterable[str | Address],
        *,
        tag: str | None = None,
        reason: str = "",
        by: str = "api",
    ) -> int:
        """See `Mailer.suppress_many`."""
        return await self._run(self._calls.suppressing.suppress_many(addresses, tag, reason, by))

    async def unsuppress(self, address: str | Address, *, tag: str | None = None) -> bool:
        """See `Mailer.unsuppress`."""
        return await self._run(self._calls.suppressing.unsuppress(address, tag))

    async def suppressions(
        self,
        *,
        address: str | Address | None = None,
        tag: str | None = None,
        limit: int = 1000,
    ) -> Sequence[Suppression]:
        """See `Mailer.suppressions`."""
        return await self._run(self._calls.suppressing.suppressions(address, tag, limit))

    def events(
        self,
        *,
        after: str | None = None,
        states: str | Iterable[str] | None = None,
        group: str | None = None,
        follow: bool = True,
    ) -> AsyncGenerator[Event, None]:
        """See `Mailer.events`; leave the loop early through `contextlib.aclosing`."""
        return self._events(self._calls.reader(after, states, group, follow=follow))

    async def _events(self, reader: Reader) -> AsyncGenerator[Event, None]:
        try:
            while page := await self._run(reader.more()):
                for event in page:
                    yield event
                    reader.done(event)
        finally:
            await self._run(reader.close())

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._runner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, call: Call[T]) -> T:
        call = diverted(call, self._settings)
        go_on: Callable[[Any], Step] = call.send
        answer: Any = None
        while True:
            try:
                step = go_on(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a Call[T] returns T
            try:
                go_on, answer = call.send, await self._done(step)
            except MailerError as error:
                go_on, answer = call.throw, error

    async def _done(self, step: Step) -> Any:
        match step:
            case Operation():
                return await self._runner.run(step)
            case Together():
                return await self._runner.run_many(step.operations)
            case Pause():
                await asyncio.sleep(step.seconds)
                return None
            case Ahead():
                return self._runner.send(step.operations)
            case Answers():
                return await step.to
            case Reading():
                return await asyncio.to_thread(step.work)
