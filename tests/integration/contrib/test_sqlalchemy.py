"""`enqueue_on_commit`, with SQLite and a real Redis."""

from contextlib import nullcontext, suppress

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    object_session,
    scoped_session,
    sessionmaker,
)

from mailer import (
    AsyncMailer,
    Attachment,
    Email,
    InvalidArgument,
    InvalidEmail,
    Mailer,
    StoreUnavailable,
    load_settings,
)
from mailer.contrib.sqlalchemy import enqueue_on_commit


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)


def email(name: str = "ann", **fields) -> Email:
    given = {"from_email": "me@example.com", "to": f"{name}@example.org", "subject": name}
    return Email(**given | fields)


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def settings(redis_server, key_prefix):
    return load_settings(redis_url=redis_server.url, key_prefix=key_prefix, max_recipients=2)


class CountingMailer(Mailer):
    """Notes how many emails each call enqueues."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.calls = []

    def enqueue_many(self, emails, **options):
        emails = list(emails)
        self.calls.append(len(emails))
        return super().enqueue_many(emails, **options)


@pytest.fixture
def mailer(settings):
    with CountingMailer(settings=settings) as mailer:
        yield mailer


@pytest.fixture
def sessions(engine, mailer):
    return sessionmaker(engine, info={"mailer": mailer})


@pytest.fixture
def session(sessions):
    with sessions() as session:
        yield session


def enqueued(mailer) -> list[str]:
    return sorted(job.subject for job in mailer.list())


def users(sessions) -> list[str]:
    with sessions() as session:
        return sorted(session.scalars(select(User.name)))


def test_the_emails_of_a_transaction_leave_together_and_after_it_is_committed(session, mailer):
    session.add(User(name="ann"))
    for name in ("ann", "bob", "cleo"):
        enqueue_on_commit(session, email(name))
    session.flush()
    assert enqueued(mailer) == []
    session.commit()
    assert enqueued(mailer) == ["ann", "bob", "cleo"]
    assert mailer.calls == [3]


def test_a_transaction_without_emails_asks_redis_for_nothing(session, mailer):
    enqueue_on_commit(session, email())
    session.commit()
    session.add(User(name="ann"))
    session.commit()
    assert mailer.calls == [1]


def test_a_rollback_drops_them(session, mailer):
    session.add(User(name="ann"))
    enqueue_on_commit(session, email())
    session.rollback()
    session.commit()
    assert enqueued(mailer) == []


def test_a_session_that_is_closed_without_a_commit_drops_them(session, mailer):
    session.add(User(name="ann"))
    enqueue_on_commit(session, email())
    session.close()
    session.commit()
    assert enqueued(mailer) == []


def test_a_commit_that_the_database_refuses_drops_them(sessions, mailer):
    with sessions.begin() as session:
        session.add(User(name="ann"))
    with sessions() as session:
        session.add(User(name="ann"))
        enqueue_on_commit(session, email())
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        session.commit()
    assert enqueued(mailer) == []


def test_an_exception_in_the_block_drops_them(sessions, mailer):
    with suppress(LookupError), sessions.begin() as session:
        enqueue_on_commit(session, email())
        raise LookupError
    assert enqueued(mailer) == []


def test_a_session_is_used_again(session, mailer):
    for name in ("ann", "bob"):
        enqueue_on_commit(session, email(name))
        session.commit()
        enqueue_on_commit(session, email("dropped"))
        session.rollback()
    assert enqueued(mailer) == ["ann", "bob"]
    assert mailer.calls == [1, 1]


def test_it_begins_a_transaction_as_add_does(session, mailer):
    enqueue_on_commit(session, email())
    assert session.in_transaction()
    with pytest.raises(InvalidRequestError, match="already begun"):
        session.begin()


# Savepoints


def test_a_savepoint_that_is_rolled_back_drops_what_came_after_it_was_set(session, mailer):
    enqueue_on_commit(session, email("before"))
    savepoint = session.begin_nested()
    session.add(User(name="ann"))
    enqueue_on_commit(session, email("within"))
    savepoint.rollback()
    enqueue_on_commit(session, email("after"))
    session.commit()
    assert enqueued(mailer) == ["after", "before"]


def test_a_savepoint_that_is_released_keeps_them_until_the_commit(session, mailer):
    with session.begin_nested():
        enqueue_on_commit(session, email())
    assert enqueued(mailer) == []
    session.commit()
    assert enqueued(mailer) == ["ann"]


def test_a_released_savepoint_goes_down_with_the_one_around_it(session, mailer):
    enqueue_on_commit(session, email("outside"))
    outer = session.begin_nested()
    with session.begin_nested():
        enqueue_on_commit(session, email("inside"))
    outer.rollback()
    session.commit()
    assert enqueued(mailer) == ["outside"]


def test_a_released_savepoint_goes_down_with_the_transaction(session, mailer):
    with session.begin_nested():
        enqueue_on_commit(session, email())
    session.rollback()
    session.commit()
    assert enqueued(mailer) == []


def test_a_commit_releases_the_savepoints_that_are_open(session, mailer):
    session.begin_nested()
    session.begin_nested()
    enqueue_on_commit(session, email())
    session.commit()
    assert enqueued(mailer) == ["ann"]


def test_a_flush_that_fails_within_a_savepoint_drops_its_emails_only(session, mailer):
    session.add(User(name="ann"))
    enqueue_on_commit(session, email("first"))
    savepoint = session.begin_nested()
    session.execute(text("insert into users values ('bob')"))
    session.add(User(name="bob"))
    enqueue_on_commit(session, email("twice"))
    with pytest.raises(IntegrityError):
        session.flush()
    savepoint.rollback()
    session.commit()
    assert enqueued(mailer) == ["first"]


# Sessions of other kinds


def test_a_scoped_session(sessions, mailer):
    registry = scoped_session(sessions)
    enqueue_on_commit(registry, email())
    registry.commit()
    registry.remove()
    assert enqueued(mailer) == ["ann"]


def test_a_session_within_a_transaction_of_its_connection(engine, mailer):
    """As test suites have it: what the session calls a commit counts."""
    with engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            enqueue_on_commit(session, email(), mailer)
            session.commit()
        transaction.rollback()
    assert enqueued(mailer) == ["ann"]


def test_a_prepared_transaction(engine, sessions, mailer):
    with sessions(twophase=True) as session:
        enqueue_on_commit(session, email())
        session.prepare()
        assert enqueued(mailer) == []
        session.commit()
    assert enqueued(mailer) == ["ann"]


def test_the_mailer_that_is_given_wins(session, settings, redis_server):
    other = settings.model_copy(update={"key_prefix": f"{settings.key_prefix}-other"})
    with Mailer(settings=other) as mailer:
        enqueue_on_commit(session, email("ann"), mailer)
        enqueue_on_commit(session, email("bob"))
        session.commit()
        assert enqueued(mailer) == ["ann"]
    assert enqueued(session.info["mailer"]) == ["bob"]


@pytest.mark.parametrize("within", [nullcontext, Session.begin_nested])
def test_an_email_that_an_event_of_the_flush_asks_for(session, mailer, within):
    def welcome(_mapper, _connection, user):
        session = object_session(user)
        with within(session):
            enqueue_on_commit(session, email(user.name))

    event.listen(User, "after_insert", welcome)
    try:
        session.add(User(name="ann"))
        session.commit()
    finally:
        event.remove(User, "after_insert", welcome)
    assert enqueued(mailer) == ["ann"]


# What can go wrong


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: email(to=[f"{i}@example.org" for i in range(3)]), "to"),
        (lambda: email(attachments=[Attachment.from_path("/nowhere")]), "attachments[0]"),
        (lambda: "an email", "email"),
    ],
)
def test_an_email_that_can_not_be_sent_raises_before_anything_is_committed(
    sessions, mailer, wrong, field
):
    with sessions() as session:
        session.add(User(name="ann"))
        enqueue_on_commit(session, email())
        with pytest.raises(InvalidEmail) as caught:
            enqueue_on_commit(session, wrong())
    assert caught.value.field == field
    assert users(sessions) == []
    assert enqueued(mailer) == []


def test_redis_is_away_the_transaction_is_committed_and_the_error_says_so(engine, sessions):
    away = Mailer(settings=load_settings(redis_url="redis://127.0.0.1:1"))
    with sessions(info={"mailer": away}) as session:
        session.add(User(name="ann"))
        enqueue_on_commit(session, email())
        with pytest.raises(StoreUnavailable) as caught:
            session.commit()
        assert "is committed" in caught.value.__notes__[0]
        assert engine.pool.checkedout() == 0
        assert session.scalars(select(User.name)).all() == ["ann"], "the session goes on"
    assert users(sessions) == ["ann"]


def test_one_mailer_that_is_away_does_not_keep_the_others(session, mailer):
    with Mailer(settings=load_settings(redis_url="redis://127.0.0.1:1")) as away:
        for each in (away, mailer, away):
            enqueue_on_commit(session, email(), each)
        with pytest.raises(StoreUnavailable):
            session.commit()
    assert enqueued(mailer) == ["ann"]


def test_the_connection_to_the_database_is_given_back_before_redis_is_asked(
    engine, session, settings
):
    class Looking(Mailer):
        def enqueue_many(self, emails, **options):
            checked_out.append(engine.pool.checkedout())
            return super().enqueue_many(emails, **options)

    checked_out = []
    with Looking(settings=settings) as mailer:
        session.add(User(name="ann"))
        session.flush()
        assert engine.pool.checkedout() == 1
        enqueue_on_commit(session, email(), mailer)
        session.commit()
    assert checked_out == [0]


def test_a_session_without_a_mailer_says_how_to_give_one(engine):
    with (
        Session(engine) as session,
        pytest.raises(InvalidArgument, match=r"info=.*Mailer") as error,
    ):
        enqueue_on_commit(session, email())
    assert error.value.field == "mailer"


def test_a_mailer_for_asyncio_does_not_suit_a_session(session, settings):
    with pytest.raises(InvalidArgument, match="is a Mailer"):
        enqueue_on_commit(session, email(), AsyncMailer(settings=settings))


# asyncio


@pytest.fixture
async def async_sessions(tmp_path, settings):
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    pytest.importorskip("aiosqlite", reason="a driver for asyncio")
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncMailer(settings=settings) as mailer:
        yield async_sessionmaker(engine, info={"mailer": mailer})
    await engine.dispose()


async def test_an_async_session_enqueues_after_its_commit(async_sessions, mailer):
    async with async_sessions() as session:
        async with session.begin():
            session.add(User(name="ann"))
            enqueue_on_commit(session, email())
            async with session.begin_nested() as savepoint:
                enqueue_on_commit(session, email("dropped"))
                await savepoint.rollback()
        assert enqueued(mailer) == ["ann"]
        enqueue_on_commit(session, email("dropped"))
        await session.rollback()
        enqueue_on_commit(session, email("bob"))
        await session.commit()
    assert enqueued(mailer) == ["ann", "bob"]


async def test_an_async_scoped_session(async_sessions, mailer):
    from sqlalchemy.ext.asyncio import async_scoped_session

    registry = async_scoped_session(async_sessions, scopefunc=lambda: 1)
    enqueue_on_commit(registry, email())
    await registry.commit()
    await registry.remove()
    assert enqueued(mailer) == ["ann"]


async def test_an_async_session_checks_its_emails_before_it_commits(async_sessions, mailer):
    async with async_sessions() as session:
        session.add(User(name="ann"))
        enqueue_on_commit(session, email(to=[f"{i}@example.org" for i in range(3)]))
        with pytest.raises(InvalidEmail):
            await session.commit()
        await session.rollback()
        assert (await session.scalars(select(User.name))).all() == []
    assert enqueued(mailer) == []


async def test_a_blocking_mailer_does_not_suit_an_async_session(async_sessions, mailer):
    async with async_sessions() as session:
        with pytest.raises(InvalidArgument, match="is an AsyncMailer"):
            enqueue_on_commit(session, email(), mailer)
