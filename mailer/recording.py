"""Emails on their way into the store: one by one, or in chunks of which two are in work at once."""

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from mailer.attachment import Attachment
from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.errors import InvalidEmail, MailerError, NotDurable, StoreUnavailable, Vetoed
from mailer.hooks import Hook, before_enqueue, passed_through
from mailer.job import Receipt
from mailer.portions import Filling, OnRecorded, Portion, Receipts, UnderWay
from mailer.settings import Settings
from mailer.steps import Ahead, Answers, Call, Reading, Together
from mailer.store.blobs import Blobs, MissingBlobs
from mailer.store.durability import Durability
from mailer.store.jobs import Jobs
from mailer.store.keys import Keys
from mailer.store.new_jobs import NewJob
from mailer.store.operation import Operation

_MOST_UPLOADS = 5  # of what the store loses as soon as it has it


class Recording:
    """The calls that enqueue."""

    def __init__(self, settings: Settings, keys: Keys, jobs: Jobs) -> None:
        self._settings = settings
        self._jobs = jobs
        self._blobs = Blobs(keys)
        self._durability = Durability(settings.durable_replicas, settings.store_timeout_seconds)
        self._can_be_durable = False  # unknown yet

    def enqueue(self, email: Email, durable: bool | None) -> Call[Receipt]:
        """See `Mailer.enqueue`."""
        durable = self._is_durable(durable)
        if durable:
            yield from self.prepare(durable)
        job = self._new_job(email)
        if isinstance(job, Reading):
            job = yield job
        if durable or job.blobs:
            receipts = yield from self._record(Portion([job], durable))
        else:  # as most are: there is nothing to upload, and nothing to wait for
            receipts = yield self._jobs.enqueue([job])
        return receipts[0]

    def enqueue_many(
        self, emails: Iterable[Email], durable: bool | None, on_recorded: OnRecorded | None = None
    ) -> Call[list[Receipt]]:
        """See `Mailer.enqueue_many`. While Redis records one chunk, the next one is prepared."""
        yield from self.prepare(durable)
        receipts = Receipts(on_recorded)
        chunk, ahead = Filling(), None
        mistake: InvalidEmail | Vetoed | None = None
        try:
            for email in _up_to_a_mistake(emails):
                try:
                    job = self._new_job(email)
                    if isinstance(job, Reading):
                        job = yield job
                    chunk.add(job)
                except (InvalidEmail, Vetoed) as error:
                    earlier = len(ahead.portion.jobs) if ahead else 0
                    place = receipts.count + earlier + len(chunk.jobs)
                    mistake = _placed(error, f"emails[{place}]")
                    break
                if chunk.is_full:
                    one_before, ahead = ahead, None
                    receipts.take((yield from self.recorded(one_before)))
                    ahead = yield from self.begin(Portion(chunk.jobs, durable, receipts.count))
                    chunk = Filling()
            last, ahead = ahead, None
            receipts.take((yield from self.recorded(last)))
            if chunk.jobs:
                portion = Portion(chunk.jobs, durable, receipts.count)
                receipts.take((yield from self._record(portion)))
        except MailerError as error:
            error.receipts = [*receipts.kept, *error.receipts]
            raise
        except Exception:  # of whoever makes the emails: what was sent before it is recorded
            with suppress(MailerError):
                yield from self.recorded(ahead)
            raise
        finally:
            if ahead:
                ahead.answers.cancel()
        if mistake:
            mistake.receipts = receipts.kept
            raise mistake
        return receipts.kept

    def check(self, email: Email) -> Call[None]:
        """See `Mailer.check`."""
        job = self._new_job(email)
        if isinstance(job, Reading):
            yield job

    def hooked(self, email: Email) -> Email:
        """Give an email to the hooks; most applications have none."""
        return passed_through(self._hooks, email) if self._hooks else email

    @cached_property
    def _hooks(self) -> Sequence[Hook]:
        """Those of ``MAILER_HOOKS``; found late, for they may import what makes the mailer."""
        return before_enqueue(self._settings.hooks)

    def prepare(self, durable: bool | None) -> Call[None]:
        """Refuse what the server can't do, before anything is stored."""
        if self._is_durable(durable) and not self._can_be_durable:
            yield Together(self._durability.requirements())
            self._can_be_durable = True

    def begin(self, portion: Portion) -> Call[UnderWay]:
        """Begin to record jobs; `recorded` waits for it."""
        answers = yield Ahead(self._enqueue(portion))
        return UnderWay(answers, portion)

    def recorded(self, ahead: UnderWay | None) -> Call[Sequence[Receipt]]:
        """Wait for what `begin` began."""
        if ahead is None:
            return []
        answers = yield Answers(ahead.answers)
        return (yield from self._completed(answers, ahead.portion))

    def uploaded(
        self,
        answers: Sequence[Any],
        contents: Mapping[str, bytes],
        ask: Callable[[], list[Operation[Any]]],
    ) -> Call[Sequence[Any]]:
        """Upload blobs that the first of the answers misses, and ask again, until it misses none.

        Raises:
            StoreUnavailable: Redis does not keep them.
        """
        for _ in range(_MOST_UPLOADS):
            if not isinstance(answers[0], MissingBlobs):
                return answers
            for digest in answers[0].digests:
                yield self._blobs.upload(digest, contents[digest])
            answers = yield Together(ask())
        raise StoreUnavailable("Redis loses attachments at once; its maxmemory-policy is to blame")

    def _is_durable(self, durable: bool | None) -> bool:
        return self._settings.durable if durable is None else durable

    def _record(self, portion: Portion) -> Call[Sequence[Receipt]]:
        """Record jobs, and upload first those of their blobs that the store lacks."""
        answers = yield Together(self._enqueue(portion))
        return (yield from self._completed(answers, portion))

    def _enqueue(self, portion: Portion) -> list[Operation[Any]]:
        enqueue = self._jobs.enqueue(portion.jobs, portion.first, portion.chunk)
        # together, for Redis waits for what the same connection has written
        durable = self._is_durable(portion.durable)
        return [enqueue, self._durability.awaited()] if durable else [enqueue]

    def _completed(self, answers: Sequence[Any], portion: Portion) -> Call[Sequence[Receipt]]:
        """Upload what the store lacks, and give the receipts."""
        if isinstance(answers[0], MissingBlobs):
            contents = ChainMap(*(dict(job.blobs) for job in portion.jobs if job.blobs))
            ask = partial(self._enqueue, portion)
            answers = yield from self.uploaded(answers, contents, ask)
        answer, *problems = answers
        if any(problems):
            error = NotDurable(problems[0])
            error.receipts = answer
            raise error
        receipts: Sequence[Receipt] = answer
        return receipts

    def _new_job(self, email: Email | InvalidEmail) -> NewJob | Reading:
        """Make the job, or give the step that makes it."""
        if isinstance(email, InvalidEmail):
            raise email
        if not isinstance(email, Email):
            raise InvalidEmail("email", f"is an Email, not {type(email).__name__}")
        email = self.hooked(email)
        if email.text_from_html or (email.attachments and _any_is_a_file(email.attachments)):
            return Reading(partial(new_job, email, self._settings))
        return new_job(email, self._settings)


def _any_is_a_file(attachments: Sequence[Attachment]) -> bool:
    return any(attachment.path for attachment in attachments)


def _placed(mistake: InvalidEmail | Vetoed, place: str) -> InvalidEmail | Vetoed:
    """Say with a mistake which one of several emails it is in."""
    if isinstance(mistake, Vetoed):
        return Vetoed(mistake.reason, place)
    return InvalidEmail(f"{place}.{mistake.field}", mistake.reason)


def _up_to_a_mistake(emails: Iterable[Email]) -> Iterator[Email | InvalidEmail]:
    """Yield emails and, where making the next one fails as it goes, its mistake as the last."""
    try:
        yield from emails
    except InvalidEmail as error:
        yield error
