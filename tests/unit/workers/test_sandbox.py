"""Sandbox mode, decided: who is simulated, redirected or kept back, and what the simulator says."""

import pytest
from pages import table

from mailer.address import Address
from mailer.errors import InvalidSetting
from mailer.job import Priority, Recipient
from mailer.loading import load_settings
from mailer.message import Message
from mailer.store.agenda import Assignment, Lease
from mailer.store.records import Head
from workers.outcomes.outcome import Verdict, classify
from workers.relays.relay import relays
from workers.relays.routes import Routes
from workers.sandbox.fates import Fate, Sandbox
from workers.sandbox.redirect import original_to, redirected, shared
from workers.sandbox.simulator import BEHAVIORS, DOMAIN, simulated
from workers.smtp.replies import Reply
from workers.smtp.transaction import Envelope, Phase, Transcript


def read(**settings):
    return Sandbox.read(load_settings(sandbox=True, **settings))


@pytest.mark.parametrize(
    ("settings", "recipient", "fate"),
    [
        ({}, "ann@example.org", Fate.KEPT_BACK),
        ({}, "bounce@simulator.test", Fate.SIMULATED),
        ({}, "Bounce+42@SIMULATOR.test", Fate.SIMULATED),
        ({}, "bounce@a.simulator.test", Fate.KEPT_BACK),
        ({}, "bounce@notsimulator.test", Fate.KEPT_BACK),
        ({"redirect_to": "dev@example.com"}, "ann@example.org", Fate.REDIRECTED),
        ({"redirect_to": "dev@example.com"}, "bounce@simulator.test", Fate.SIMULATED),
        ({"allow_domains": "example.org"}, "ann@EXAMPLE.org", Fate.AS_USUAL),
        ({"allow_domains": "example.org"}, "ann@sub.example.org", Fate.KEPT_BACK),
        ({"allow_domains": "*.example.org"}, "ann@sub.example.org", Fate.AS_USUAL),
        ({"allow_domains": "*.example.org"}, "ann@example.org", Fate.KEPT_BACK),
        ({"allow_domains": "a.example, BÜCHER.eu"}, "ann@xn--bcher-kva.eu", Fate.AS_USUAL),
        (
            {"allow_domains": "example.org", "redirect_to": "dev@example.com"},
            "ann@example.net",
            Fate.REDIRECTED,
        ),
    ],
)
def test_a_recipient_has_one_fate(settings, recipient, fate):
    assert read(**settings).fate(recipient) is fate


def test_it_is_off_unless_it_is_asked_for():
    assert Sandbox.read(load_settings()) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"redirect_to": "dev"}, "MAILER_REDIRECT_TO: .*has no @"),
        ({"redirect_to": "jörg@example.com"}, "MAILER_REDIRECT_TO: needs ASCII"),
        ({"allow_domains": "exam ple"}, "MAILER_ALLOW_DOMAINS: 'exam ple' is no domain"),
        ({"redirect_to": "dev@example.com", "sandbox": False}, "set MAILER_SANDBOX=true, or"),
        ({"allow_domains": "example.com", "sandbox": False}, "MAILER_ALLOW_DOMAINS: counts in"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings, words):
    with pytest.raises(InvalidSetting, match=words):
        Sandbox.read(load_settings(**{"sandbox": True} | settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "no email leaves"),
        ({"redirect_to": "dev@example.com"}, "all email goes to MAILER_REDIRECT_TO"),
        ({"allow_domains": "b.example,a.example"}, "no email leaves, but for a.example, b.example"),
    ],
)
def test_it_says_what_it_does_and_no_address(settings, words):
    said = str(read(**settings))
    assert said.startswith(words)
    assert "@" not in said


def test_a_reason_to_keep_back_names_the_setting_and_the_domain():
    assert "MAILER_ALLOW_DOMAINS does not name example.org" in read().reason("ann@example.org")
    reason = read(allow_domains="example.com").reason("ann@example.org")
    assert "example.org is not among MAILER_ALLOW_DOMAINS (example.com)" in reason


# The simulator


def at(*names):
    return [f"{name}@simulator.test" for name in names]


@pytest.mark.parametrize(
    ("name", "tries", "verdict", "rule"),
    [
        ("success", 0, Verdict.ACCEPTED, "accepted"),
        ("bounce", 0, Verdict.REFUSED, "unknown user"),
        ("bounce", 1, Verdict.REFUSED, "unknown user"),
        ("BOUNCE+order+42", 0, Verdict.REFUSED, "unknown user"),
        ("defer", 0, Verdict.DEFERRED, "temporary"),
        ("defer", 9, Verdict.DEFERRED, "temporary"),
        ("defer-once", 0, Verdict.DEFERRED, "temporary"),
        ("defer-once", 1, Verdict.ACCEPTED, "accepted"),
        ("greylist", 0, Verdict.DEFERRED, "greylisted"),
        ("greylist", 1, Verdict.ACCEPTED, "accepted"),
        ("timeout", 0, Verdict.UNKNOWN, "unknown"),
        ("timeout", 9, Verdict.UNKNOWN, "unknown"),
        ("nobody", 0, Verdict.REFUSED, "unknown user"),
    ],
)
def test_a_simulated_recipient_is_judged_as_a_real_one(name, tries, verdict, rule):
    outcome = classify(simulated(at(name), tries), 1)
    assert [judgement.verdict for judgement in outcome.judgements] == [verdict]
    assert (outcome.rule.name, outcome.relay_fault) == (rule, None)


