"""The application's ``pre_send`` functions: each email goes through them before it is built."""

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction
from traceback import extract_tb
from types import MappingProxyType

import attrs
import msgspec
import structlog

from mailer.errors import MailerError, Vetoed
from mailer.hooks import Hook, Outgoing, find_hooks
from mailer.message import Message
from mailer.mime.headers import custom
from mailer.settings import Settings
from mailer.store.agenda import Assignment

log = structlog.get_logger()
_LONGEST = 30.0  # seconds for one hook: a lease must not be renewed for ever
_TEXTS = frozenset({"subject", "text", "html"})
_OF_ALL = frozenset({"headers", "envelope_sender"})
_NAMES = re.compile(r"^([!-9;-~]+)[ \t]*:", re.MULTILINE)


class HookFailed(MailerError):
    """A hook raised an error, or returned what it may not; the email is tried again."""


class SendHooks:
    """Runs ``pre_send`` functions: async ones on the event loop, others in threads of their own.

    Args:
        at_once: for how many emails.
    """

    def __init__(self, hooks: Sequence[Hook], at_once: int) -> None:
        self._hooks = hooks
        self._threads = ThreadPoolExecutor(at_once, "mailer-hook")
        self._slots = asyncio.Semaphore(at_once)

    @classmethod
    def read(cls, settings: Settings) -> "SendHooks | None":
        """Find those of the settings; None where there are none.

        Raises:
            InvalidSetting: ``MAILER_HOOKS`` names what can't be imported.
        """
        hooks = find_hooks("pre_send", settings.hooks)
        return cls(hooks, settings.connections) if hooks else None

    async def apply(
        self, job: Assignment, message: Message, recipients: tuple[str, ...]
    ) -> tuple[Assignment, Message]:
        """Return the job and its message as the hooks leave them.

        Raises:
            Vetoed: a hook keeps the email from being sent.
            HookFailed: a hook is at fault.
        """
        outgoing = _outgoing(job, message, recipients)
        async with self._slots:
            for hook in self._hooks:
                try:
                    changed = await self._returned(hook, outgoing)
                    if changed is not None:
                        job, message = _changed(job, message, outgoing, changed)
                        outgoing = changed
                except HookFailed as error:
                    reason = f"the hook {hook.name} {error}"
                    log.error(reason, job=job.lease.job_id)
                    raise HookFailed(reason) from None
        return job, message

    def close(self) -> None:
        """End the threads that have nothing to do."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _returned(self, hook: Hook, outgoing: Outgoing) -> Outgoing | None:
        try:
            async with asyncio.timeout(_LONGEST):
                if iscoroutinefunction(hook.run):
                    returned = await hook.run(outgoing)
                else:
                    loop = asyncio.get_running_loop()
                    returned = await loop.run_in_executor(self._threads, hook.run, outgoing)
        except (Vetoed, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - an application's code may raise anything
            # which is not quoted: it may contain a part of the message
            at = extract_tb(error.__traceback__)[-1]
            where = f"{at.filename}, line {at.lineno}"
            raise HookFailed(f"raised {type(error).__name__} ({where})") from None
        if returned is None or isinstance(returned, Outgoing):
            return returned
        raise HookFailed(f"returned a {type(returned).__name__}, and no Outgoing")


def _outgoing(job: Assignment, message: Message, recipients: tuple[str, ...]) -> Outgoing:
    return Outgoing(
        job_id=job.lease.job_id,
        message_id=message.message_id,
        from_email=message.from_email,
        recipients=recipients,
        tries=job.tries,
        tags=job.head.tags,
        metadata=MappingProxyType(job.head.metadata),
        subject=job.head.subject,
        text=message.text,
        html=message.html,
        headers=dict(message.headers),
        envelope_sender=job.head.envelope_sender,
    )


def _changed(
    job: Assignment, message: Message, before: Outgoing, after: Outgoing
) -> tuple[Assignment, Message]:
    """Put into a job and its message what a hook has changed.

    Raises:
        HookFailed: it is nothing that a hook may change.
    """
    fields = [field.name for field in attrs.fields(Outgoing)]
    changes = {name for name in fields if getattr(after, name) != getattr(before, name)}
    if wrong := changes - (_OF_ALL if message.prepared else _OF_ALL | _TEXTS):
        raise HookFailed(f"changed {min(wrong)}, which must stay as it is")
    if "envelope_sender" in changes:
        head = msgspec.structs.replace(job.head, envelope_sender=after.envelope_sender.wire)
        job = msgspec.structs.replace(job, head=head)
    if "headers" in changes:
        message = _with_headers(message, before, after)
    texts = {name: getattr(after, name) for name in changes & _TEXTS}
    return job, msgspec.structs.replace(message, **texts)


def _with_headers(message: Message, before: Outgoing, after: Outgoing) -> Message:
    """Put in additional headers; before those of a message that another library has built."""
    old, new, prepared = before.headers, after.headers, message.prepared
    there = {name.lower() for name in new if name in old}
    if prepared:
        if any(new.get(name) != value for name, value in old.items()):
            raise HookFailed("changed a header that another hook has added")
        there |= {match.lower() for match in _NAMES.findall(prepared.header)}
    for name in new:
        if name not in old and name.lower() in there:
            raise HookFailed(f"added the header {name}, which is there already")
    if not prepared:
        return msgspec.structs.replace(message, headers=tuple(new.items()))
    added = [custom(name, value) for name, value in new.items() if name not in old]
    header = "".join((*added, prepared.header))
    return msgspec.structs.replace(
        message, prepared=msgspec.structs.replace(prepared, header=header)
    )
