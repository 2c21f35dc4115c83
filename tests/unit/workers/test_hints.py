"""What servers say of when they want to be tried again."""

import time

import pytest

from workers.outcomes.hints import wait_in


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ("450 4.7.1 Greylisted, try again in 300 seconds", 300),
        (
            "450 4.2.0 <a@b>: rejected: Greylisted, please try again in 5 minutes",
            300,
        ),
        ("451 4.7.1 Greylisting in action, please come back in 00:04:57", 297),
        ("451 4.7.1 Please try again later in 1 hour", 3600),
        ("421 4.7.0 Retry after 60s", 60),
        ("450 retry in 90 sec", 90),
        ("450 Retry-After: 120", 120),
        ("451 Temporary, wait 10 min", 600),
        ("451 please wait at least 15 minutes", 900),
        ("450 4.7.1 Try your message again in 2 hours", 7200),
        ("450 4.7.1 TRY AGAIN IN 30 SECONDS", 30),
        # no hint at all
        ("450 4.7.1 Greylisted, try again later", None),
        ("452 4.2.2 Mailbox full", None),
        ("450 4.7.1 300 seconds is our limit", None),
        ("450 try again in 0 seconds", None),
        ("450 try again in 3000000 seconds", None),
        ("450 try again in 90 hours", None),
        ("450 try again after 2026-11-24", None),
        ("450 retry after 12/24", None),
        ("450 retry in 5 dogs", None),
        ("", None),
    ],
)
def test_a_wait_is_read_where_one_is_named(reply, seconds):
    assert wait_in(reply) == seconds


@pytest.mark.parametrize("part", ["try again ", "retry in ", "wait 1", "retry: ", "try x "])
def test_endless_replies_take_no_time(part):
    begin = time.process_time()
    wait_in(part * 100_000)
    assert time.process_time() - begin < 0.2
