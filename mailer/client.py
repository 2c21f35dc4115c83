"""`Mailer`: each call in sentences; `mailer.async_client` awaits the same ones. See ``calls``."""

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from mailer.address import Address
from mailer.batch import Batch, BatchReceipt
from mailer.batching import OnMistake, Row
from mailer.calls import Calls
from mailer.diversion import diverted
from mailer.email import Email
from mailer.errors import MailerError
from mailer.following import Reader
from mailer.job import Job, JobState, Receipt
from mailer.listing import Page
from mailer.loading import current_settings
from mailer.portions import OnRecorded
from mailer.settings import Settings
from mailer.steps import Ahead, Answers, Call, Pause, Reading, Step, Together
from mailer.store.events import Event
from mailer.store.limits import Pace
from mailer.store.operation import Operation
from mailer.store.relays import RelayPause
from mailer.store.runners import SyncRunner
from mailer.store.suppressions import Suppression

if TYPE_CHECKING:
    from mailer.templates.letter import Letter

T = TypeVar("T")


class Mailer:
    """Enqueues emails and tells what became of them. Safe to share between threads.

    Args:
        redis_url: where jobs are kept; without it, ``MAILER_REDIS_URL``.
        settings: instead of those of the environment.

    Every method raises `StoreUnavailable` where Redis doesn't answer within
    ``MAILER_STORE_TIMEOUT_SECONDS``.
    """

    def __init__(self, redis_url: str | None = None, *, settings: Settings | None = None) -> None:
        settings = self._settings = settings_with(redis_url, settings)
        self._calls = Calls(settings)
        self._runner = SyncRunner.connect(
            settings.redis_url.get_secret_value(), settings.store_timeout_seconds
        )

    def enqueue(self, email: Email, *, durable: bool | None = None) -> Receipt:
        """Record ``email`` as a job, in one atomic round trip.

        Args:
            durable: return only once it is on Redis's disk, or on replicas; without it,
                ``MAILER_DURABLE`` decides.

        Raises:
            InvalidEmail: with the field that is wrong; nothing was stored.
            IdempotencyConflict: the key is known with other content; nothing was stored.
            QueueFull: too much waits already, or memory is short; nothing was stored.
            InvalidSetting: the server can't make it durable; nothing was stored.
            NotDurable: it is stored, and it is unknown whether durably.
        """
        return self._run(self._calls.recording.enqueue(email, durable))

    def enqueue_many(
        self,
        emails: Iterable[Email],
        *,
        durable: bool | None = None,
        on_recorded: OnRecorded | None = None,
    ) -> list[Receipt]:
        """Record any number of emails, streamed in chunks; each chunk is stored whole or not.

        Args:
            on_recorded: takes the receipts of each chunk as it is stored. None are kept then, and
                the list is empty: memory stays the same, however many there are.

        Raises:
            InvalidEmail, IdempotencyConflict: naming the email, such as ``emails[150].to``.
            QueueFull, InvalidSetting, NotDurable: see `enqueue`.

        Whatever it raises, the error's ``receipts`` are those of the emails that are stored.
        """
        return self._run(self._calls.recording.enqueue_many(emails, durable, on_recorded))

    def enqueue_batch(
        self,
        name: str,
        letter: "Letter",
        rows: Iterable[Row],
        *,
        on_mistake: OnMistake | None = None,
        durable: bool | None = None,
        dry_run: bool = False,
    ) -> BatchReceipt:
        """Record an email for each row, filled in from ``letter``, which is stored once for all.

        Rows are streamed, in chunks of 100 that are each stored whole or not. Enqueued again under
        the same name, a row makes no second job: an interrupted call is simply repeated.

        Args:
            name: of the batch; 200 characters at most.
            rows: maps names to values, among them ``to``: an address or a list of them. Values are
                such as JSON has.
            on_mistake: told of each row that can't be sent, by its number and what is wrong with
                it; the others are. Without it, the first such row is raised.
            durable: see `enqueue`.
            dry_run: write and check every email, and store nothing.

        Raises:
            InvalidEmail: naming the row, such as ``rows[150].to``.
            BatchConflict: the batch is known with another letter, or other rows.
            WrongState: it was canceled.
            QueueFull, InvalidSetting, NotDurable: see `enqueue`.
        """
        call = self._calls.batching.enqueue(
            name, letter, rows, on_mistake, durable, dry_run=dry_run
        )
        return self._run(call)

    def batch(self, name: str) -> Batch:
        """Tell how a batch fares, by looking at each of its jobs: a million take 2 s.

        Raises:
            BatchNotFound: there is none of that name, or all of it was retired.
        """
        return self._run(self._calls.batching.batch(name))

    def cancel_batch(self, name: str) -> int:
        """Keep what waits of a batch from being sent, and more from coming in; returns how many.

        Raises:
            BatchNotFound: there is none of that name, or all of it was retired.
        """
        return self._run(self._calls.batching.cancel(name))

    def get(self, job_id: str) -> Job:
        """Return what is recorded of a job.

        Raises:
            JobNotFound: no job has this id, or it was retired.
        """
        return self._run(self._calls.get(job_id))

    def message(self, job_id: str) -> bytes:
        """Return a job's message as a relay with 8BITMIME gets it; it is kept until it was sent.

        Raises:
            WrongState: it was sent.
            AttachmentUnavailable: an attachment can't be read here, or was not fetched yet.
        """
        return self._run(self._calls.message(job_id))

    def check(self, email: Email) -> None:
        """Raise what `enqueue` would of an email that can't be sent; nothing is stored.

        Raises:
            InvalidEmail: with the field that is wrong.
        """
        self._run(self._calls.recording.check(email))

    def preview(self, email: Email) -> bytes:
        """Return what would be sent if ``email`` were enqueued now; nothing is.

        Raises:
            InvalidEmail: as `enqueue` would.
            AttachmentUnavailable: an attachment would be fetched by a worker.
        """
        return self._run(self._calls.preview(email))

    def wait(self, job_id: str, timeout: float = 30) -> Job:
        """Return the job once it has ended.

        Raises:
            WaitTimeout: it has not, after ``timeout`` seconds.
        """
        return self._run(self._calls.wait(job_id, timeout))

    def cancel(self, job_id: str) -> bool:
        """Keep a job from being sent; False where it is too late. Atomic."""
        return self._run(self._calls.cancel(job_id))

    def retry(self, job_id: str) -> None:
        """Try again now: a waiting job at once, an ended one for all who were not accepted.

        Raises:
            WrongState: it is being sent, or nobody is left to send to.
        """
        return self._run(self._calls.retry(job_id))

    def resolve(self, job_id: str, *, sent: bool) -> JobState:
        """Say what became of an unconfirmed job; returns the state in which it is now.

        Args:
            sent: whether those of whom it is unknown got it.

        Raises:
            JobNotFound, WrongState: it is not unconfirmed.
        """
        return self._run(self._calls.resolve(job_id, sent=sent))

    def reschedule(self, job_id: str, at: datetime) -> None:
        """Give a job that waits another time; a time in the past means now.

        Raises:
            WrongState: it does not wait.
        """
        return self._run(self._calls.reschedule(job_id, at))

    def list(
        self,
        state: JobState | str | None = None,
        limit: int = 50,
        *,
        recipient: str | None = None,
        tag: str | None = None,
    ) -> list[Job]:
        """Return the jobs in ``state`` (or in any), those first that came into it last.

        With ``recipient`` or ``tag`` only the newest 10,000 are looked through; see `page`.
        """
        return self.page(state, limit, recipient=recipient, tag=tag).jobs

    def page(
        self,
        state: JobState | str | None = None,
        limit: int = 50,
        *,
        recipient: str | None = None,
        tag: str | None = None,
        older_than: str | None = None,
    ) -> Page:
        """Return jobs as `list` does, and where to go on.

        Nothing leads from a recipient or a tag to the jobs: up to 10,000 are looked through, and
        the page says how many, and where it stopped. It may have no jobs, and an ``older``.

        Args:
            recipient: an address, or ``@example.org`` for those of a domain.
            tag: one of the job's tags.
            older_than: the ``older`` of the page before.
        """
        return self._run(self._calls.listing.page(state, recipient, tag, limit, older_than))

    def counts(self) -> dict[JobState, int]:
        """Count the jobs that are recorded in each state."""
        return self._run(self._calls.counts())

    def paces(self) -> dict[str, Pace]:
        """Return, by name, the domains and relays that want less to be sent, as they have said."""
        return self._run(self._calls.paces())

    def paused_relays(self) -> dict[str, RelayPause]:
        """Return, by name, the relays that workers have paused, and why."""
        return self._run(self._calls.paused_relays())

    def suppress(
        self, address: str | Address, *, tag: str | None = None, reason: str = "", by: str = "api"
    ) -> bool:
        """Put an address on the suppression list; False where it is on it already.

        Nothing more is sent to it: neither what is enqueued from now on, nor what waits.

        Args:
            tag: only emails of this tag are kept from it; without one, all are.
            reason: kept with the entry, and told as the recipient's ``reply``.
            by: who does it, for the record.

        Raises:
            InvalidArgument: naming what is malformed.
        """
        return self._run(self._calls.suppressing.suppress(address, tag, reason, by))

    def suppress_many(
        self,
        addresses: Iterable[str | Address],
        *,
        tag: str | None = None,
        reason: str = "",
        by: str = "api",
    ) -> int:
        """Put any number of addresses on the list, in chunks; returns how many are new.

        Raises:
            InvalidArgument: naming the address, such as ``addresses[150]``; those of earlier
                chunks are on the list, and may be given again.
        """
        return self._run(self._calls.suppressing.suppress_many(addresses, tag, reason, by))

    def unsuppress(self, address: str | Address, *, tag: str | None = None) -> bool:
        """Take an address off the list; False where it is not on it."""
        return self._run(self._calls.suppressing.unsuppress(address, tag))

    def suppressions(
        self,
        *,
        address: str | Address | None = None,
        tag: str | None = None,
        limit: int = 1000,
    ) -> Sequence[Suppression]:
        """Return up to ``limit`` entries of the list, in no order.

        Args:
            address: only its entries, for all emails and for tags.
            tag: only the entries for it.
        """
        return self._run(self._calls.suppressing.suppressions(address, tag, limit))

    def events(
        self,
        *,
        after: str | None = None,
        states: str | Iterable[str] | None = None,
        group: str | None = None,
        follow: bool = True,
    ) -> Generator[Event, None, None]:
        """Yield events in their order, and wait for more. ``MAILER_EVENTS`` has them recorded.

        Args:
            after: go on after the event with this id, or ``now``; without one, begin with the
                oldest that is kept. Remember the last id, to go on there another time.
            states: only events of these.
            group: share the events with all who read for this group, also in other processes. Each
                is given to one of them. It is acknowledged once the loop goes on to the next
                event; where that does not come in ``MAILER_LEASE_SECONDS``, another one gets it.
            follow: wait for more; else end with the last one.

        Raises:
            InvalidArgument: naming what is malformed.
            InvalidSetting: of a state that is asked for no events are recorded.
            EventsMissed: some were dropped before they were read. Call again, without ``after``.
        """
        return self._events(self._calls.reader(after, states, group, follow=follow))

    def _events(self, reader: Reader) -> Generator[Event, None, None]:
        try:
            while page := self._run(reader.more()):
                for event in page:
                    yield event
                    reader.done(event)
        finally:
            self._run(reader.close())

    def close(self) -> None:
        """Close the connections to Redis."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        call = diverted(call, self._settings)
        go_on: Callable[[Any], Step] = call.send
        answer: Any = None
        while True:
            try:
                step = go_on(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a Call[T] returns T
            try:
                go_on, answer = call.send, self._done(step)
            except MailerError as error:
                go_on, answer = call.throw, error

    def _done(self, step: Step) -> Any:
        match step:
            case Operation():
                return self._runner.run(step)
            case Together():
                return self._runner.run_many(step.operations)
            case Pause():
                time.sleep(step.seconds)
                return None
            case Ahead():
                return self._runner.send(step.operations)
            case Answers():
                return self._runner.answers(step.to)
            case Reading():
                return step.work()


def settings_with(redis_url: str | None, settings: Settings | None) -> Settings:
    """Take the settings of the process, or those given, with another Redis."""
    settings = settings or current_settings()
    return (
        settings.model_copy(update={"redis_url": SecretStr(redis_url)}) if redis_url else settings
    )
