"""Instead of Redis and workers: mailers' calls run as ever, and what is due is taken for sent.

They run on a Redis server of the tests' own. So what is refused in production is refused here, by
the same checks, the same steps in Redis and the same MIME build.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from mailer.attachments.files import sha256_of
from mailer.calls import Calls
from mailer.errors import MailerError
from mailer.job import Attempt, Decision, Receipt, Recipient, RecipientState, end_of
from mailer.message import Source
from mailer.preview import rendered
from mailer.settings import Settings
from mailer.steps import Ahead, Answers, Call, Pause, Reading, Step, Together
from mailer.store.agenda import ENDED, Agenda, Assignment, Result
from mailer.store.keys import Keys
from mailer.store.operation import Operation, run_command
from mailer.store.records import at
from mailer.store.runners import SyncRunner
from mailer.testing.sent import SentEmail

T = TypeVar("T")
_NAME = "outbox"  # as worker and relay of the attempts on record
_REPLY = "250 2.0.0 In the outbox of a test"
_LEASE = 60.0  # seconds
_AT_ONCE = 1000
# What a server that keeps emails safely would say; this one has no need to.
_DURABLE: dict[Any, Any] = {
    "INFO": {"redis_version": "99.0", "aof_enabled": "1", "connected_slaves": "99"},
    "WAITAOF": [1, 0],
    "WAIT": 99,
}


class StandIn:
    """Stands in for the Redis of every mailer that it is shown, and for all workers.

    Args:
        take: gets what would have been sent.
    """

    def __init__(self, runner: SyncRunner, take: Callable[[SentEmail], None]) -> None:
        self._runner = runner
        self._take = take
        self._settings: dict[str, Settings] = {}  # by key prefix

    @property
    def settings(self) -> list[Settings]:
        """Those of the mailers that were used, one for each key prefix."""
        return [*self._settings.values()]

    def divert(self, call: Call[T], settings: Settings) -> Call[T]:
        """Run a mailer's call on the tests' server, and take for sent what is due after it."""
        self._settings[settings.key_prefix] = settings
        return self._driven(self._sending(call, settings), settings)

    def _sending(self, call: Call[T], settings: Settings) -> Call[T]:
        try:
            result = yield from call
        except Exception as error:  # also of whoever makes the emails: some may be recorded
            yield from self._send(settings, getattr(error, "receipts", ()))
            raise
        yield from self._send(settings, result)
        return result

    def _driven(self, call: Call[T], settings: Settings) -> Call[T]:
        """Take those steps of a call here that would go to the mailer's own Redis."""
        go_on: Callable[[Any], Step] = call.send
        answer: Any = None
        while True:
            try:
                step = go_on(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a Call[T] returns T
            try:
                go_on, answer = call.send, (yield self._instead_of(step))
            except MailerError as error:
                go_on, answer = call.throw, error
            if isinstance(step, Pause):  # the time of a scheduled one may have come
                yield from self._driven(self._send(settings), settings)

    def _instead_of(self, step: Step) -> Step:
        """Give what a mailer is to do; as `AsyncMailer` does it, it may block."""
        runner = self._runner
        match step:
            case Pause() | Reading():
                return step
            case Together():
                return Reading(partial(runner.run_many, [*map(_durable, step.operations)]))
            case Ahead():
                return Reading(partial(runner.send, [*map(_durable, step.operations)]))
            case Answers():
                return Reading(partial(runner.answers, step.to))
            case _:
                return Reading(partial(runner.run, _durable(step)))

    def _send(self, settings: Settings, receipts: Any = ()) -> Call[None]:
        """Take for sent all that is due.

        Args:
            receipts: of what was enqueued just now, for its order; anything else tells none.
        """
        agenda, calls = Agenda(Keys(settings.key_prefix)), Calls(settings)
        begun: list[Assignment] = []
        while True:
            claim = yield agenda.claim(_AT_ONCE, _AT_ONCE, _LEASE)
            ids = [job_id for lane in claim.ids.values() for job_id in lane]
            if not ids:
                break
            begun += yield agenda.begin(ids, _NAME, _LEASE)
        order = {job_id: n for n, job_id in enumerate(_ids(receipts))}
        begun.sort(key=lambda job: order.get(job.lease.job_id, len(order)))
        for job in begun:
            try:
                raw: bytes = yield from _message(job, calls, settings)
            except MailerError as error:  # in production, too, it would fail by now
                yield agenda.finish([_ended(job, RecipientState.REFUSED, str(error))])
            else:
                yield agenda.finish([_ended(job, RecipientState.ACCEPTED, _REPLY)])
                self._take(_sent(job, raw))


def _durable(operation: Operation[Any]) -> Operation[Any]:
    """Answer as a server does that keeps emails safely, where `durable` asks for it."""
    reply = _DURABLE.get(operation.words[0])
    return run_command("PING", parse=lambda _: operation.parse(reply)) if reply else operation


def _ids(receipts: Any) -> list[str]:
    found = receipts if isinstance(receipts, Sequence) else [receipts]
    return [receipt.id for receipt in found if isinstance(receipt, Receipt)]


def _message(job: Assignment, calls: Calls, settings: Settings) -> Call[bytes]:
    """Build a message; what a worker would fetch is replaced by its URI."""
    message = job.message
    if message.merged is not None:
        message = yield from calls.batching.filled_in(job.lease.job_id, message)
    contents: dict[str, bytes] = {}
    attachments = []
    for attachment in message.attachments:
        source = attachment.source
        if source.uri:
            content = source.uri.encode()
            source = Source(sha256_of(content), len(content))
            contents[source.sha256] = content
        attachments.append(msgspec.structs.replace(attachment, source=source))
    message = msgspec.structs.replace(message, attachments=tuple(attachments))
    for source in message.sources:
        if not source.path and source.sha256 not in contents:
            contents[source.sha256] = yield from calls.content(source)
    raw: bytes = yield Reading(partial(rendered, message, contents, settings))
    return raw


def _open(job: Assignment) -> tuple[str, ...]:
    return tuple(r.address for r in job.recipients if r.state is RecipientState.PENDING)


def _ended(job: Assignment, state: RecipientState, reply: str) -> Result:
    addresses = _open(job)
    recipients = tuple(
        Recipient(r.address, state, reply) if r.address in addresses else r for r in job.recipients
    )
    accepted = state is RecipientState.ACCEPTED
    attempt = Attempt(
        n=job.tries + 1,
        started_at=at(job.begun_ms),
        ended_at=at(job.begun_ms),
        decision=Decision.SENT if accepted else Decision.FAIL,
        worker=_NAME,
        relay=_NAME if accepted else None,
        phase="dot" if accepted else None,
        code=250 if accepted else None,
        enhanced_code="2.0.0" if accepted else None,
        reply=reply,
        rule="accepted" if accepted else None,
    )
    return Result(job.lease, end_of(recipients), ENDED, job.tries + 1, recipients, attempt)


def _sent(job: Assignment, raw: bytes) -> SentEmail:
    return SentEmail(
        raw=raw,
        recipients=_open(job),
        envelope_sender=job.head.envelope_sender,
        tags=tuple(job.head.tags),
        metadata=job.head.metadata,
        job_id=job.lease.job_id,
    )
