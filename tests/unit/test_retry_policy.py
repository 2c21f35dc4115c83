from datetime import timedelta

import msgspec
import pytest

from mailer import Email, InvalidEmail, RetryPolicy, load_settings
from mailer.enqueueing import new_job


def test_the_default_is_that_of_a_mail_server():
    """RFC 5321, 4.5.4.1: soon at first, then every few hours, for four or five days."""
    policy = RetryPolicy()
    minutes = [policy.delay(n).total_seconds() / 60 for n in range(1, 10)]
    assert minutes == [1, 5, 15, 30, 60, 120, 180, 180, 180]
    assert timedelta(seconds=policy.give_up_after) == timedelta(days=5)
    assert policy.max_attempts is None


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 3), (4, 3), (10_000_000, 3)])
def test_the_last_delay_repeats(attempts, seconds):
    assert RetryPolicy(delays=(1, 2, 3)).delay(attempts) == timedelta(seconds=seconds)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("delays", v) for v in [(), (-1,), (1, -0.1), (NAN,), (INF,), ("1",), (None,), (True,)]),
        *(("delays", v) for v in [5, "1", None, (1e300,), (10**400,)]),
        *(("jitter", v) for v in [-0.1, 1.1, NAN, INF, "x", None]),
        *(("give_up_after", v) for v in [0, -1, NAN, INF, "x", None]),
        *(("max_attempts", v) for v in [0, -1, 2.5, "3", True, INF]),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_that_makes_no_sense_is_refused_and_named(field, value):
    """Stored, some of these could never be read again."""
    with pytest.raises(InvalidEmail) as caught:
        RetryPolicy(**{field: value})
    assert caught.value.field == f"retry.{field}"


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(),
        RetryPolicy(delays=[0, 1.5], jitter=0, give_up_after=1, max_attempts=1),
        RetryPolicy(delays=(366 * 86400,), jitter=1, give_up_after=1e12),
    ],
)
def test_every_policy_can_be_stored_and_read(policy):
    stored = msgspec.json.encode(policy)
    assert msgspec.json.decode(stored, type=RetryPolicy) == policy
    hash(policy)


POLICIES = {"b": {"delays": [1, 2]}, "a": {"max_attempts": 1}}


def stored(retry, **settings):
    email = Email(from_email="a@example.com", to="b@example.org", retry=retry)
    return new_job(email, load_settings(**settings)).head.retry


def test_a_policy_given_by_its_name_is_stored_with_the_job():
    """So that what a worker's settings say makes no difference."""
    assert stored("b", retry_policies=POLICIES) == RetryPolicy(delays=(1, 2))


@pytest.mark.parametrize(
    ("policies", "known"), [(POLICIES, "a, b"), ({}, "none")], ids=["some", "none"]
)
def test_an_unknown_policy_is_refused_with_the_names_of_those_there_are(policies, known):
    with pytest.raises(InvalidEmail) as caught:
        stored("x", retry_policies=policies)
    assert caught.value.field == "retry"
    assert caught.value.reason == f"there is no policy 'x'; mailer.toml has {known}"
