"""Emails that leave once the transaction of a SQLAlchemy session is committed, and else never."""

from collections.abc import Awaitable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, overload

import attrs

try:
    from sqlalchemy import event
    from sqlalchemy.orm import Session, SessionTransaction, scoped_session
    from sqlalchemy.util import await_only
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "mailer.contrib.sqlalchemy needs SQLAlchemy: pip install 'celery-mailer[sqlalchemy]'"
    ) from None

from mailer.async_client import AsyncMailer
from mailer.client import Mailer
from mailer.email import Email
from mailer.errors import InvalidArgument, InvalidEmail, MailerError

if TYPE_CHECKING:  # it can't be imported without greenlet
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

_KEY = __name__  # in Session.info


@overload
def enqueue_on_commit(
    session: "Session | scoped_session[Any]", email: Email, mailer: Mailer | None = None
) -> None: ...
@overload
def enqueue_on_commit(
    session: "AsyncSession | async_scoped_session[Any]",
    email: Email,
    mailer: AsyncMailer | None = None,
) -> None: ...
def enqueue_on_commit(
    session: Any, email: Email, mailer: Mailer | AsyncMailer | None = None
) -> None:
    """Enqueue ``email`` as soon as the transaction that the session is in is committed.

    All emails of a transaction are enqueued together, after the connection to the database was
    given back. A rollback drops them; that of a savepoint drops what was asked for since it was
    set. Like ``session.add``, it begins a transaction where none is under way.

    If Redis is away then, ``session.commit()`` raises `StoreUnavailable` with a note, although the
    transaction is committed. Who can't have that wants an outbox: docs/transactions.md.

    Args:
        session: for an AsyncSession, an `AsyncMailer` is needed.
        mailer: without one, that of ``sessionmaker(engine, info={"mailer": Mailer()})``.

    Raises:
        InvalidEmail: naming the field, as `Mailer.check` does; for an AsyncSession it comes from
            ``commit()``, and nothing is committed.
        InvalidArgument: there is no mailer, or it doesn't suit the session.
    """
    if callable(session):  # scoped
        session = session()
    sync_session: Session = getattr(session, "sync_session", session)
    mailer = mailer or sync_session.info.get("mailer")
    wanted = Mailer if sync_session is session else AsyncMailer
    if not isinstance(mailer, wanted):
        raise InvalidArgument(
            "mailer",
            f"is {'an ' if wanted is AsyncMailer else 'a '}{wanted.__name__} for this kind of "
            f"session; give one, or make sessions with info={{'mailer': {wanted.__name__}()}}",
        )
    if not isinstance(email, Email):
        raise InvalidEmail("email", f"is an Email, not {type(email).__name__}")
    if isinstance(mailer, Mailer):
        mailer.check(email)
    if _KEY not in sync_session.info:
        sync_session.info[_KEY] = _Waiting(sync_session)
    sync_session.info[_KEY].add(email, mailer)


@attrs.frozen
class _Entry:
    """An email, and the transactions on which it depends, the session's and its savepoints."""

    email: Email
    mailer: Mailer | AsyncMailer
    within: Sequence[SessionTransaction]


class _Waiting:
    """The emails of a session that wait for its commit."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entries: list[_Entry] = []
        self._committed: SessionTransaction | None = None
        event.listen(session, "before_commit", self._before_commit)
        event.listen(session, "after_commit", self._after_commit)
        event.listen(session, "after_transaction_end", self._after_end)

    def add(self, email: Email, mailer: Mailer | AsyncMailer) -> None:
        if not self._session.in_transaction():
            self._session.begin()
        self._entries.append(_Entry(email, mailer, _under_way(self._session)))

    def _before_commit(self, session: Session) -> None:
        """Check, while it can still be rolled back, what could not be checked before."""
        if not session.in_nested_transaction():
            for entry in self._entries:
                if isinstance(entry.mailer, AsyncMailer):
                    await_only(entry.mailer.check(entry.email))

    def _after_commit(self, session: Session) -> None:
        self._committed = _under_way(session)[0]

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        """Let them go, or drop those that depend on a transaction that was not committed.

        Only now, and not in ``after_commit``: the session can be used again, and its connection
        need not be kept from others while Redis is waited for.
        """
        if self._committed is not transaction:
            self._entries = [entry for entry in self._entries if transaction not in entry.within]
        elif transaction.parent is None:
            entries, self._entries = self._entries, []
            with ExitStack() as stack:  # tries all mailers, before it raises what one has raised
                for mailer in dict.fromkeys(entry.mailer for entry in entries):
                    emails = [entry.email for entry in entries if entry.mailer is mailer]
                    stack.callback(_enqueue, mailer, emails)


def _under_way(session: Session) -> list[SessionTransaction]:
    """List the transactions of a session that are not ended, the innermost savepoint first."""
    found = []
    transaction = session.get_nested_transaction() or session.get_transaction()
    while transaction:
        if transaction.nested or not transaction.parent:  # else it is a flush, which ends earlier
            found.append(transaction)
        transaction = transaction.parent
    return found


def _enqueue(mailer: Mailer | AsyncMailer, emails: Sequence[Email]) -> None:
    try:
        enqueued = mailer.enqueue_many(emails)
        if isinstance(enqueued, Awaitable):
            await_only(enqueued)
    except MailerError as error:
        error.add_note("The transaction is committed; not all of its emails may be enqueued.")
        raise
