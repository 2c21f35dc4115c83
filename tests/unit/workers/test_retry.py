import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.retry import RetryPolicy
from workers.outcomes.retry import GiveUp, Retry, decide

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000  # ms


@pytest.mark.parametrize(
    ("tries", "delay_ms"),
    [
        (1, MINUTE),
        (2, 5 * MINUTE),
        (3, 15 * MINUTE),
        (4, 30 * MINUTE),
        (5, HOUR),
        (6, 2 * HOUR),
        (7, 3 * HOUR),
        (8, 3 * HOUR),
        (40, 3 * HOUR),
    ],
)
def test_the_default_schedule_is_that_of_a_mail_server(tries, delay_ms):
    assert decide(RetryPolicy(), tries=tries, age_ms=0, chance=0.0).delay_ms == delay_ms


@pytest.mark.parametrize(
    ("jitter", "chance", "delay_ms"),
    [
        (0.2, 0.0, 60000),
        (0.2, 0.5, 66000),
        (0.2, 1.0, 72000),
        (0.0, 1.0, 60000),
        (1.0, 1.0, 120000),
    ],
)
def test_jitter_only_lengthens_a_delay(jitter, chance, delay_ms):
    assert decide(RetryPolicy(jitter=jitter), tries=1, age_ms=0, chance=chance).delay_ms == delay_ms


@pytest.mark.parametrize(
    ("tries", "wait", "delay_ms"),
    [
        (1, None, MINUTE),
        (1, 300.0, 5 * MINUTE),
        (1, 30.0, MINUTE),
        (7, 300.0, 5 * MINUTE),
        (7, 1.0, MINUTE),
        (1, 7200.0, 2 * HOUR),
    ],
    ids=["no word", "later", "too soon", "sooner than the policy", "far too soon", "much later"],
)
def test_what_the_server_asks_for_counts_instead_of_the_policy_s_delay(tries, wait, delay_ms):
    step = decide(RetryPolicy(), tries=tries, age_ms=0, chance=0.0, wait=wait)
    assert step.delay_ms == delay_ms
    policy = RetryPolicy(jitter=0.5)
    jittered = decide(policy, tries=tries, age_ms=0, chance=1.0, wait=wait)
    assert jittered.delay_ms == round(delay_ms * 1.5)


def test_a_policy_that_is_quick_stays_quick_where_the_server_agrees():
    quick = RetryPolicy(delays=(2.0,))
    assert decide(quick, tries=1, age_ms=0, chance=0.0, wait=1.0) == Retry(
        2000, "the server asked for 1 second"
    )


def test_a_wait_beyond_the_end_of_patience_is_the_end():
    policy = RetryPolicy(give_up_after=3600)
    step = decide(policy, tries=1, age_ms=0, chance=0.0, wait=7200.0)
    assert step == GiveUp("given up after 1 hour")


@given(tries=st.integers(1, 1000), jitter=st.floats(0, 1), chance=st.floats(0, 1))
def test_a_delay_is_at_least_that_of_the_policy_and_at_most_longer_by_the_jitter(
    tries, jitter, chance
):
    policy = RetryPolicy(jitter=jitter)
    plain = policy.delay(tries).total_seconds() * 1000
    step = decide(policy, tries=tries, age_ms=0, chance=chance)
    assert isinstance(step, Retry)
    assert plain - 1 <= step.delay_ms <= plain * (1 + jitter) + 1


@pytest.mark.parametrize(
    ("policy", "tries", "age_ms", "reason"),
    [
        (RetryPolicy(max_attempts=1), 1, 0, "given up after 1 attempts"),
        (RetryPolicy(max_attempts=3), 3, 0, "given up after 3 attempts"),
        (RetryPolicy(max_attempts=3), 9, 0, "given up after 9 attempts"),
        (RetryPolicy(), 40, 5 * DAY, "given up after 5 days"),
        (RetryPolicy(), 40, 5 * DAY - 2 * HOUR, "given up after 5 days"),
        (RetryPolicy(give_up_after=7200), 5, 2 * HOUR, "given up after 2 hours"),
        (RetryPolicy(give_up_after=90), 1, MINUTE, "given up after 1.5 minutes"),
        (RetryPolicy(give_up_after=30), 1, 0, "given up after 30 seconds"),
    ],
    ids=[
        "one attempt",
        "the last attempt",
        "attempts exceeded",
        "age",
        "the next would be late",
        "hours",
        "minutes",
        "seconds",
    ],
)
def test_it_is_given_up_after_too_many_attempts_or_too_long_a_time(policy, tries, age_ms, reason):
    assert decide(policy, tries=tries, age_ms=age_ms, chance=0.0) == GiveUp(reason)


@pytest.mark.parametrize(
    ("policy", "tries", "age_ms"),
    [
        (RetryPolicy(max_attempts=3), 2, 0),
        (RetryPolicy(), 40, 5 * DAY - 3 * HOUR),
        (RetryPolicy(give_up_after=60), 1, 0),
        (RetryPolicy(), 1, -DAY),
    ],
    ids=["an attempt is left", "the next is just in time", "exactly at the end", "age below zero"],
)
def test_up_to_the_limits_it_is_tried_again(policy, tries, age_ms):
    assert isinstance(decide(policy, tries=tries, age_ms=age_ms, chance=0.0), Retry)


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ({"tries": 1}, "the retry policy waits 1 minute after attempt 1"),
        ({"tries": 7}, "the retry policy waits 3 hours after attempt 7"),
        (
            {"tries": 1, "chance": 0.5},
            "the retry policy waits 1 minute after attempt 1, and 6 seconds more by chance",
        ),
        ({"tries": 3, "wait": 300.0}, "the server asked for 5 minutes"),
        ({"tries": 1, "wait": 5400.0}, "the server asked for 1.5 hours"),
    ],
    ids=["policy", "later", "jitter", "server", "server, long"],
)
def test_it_says_why_just_then(given, because):
    step = decide(RetryPolicy(), **{"age_ms": 0, "chance": 0.0, **given})
    assert step.because == because
