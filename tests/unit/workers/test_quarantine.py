"""The worker's side of a process that delivers jobs alone; some lines of shell play that one."""

import sys

import msgspec
import pytest

from mailer.address import Address
from mailer.job import JobState, Priority, Recipient, RecipientState
from mailer.message import Message
from mailer.retry import RetryPolicy
from mailer.store.agenda import Assignment, Lease
from mailer.store.records import Head
from workers.outcomes.settlement import Circumstances
from workers.quarantine import Committed, Quarantine, belongs_alone

ANN, BOB = "ann@example.org", "bob@example.org"
SAID = msgspec.json.encode(Committed((ANN,))).decode()


def assignment(crashes):
    return Assignment(
        lease=Lease("j", 1),
        head=Head("<m@example.com>", "a@example.com", "s", "a@example.com"),
        message=Message("<m@example.com>", Address("a@example.com")),
        recipients=(Recipient(ANN), Recipient(BOB)),
        priority=Priority.NORMAL,
        tries=0,
        since_ms=1,
        expires_ms=0,
        begun_ms=1,
        crashes=crashes,
    )


class Batch:
    """Has no contents."""

    def __init__(self):
        self.contents = self

    def left(self, job):
        pass

    def done(self, message):
        pass


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Delivers a job in a process that runs these lines of shell; returns the result."""

    async def run(job, *lines):
        program = tmp_path / "python"
        program.write_text("\n".join(["#!/bin/sh", "read -r job", *lines]))
        program.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(program))
        results = []
        given = Circumstances("w1", "", RetryPolicy(), 1_000, 0.0)
        await Quarantine("w1", 10, results.append, lambda: given).deliver(job, Batch())
        (result,) = results
        return result

    return run


@pytest.mark.parametrize(("crashes", "alone"), [(0, False), (1, False), (2, True), (9, True)])
def test_who_would_fail_at_the_next_crash_is_alone_with_it(crashes, alone):
    assert belongs_alone(assignment(crashes)) is alone


async def test_who_may_have_the_message_of_a_process_that_died_is_in_doubt(alone):
    result = await alone(assignment(2), f"echo '{SAID}'", "kill -9 $$")
    assert result.state is JobState.UNCONFIRMED
    assert [r.state for r in result.recipients] == [
        RecipientState.UNCONFIRMED,
        RecipientState.REFUSED,
    ]
    assert "ended by SIGKILL (crash 3" in result.attempt.reply


async def test_a_process_that_says_nothing_is_no_fault_of_the_job(alone):
    result = await alone(assignment(2), "exit 3")
    assert (result.state, result.crashes) == (JobState.QUEUED, 2)
    assert "ended with exit code 3" in result.held
