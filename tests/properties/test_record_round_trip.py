"""Whatever is recorded of an email, it reads back as it was."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from mailer.address import Address
from mailer.job import Attempt, Decision, Recipient, RecipientState
from mailer.message import Message
from mailer.store import records

TIMES = st.integers(1, 9_000_000_000_000).map(records.at)  # to the millisecond until 2255
TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)
WORDS = st.none() | TEXTS.filter(bool)
RECIPIENTS = st.builds(Recipient, TEXTS, st.sampled_from(RecipientState), WORDS, st.none() | TIMES)
ATTEMPTS = st.builds(
    Attempt,
    n=st.integers(1, 10_000),
    started_at=TIMES,
    decision=st.sampled_from(Decision),
    ended_at=st.none() | TIMES,
    worker=WORDS,
    relay=WORDS,
    phase=WORDS,
    code=st.none() | st.integers(200, 599),
    enhanced_code=WORDS,
    reply=WORDS,
    rule=WORDS,
    replies=st.dictionaries(TEXTS, TEXTS, max_size=3),
    next_attempt_at=st.none() | TIMES,
    because=WORDS,
)
HEADS = st.builds(
    records.Head,
    message_id=st.sampled_from(["<42@example.com>", "<own@example.com>", "<42@>"]),
    from_email=st.sampled_from(
        [
            "a@example.com",
            "A <a@example.com>",
            '"<x>, \\"A" <a@example.com>',
            "a@bücher.example",
            "",
        ]
    ),
    subject=TEXTS,
    envelope_sender=st.sampled_from(["a@example.com", "b@example.com", "a@xn--bcher-kva.example"]),
    delivery=st.sampled_from(["at-least-once", "at-most-once"]),
    tags=st.lists(TEXTS, max_size=2).map(tuple),
    metadata=st.dictionaries(TEXTS, st.integers() | TEXTS | st.lists(st.none()), max_size=2),
)


def in_order(attempt):
    """Have it end no earlier than it starts, by the one clock that there is."""
    times = (attempt.started_at, attempt.ended_at, attempt.next_attempt_at)
    first = min(time for time in times if time)
    return replace(attempt, started_at=first)


@given(st.lists(RECIPIENTS, max_size=4), WORDS)
def test_recipients(people, said):
    assert records.decode_recipients(records.encode_recipients(people, said), said) == tuple(people)


@given(st.lists(ATTEMPTS, max_size=4))
def test_attempts(attempts):
    attempts = [in_order(attempt) for attempt in attempts]
    lines = b"".join(records.encode_attempt(attempt) + b"\n" for attempt in attempts)
    assert records.decode_attempts(lines) == tuple(attempts)


@given(HEADS)
def test_heads(head):
    assert records.decode_head(records.encode_head(head, "42"), "42") == head


@pytest.mark.parametrize("delivery", ["at-least-once", "at-most-once"])
def test_of_a_head_only_what_is_unusual_is_written(delivery):
    delivery = "".join(delivery)  # a text of its own, as it comes from a user
    head = records.Head("<42@b.example>", '"A" <a@b.example>', "S", "a@b.example")
    head = replace(head, delivery=delivery)
    unusual = "" if delivery == "at-least-once" else ',"",[],{},null,null,"at-most-once"'
    expected = r'["","\"A\" <a@b.example>","S"' + unusual + "]"
    assert records.encode_head(head, "42").decode() == expected


@given(TEXTS, st.integers(0, 2**40))
def test_a_message_gets_its_id_and_date_back(text, date):
    message = Message("<42@b.example>", Address("a@b.example"), date, text=text)
    stored = records.encode_message(message)
    assert b"42@" not in stored
    assert records.decode_message(stored, date, message.message_id) == message