def test_simulated_recipients_of_one_email_fare_each_in_their_own_way():
    outcome = classify(simulated(at("success", "bounce", "defer"), 0), 3)
    assert [judgement.verdict for judgement in outcome.judgements] == [
        Verdict.ACCEPTED,
        Verdict.REFUSED,
        Verdict.DEFERRED,
    ]


def test_who_is_unknown_is_told_whom_there_is():
    said = classify(simulated(at("nobody"), 0), 1).reason
    assert all(name in said for name in BEHAVIORS)


def test_the_documentation_has_each_simulated_recipient():
    lines = ["| Recipient | What happens |", "|---|---|"]
    lines += [f"| `{name}@{DOMAIN}` | {b.meaning} |" for name, b in BEHAVIORS.items()]
    right = "\n".join(lines)
    assert table("docs/sandbox.md", "simulated") == right, f"paste this:\n\n{right}\n"


# Routes


def groups(recipients, relay=None, **settings):
    """Divide recipients, with a relay for a domain of its own."""
    routes = [{"recipient_domains": "eu.example", "relays": "eu"}, {"relays": "main"}]
    urls = {name: {"url": f"smtp://{name}.example.com"} for name in ("main", "eu")}
    settings = load_settings(sandbox=True, relays=urls, routes=routes, **settings)
    job = Assignment(
        lease=Lease("j", 1),
        head=Head("<m@example.com>", "a@example.com", "s", "a@example.com", relay=relay),
        message=Message("<m@example.com>", Address("a@example.com")),
        recipients=tuple(map(Recipient, recipients)),
        priority=Priority.NORMAL,
        tries=0,
        since_ms=1,
        expires_ms=0,
        begun_ms=1,
    )
    named = relays(settings)
    found = Sandbox.read(settings).groups(Routes.read(settings, named), job, recipients)
    return [(" ".join(group.recipients), " ".join(group.relays)) for group in found]


def test_recipients_of_different_fates_share_no_transaction():
    people = ["a@x.example", *at("timeout", "bounce"), "b@allowed.example", *at("success")]
    assert groups(people, allow_domains="allowed.example") == [
        ("a@x.example", "sandbox"),
        ("timeout@simulator.test", "sandbox"),
        ("bounce@simulator.test success@simulator.test", "sandbox"),
        ("b@allowed.example", "main"),
    ]


def test_who_is_sent_to_as_usual_takes_the_usual_routes():
    people = ["a@x.example", "b@eu.example"]
    assert groups(people, allow_domains="x.example,eu.example") == [
        ("a@x.example", "main"),
        ("b@eu.example", "eu"),
    ]


def test_the_redirected_share_the_way_to_their_new_address():
    people = ["a@x.example", "b@y.example"]
    assert groups(people, redirect_to="dev@eu.example") == [("a@x.example b@y.example", "eu")]
    assert groups(people, redirect_to="dev@eu.example", relay="main") == [
        ("a@x.example b@y.example", "main")
    ]


# The redirect


def test_a_redirected_envelope_has_one_recipient_and_the_header_counted_in():
    envelope = Envelope("a@example.com", ("b@x.example", "c@x.example"), smtputf8=True, size=100)
    header = original_to(envelope.recipients)
    assert header == b"X-Original-To: b@x.example\r\nX-Original-To: c@x.example\r\n"
    assert redirected(envelope, "dev@example.com", len(header)) == Envelope(
        "a@example.com", ("dev@example.com",), smtputf8=True, size=100 + len(header)
    )


OK = Reply(250, "2.0.0", "OK")
NO = Reply(550, "5.1.1", "No such user")
GO_AHEAD = Reply(354, None, "")


@pytest.mark.parametrize(
    ("transcript", "verdict"),
    [
        (Transcript(Phase.DOT, OK, [OK], GO_AHEAD, [OK]), Verdict.ACCEPTED),
        (Transcript(Phase.DOT, OK, [OK], GO_AHEAD, [OK], lmtp=True), Verdict.ACCEPTED),
        (Transcript(Phase.RCPT, OK, [NO]), Verdict.REFUSED),
        (Transcript(Phase.DOT, OK, [OK], GO_AHEAD, [NO], lmtp=True), Verdict.REFUSED),
        (Transcript(Phase.DOT, OK, [OK], GO_AHEAD, failure="gone"), Verdict.UNKNOWN),
        (Transcript(Phase.MAIL, failure="gone"), Verdict.UNTRIED),
    ],
)
def test_what_is_said_of_the_new_address_is_said_of_all(transcript, verdict):
    outcome = classify(shared(transcript, 3), 3)
    assert [judgement.verdict for judgement in outcome.judgements] == [verdict] * 3
