"""The table of rules, line by line: what servers say, and which rule it must fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.errors import InvalidSetting
from mailer.settings import Settings
from workers.outcomes.own_rules import rules
from workers.outcomes.rules import MESSAGE, RULES, Action, find
from workers.smtp.replies import Reply
from workers.smtp.transaction import Phase

MAIL, RCPT, DATA, DOT = MESSAGE

# what was said, to what → the rule
SAID = [
    (DOT, "250 2.0.0 OK", "accepted"),
    (DOT, "250 ok queued as 4BC", "accepted"),
    # rates
    (DOT, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", "rate limited"),
    (DOT, "450 4.7.28 something new", "rate limited"),
    (RCPT, "451 4.7.500 Server busy. Please try again later (S77714)", "rate limited"),
    (RCPT, "451 4.7.651 The mail server has been temporarily rate limited", "rate limited"),
    (MAIL, "432 4.3.2 Concurrent connections limit exceeded", "rate limited"),
    (DOT, "421 4.7.0 [TSS04] Messages temporarily deferred due to user complaints", "rate limited"),
    (DOT, "454 Throttling failure: Maximum sending rate exceeded.", "rate limited"),
    (DOT, "454 Throttling failure: Daily message quota exceeded.", "rate limited"),
    (RCPT, "450 4.2.1 The user you are trying to contact receives mail too fast", "rate limited"),
    (MAIL, "450 4.7.1 Error: too much mail from 10.0.0.1", "rate limited"),
    (MAIL, "421 4.7.0 mx.example Error: too many connections from 10.0.0.1", "rate limited"),
    (RCPT, "450 4.7.1 You have exceeded your sending rate", "rate limited"),
    (MAIL, "421 Too many concurrent SMTP connections; please try again later.", "rate limited"),
    (MAIL, "451 4.7.1 slow down", "rate limited"),
    # mailboxes
    (RCPT, "452 4.2.2 The recipient's inbox is out of storage space", "mailbox full"),
    (DOT, "452 4.2.2 Mailbox full", "mailbox full"),
    (DOT, "422 User mailbox is full", "mailbox full"),
    (RCPT, "450 requested action aborted: mailbox over quota", "mailbox full"),
    (RCPT, "552 5.2.2 The email account is over quota", "mailbox full for good"),
    (RCPT, "552 5.2.2 <ann@example.org>: Quota exceeded", "mailbox full for good"),
    # recipients
    (RCPT, "452 4.5.3 Error: too many recipients", "too many recipients"),
    (RCPT, "452 too many recipients", "too many recipients"),
    (RCPT, "552 too many recipients", "too many recipients"),
    (RCPT, "550 5.5.3 too many recipients", "too many recipients"),
    (RCPT, "450 4.5.3 Error: too many recipients", "too many recipients"),
    # the relay
    (MAIL, "421 4.3.2 Service shutting down", "closing"),
    (DOT, "421 4.4.2 timeout exceeded", "closing"),
    (MAIL, "530 5.7.0 Authentication required", "credentials"),
    (MAIL, "530 5.7.57 Client not authenticated to send mail", "credentials"),
    (MAIL, "535 5.7.8 bad credentials", "credentials"),
    (MAIL, "454 4.7.0 Temporary authentication failure", "credentials can't be checked"),
    # greylisting
    (RCPT, "450 4.7.1 Client host rejected: Greylisted, see http://postgrey.example", "greylisted"),
    (RCPT, "451 4.7.1 Greylisting in action, please come back later", "greylisted"),
    (RCPT, "450 4.2.0 <ann@example.org>: Recipient address rejected: Graylisted", "greylisted"),
    (DOT, "451 4.7.1 Grey-listed, try again in 300 seconds", "greylisted"),
    # trust
    (
        RCPT,
        "450 4.7.1 Service unavailable; Client host blocked using zen.spamhaus.org",
        "blocked for now",
    ),
    (DOT, "421-4.7.0 IP not in whitelist for RCPT domain, closing", "closing"),
    (
        RCPT,
        "554 5.7.1 Service unavailable; Client host [10.0.0.1] blocked using bl.spamcop.net",
        "blocked",
    ),
    (
        MAIL,
        "550 5.7.1 Unfortunately, messages from [10.0.0.1] weren't sent. Block list (S3150)",
        "blocked",
    ),
    (RCPT, "550 5.7.606 Access denied, banned sending IP [10.0.0.1]", "blocked"),
    (DOT, "554 5.7.1 [CS] Message blocked. Please visit http://postmaster.example", "blocked"),
    (DOT, "550 5.7.1 Our system has detected that this message is likely unsolicited mail", "spam"),
    (DOT, "554 5.7.1 Spam message rejected", "spam"),
    (DOT, "552 5.7.0 This message was blocked because its content presents a virus", "blocked"),
    (DOT, "550 5.7.1 infected with malware", "spam"),
    (DOT, "452 4.3.1 Insufficient system storage", "no room"),
    (MAIL, "452 4.3.1 Out of memory", "no room"),
    # addresses
    (RCPT, "550 5.1.1 The email account that you tried to reach does not exist", "unknown user"),
    (RCPT, "550 5.1.1 <ann@example.org>: Recipient address rejected: User unknown", "unknown user"),
    (DOT, "550 5.1.1 user unknown", "bad address"),
    (
        RCPT,
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found by SMTP address lookup",
        "bad address",
    ),
    (RCPT, "550 5.1.2 bad destination system", "bad address"),
    (RCPT, "550 5.2.1 The email account that you tried to reach is inactive", "bad address"),
    (RCPT, "550 No such user here", "bad address"),
    (RCPT, "550 Requested action not taken: mailbox unavailable", "bad address"),
    (RCPT, "550 Unrouteable address: unknown user", "bad address"),
    (RCPT, "553 sorry, no mailbox here by that name", "bad address"),
    (RCPT, "556 5.1.10 Domain does not accept mail (nullMX)", "bad address"),
    (RCPT, "556 Domain does not accept mail", "null MX"),
    (RCPT, "521 host does not accept mail", "null MX"),
    # senders
    (DOT, "554 Message rejected: Email address is not verified.", "sender not allowed"),
    (
        DOT,
        "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
        "sender not allowed",
    ),
    (
        RCPT,
        "553 5.7.1 <a@b.c>: Sender address rejected: not owned by user shop",
        "sender not allowed",
    ),
    (RCPT, "554 5.7.1 <ann@example.org>: Relay access denied", "relaying denied"),
    (RCPT, "550 relay not permitted", "relaying denied"),
    # the rest
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", "too large"),
    (DOT, "552 5.2.3 Your message exceeded: message too large", "too large"),
    (
        DOT,
        "550 5.7.26 Unauthenticated email is not accepted due to domain's DMARC policy",
        "policy",
    ),
    (DATA, "451 4.3.0 Temporary lookup failure", "temporary"),
    (RCPT, "450 4.1.2 Domain not found", "temporary"),
    (DOT, "554 Transaction failed", "permanent"),
    (MAIL, "501 5.1.7 Bad sender address syntax", "permanent"),
    (DATA, "250 what?", "nonsense"),
]


def reply(line):
    return Reply.of(int(line[:3]), line[4:])


@pytest.mark.parametrize(("phase", "said", "name"), SAID, ids=lambda value: str(value)[:60])
def test_what_servers_say_fits_its_rule(phase, said, name):
    assert find(RULES, phase, reply(said)).name == name


def test_every_rule_is_hit():
    hit = [find(RULES, phase, reply(said)) for phase, said, _ in SAID]
    assert [rule for rule in RULES if rule not in hit] == []


def test_only_refusals_and_retries_of_their_own_digit():
    """5yz is never tried again but for those that are documented, 4yz never refused."""
    again = {Action.RETRY, Action.THROTTLE, Action.TOO_MANY}
    for rule in RULES:
        if rule.action in again:
            assert "5" not in {code[0] for code in rule.codes} or rule.action is Action.TOO_MANY
        if rule.action is Action.REFUSE:
            assert {code[0] for code in rule.codes} == {"5"}


@given(
    phase=st.sampled_from(MESSAGE),
    code=st.integers(200, 599),
    enhanced=st.none() | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
    text=st.text(max_size=200) | st.sampled_from([said[4:] for _, said, _ in SAID]),
)
def test_any_reply_fits_a_rule_and_is_never_taken_for_better_than_it_is(
    phase, code, enhanced, text
):
    rule = find(RULES, phase, Reply(code, enhanced, text))
    if rule.action is Action.ACCEPT:
        assert (phase, code // 100) == (DOT, 2)
    if code >= 500:
        allowed = {Action.REFUSE, Action.RELAY_FAULT, Action.TOO_MANY}
        assert rule.action in allowed
        assert rule.action is not Action.TOO_MANY or phase is Phase.RCPT
    if 400 <= code < 500:
        assert rule.action is not Action.REFUSE


# rules of the settings


def read(*tables):
    return rules(Settings(rules=list(tables)))


def test_a_rule_of_the_settings_comes_first():
    own = read(
        {"name": "our friend", "action": "retry", "phrase": "from you", "codes": "554", "wait": 60},
        {"name": "busy", "action": "throttle", "enhanced": "4.9.x", "phases": ["rcpt", "mail"]},
    )
    found = find(own, DOT, reply("554 5.7.1 No mail FROM YOU today"))
    assert (found.name, found.action, found.wait) == ("our friend", Action.RETRY, 60)
    assert find(own, RCPT, reply("451 4.9.12 busy")).name == "busy"
    assert find(own, DATA, reply("451 4.9.12 busy")).name == "temporary"
    assert find(own, DOT, reply("554 5.7.1 no")).name == "policy"
    assert find(own, DOT, reply("250 from you")).name == "accepted", "what was accepted stays so"


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({}, "rules[0]: would fit any reply"),
        ({"codes": "2"}, "rules[0].codes"),
        ({"codes": "4xx"}, "rules[0].codes"),
        ({"enhanced": "4.7"}, "rules[0].enhanced"),
        ({"enhanced": "2.0.0"}, "rules[0].enhanced"),
        ({"phrase": "("}, "rules[0].phrase"),
        ({"codes": "4", "phases": "connect"}, "rules[0].phases"),
    ],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused(table, named):
    with pytest.raises(InvalidSetting) as caught:
        read({"name": "x", "action": "retry", **table})
    assert str(caught.value).startswith(named)
