"""Emails in the transactions of SQLAlchemy, as users write it; see user_code.py."""

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from mailer import AsyncMailer, Email, Mailer
from mailer.contrib.sqlalchemy import enqueue_on_commit

EMAIL = Email(from_email="shop@example.com", to="ann@example.org")


def synchronous(session: Session, registry: scoped_session[Session]) -> None:
    """Sessions take a `Mailer`."""
    sessions = sessionmaker(info={"mailer": Mailer()})
    with sessions.begin() as own:
        enqueue_on_commit(own, EMAIL)
    enqueue_on_commit(session, EMAIL, Mailer())
    enqueue_on_commit(registry, EMAIL, mailer=Mailer())
    enqueue_on_commit(session, EMAIL, AsyncMailer())  # type: ignore[call-overload]


async def asynchronous(session: AsyncSession, registry: async_scoped_session[AsyncSession]) -> None:
    """Those of asyncio take an `AsyncMailer`."""
    enqueue_on_commit(session, EMAIL, AsyncMailer())
    enqueue_on_commit(registry, EMAIL)
    enqueue_on_commit(session, EMAIL, Mailer())  # type: ignore[call-overload]
