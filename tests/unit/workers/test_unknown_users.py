import asyncio

import pytest
from structlog.testing import capture_logs

from mailer.errors import StoreUnavailable
from mailer.job import JobState, Recipient, RecipientState
from mailer.store.agenda import ENDED, Lease, Result
from workers.outcomes.outcome import classify
from workers.smtp.replies import Reply
from workers.smtp.transaction import Phase, Transcript
from workers.unknown_users import UnknownUsers

OK, GO = Reply.of(250, "2.1.0 ok"), Reply.of(354, "go")
UNKNOWN, POLICY = Reply.of(550, "5.1.1 no such user"), Reply.of(550, "5.7.1 not from you")


class Store:
    """Says what would be put on the list."""

    def add(self, addresses, tag, reason, by):
        return (*addresses, tag, reason, by)


class Runner:
    """Takes what it is given; away as often as told."""

    def __init__(self):
        self.taken = []
        self.times_away = 0

    async def run(self, operation):
        if self.times_away:
            self.times_away -= 1
            raise StoreUnavailable("away")
        self.taken.append(operation)
        return 1


@pytest.fixture
def runner():
    return Runner()


@pytest.fixture
async def unknown_users(runner, monkeypatch):
    monkeypatch.setattr("workers.unknown_users._FIRST_WAIT", 0)
    users = UnknownUsers(Store(), runner, "w1")
    writing = asyncio.create_task(users.keep_writing())
    yield users
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)


def result(**replies):
    """Make a result in which those named ``bad…`` are unknown to the relay."""
    people = tuple(
        Recipient(f"{name}@example.org", RecipientState.REFUSED, reply)
        for name, reply in replies.items()
    )
    bad = tuple(person.address for person in people if person.address.startswith("bad"))
    return Result(Lease("j", 1), JobState.FAILED, ENDED, 1, people, None, bad_addresses=bad)


async def test_only_those_unknown_are_suppressed_each_for_its_own_reply(unknown_users, runner):
    unknown_users.add(result(bad1="550 5.1.1 a", other="550 5.7.1 b", bad2="550 5.1.1 c"))
    await unknown_users.emptied()
    assert runner.taken == [
        ("bad1@example.org", None, "550 5.1.1 a", "w1"),
        ("bad2@example.org", None, "550 5.1.1 c", "w1"),
    ]


async def test_without_any_there_is_nothing_to_wait_for(unknown_users, runner):
    unknown_users.add(result(other="550 5.7.1 b"))
    await unknown_users.emptied()
    assert runner.taken == []


async def test_they_are_written_as_soon_as_redis_is_back(unknown_users, runner):
    runner.times_away = 2
    with capture_logs() as logs:
        unknown_users.add(result(bad="550 5.1.1 a"))
        await unknown_users.emptied()
    assert len(runner.taken) == 1
    assert [(line["log_level"], line["reason"]) for line in logs] == [("warning", "away")] * 2


async def test_those_lost_with_a_worker_are_counted_and_not_named(runner):
    runner.times_away = 1_000_000
    users = UnknownUsers(Store(), runner, "w1")
    users.add(result(bad1="550 5.1.1 bad1@example.org", bad2="550 5.1.1 no"))
    writing = asyncio.create_task(users.keep_writing())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert logs == [
        {"event": "unknown users not suppressed", "log_level": "warning", "addresses": 2}
    ]


def heard(mail, rcpt=(), data=None, finals=(), phase=Phase.DOT, failure=None):
    return Transcript(phase, mail, rcpt, data, finals, failure)


BUSY = Reply.of(421, "4.3.2 bye")


@pytest.mark.parametrize(
    ("transcript", "bad"),
    [
        (heard(OK, (UNKNOWN, OK), GO, (OK,)), [True, False]),
        (heard(OK, (POLICY, OK), GO, (OK,)), [False, False]),
        (heard(OK, (Reply.of(450, "4.1.1 not now"), OK), GO, (OK,)), [False, False]),
        (heard(OK, (Reply.of(550, "no such user"), OK), GO, (OK,)), [False, False]),
        # what becomes of the session then is no matter
        (heard(OK, (UNKNOWN, OK), phase=Phase.DATA, failure="closed"), [True, False]),
        (heard(OK, (UNKNOWN, BUSY), phase=Phase.RCPT), [True, False]),
        # what is said of the message is not said of those it is for
        (heard(UNKNOWN, phase=Phase.MAIL), [False, False]),
        (heard(UNKNOWN, (UNKNOWN, UNKNOWN), phase=Phase.MAIL), [False, False]),
        (heard(OK, (OK, OK), UNKNOWN, phase=Phase.DATA), [False, False]),
        (heard(OK, (OK, OK), GO, (UNKNOWN,)), [False, False]),
    ],
)
def test_an_address_is_bad_where_the_relay_says_so_of_it_alone(transcript, bad):
    assert [judgement.bad_address for judgement in classify(transcript, 2).judgements] == bad
