"""Where a job stands, in sentences."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mailer.cli.explain import standing, story
from mailer.job import Attempt, Decision, Job, JobState, Recipient, RecipientState
from mailer.store.limits import Pace
from mailer.store.relays import RelayPause

T = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
A_PAUSE = RelayPause("main", "535 5.7.8 wrong password", T, T + timedelta(seconds=8), 4, "w2")


def after(seconds):
    return T + timedelta(seconds=seconds)


def attempt(**fields):
    defaults = {
        "n": 1,
        "started_at": after(-60),
        "ended_at": after(-59.5),
        "decision": Decision.RETRY,
        "worker": "w1",
        "relay": "main",
        "phase": "rcpt",
        "code": 450,
        "reply": "450 4.7.1 greylisted",
        "rule": "greylisted",
        "next_attempt_at": after(240),
        "because": "the server asked for 5 minutes",
    }
    return Attempt(**{**defaults, **fields})


def job(state="queued", **fields):
    defaults = {
        "id": "j",
        "message_id": "<j@example.com>",
        "from_email": "shop@example.com",
        "subject": "Your order",
        "recipients": (Recipient("ann@example.org"),),
        "created_at": after(-100),
        "updated_at": after(-100),
    }
    return Job(state=JobState(state), **{**defaults, **fields})


def shown(seconds):
    return after(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("waiting", "sentence"),
    [
        (job(next_attempt_at=T), "It is due now."),
        (
            job(next_attempt_at=after(-90)),
            f"It has been due since {shown(-90)} (2 min ago); no worker takes it. Is one running?",
        ),
        (
            job("deferred", next_attempt_at=after(50), attempts=(attempt(),)),
            f"The next attempt is at {shown(50)} (in 50 s), as somebody asked.",
        ),
        (
            job("scheduled", next_attempt_at=after(7200)),
            f"It is scheduled for {shown(7200)} (in 2 h).",
        ),
        (job("sending"), f"A worker has been sending it since {shown(-100)}."),
        (
            job("deferred", next_attempt_at=after(240), attempts=(attempt(),)),
            f"The next attempt is at {shown(240)} (in 4 min): the server asked for 5 minutes.",
        ),
        (
            job(next_attempt_at=after(8), held="relay main is paused: 535"),
            f"It waits until {shown(8)} (in 8 s): relay main is paused: 535.",
        ),
        (
            job("failed"),
            f"failed since {shown(-100)}: no recipient was accepted; `mailer retry` tries again.",
        ),
    ],
    ids=lambda value: value.state if isinstance(value, Job) else "",
)
def test_it_says_what_a_job_waits_for(waiting, sentence):
    assert list(standing(waiting, {}, T)) == [sentence]


@pytest.mark.parametrize("state", [state for state in JobState if state.ended])
def test_every_end_has_its_sentence(state):
    (sentence,) = standing(job(state), {"main": A_PAUSE}, T)
    assert sentence.startswith(f"{state} since")


def test_the_pause_of_a_relay_that_concerns_it_is_named_with_its_reason():
    waiting = job("deferred", next_attempt_at=after(8), attempts=(attempt(),))
    other = RelayPause("other", "down", T, after(9), 1, "w1")
    *_, sentence = standing(waiting, {"main": A_PAUSE, "other": other}, T)
    assert sentence == (
        f"Relay main is paused until {shown(8)}, since {shown(0)}, found by w2: "
        "535 5.7.8 wrong password."
    )
    assert not any("other" in line for line in standing(waiting, {"other": other}, T))
    *_, over = standing(waiting, {"main": A_PAUSE}, after(10))
    assert over.endswith("The next email tries it.")


def test_the_pace_that_holds_it_is_named_with_what_the_server_said():
    held = job(next_attempt_at=after(8), held="domain example.org is used up for now")
    pace = Pace("domain example.org", 2.0, T, "450 too many")
    paces = {pace.name: pace, "relay main": Pace("relay main", 1.0, T, "421 busy")}
    *_, sentence = standing(held, {}, T, paces)
    assert sentence == "domain example.org takes a message every 2 s: 450 too many."


def test_an_expiry_ahead_is_told():
    waiting = job(next_attempt_at=T, expires_at=after(60))
    assert list(standing(waiting, {}, T)) == ["It is due now.", f"It expires at {shown(60)}."]


def test_the_story_has_each_attempt_with_all_replies_and_who_is_left():
    told = job(
        "deferred",
        next_attempt_at=after(240),
        attempts=(
            attempt(decision=Decision.INTERRUPTED, reply=None, next_attempt_at=None, phase=None),
            attempt(decision=Decision.PAUSE, reply="421 busy", because="another relay takes over"),
            attempt(replies={"bob@example.org": "550 5.1.1 [unknown] user"}),
        ),
        recipients=(
            Recipient("ann@example.org", RecipientState.DEFERRED, "450 4.7.1 greylisted"),
            Recipient("bob@example.org", RecipientState.REFUSED, "550 5.1.1 [unknown] user"),
            Recipient("cleo@example.org", RecipientState.ACCEPTED, "250 ok"),
        ),
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(story(told, {}, {}, T))
    text = console.export_text()
    for part in (
        "enqueued",
        "what it sent is unknown",
        "a fault of the relay; no attempt was used up",
        "attempt 1 by w1 at main, 0.500 s: retry",
        "rcpt: 450 4.7.1 greylisted [greylisted]",
        "bob@example.org: 550 5.1.1 [unknown] user",
        f"next attempt at {shown(240)}: the server asked for 5 minutes",
        "ann@example.org deferred: 450 4.7.1 greylisted",
        "bob@example.org refused: 550 5.1.1 [unknown] user",
    ):
        assert part in text, text
    assert "cleo" not in text
