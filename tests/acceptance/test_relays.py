"""Several relays: routes, failover, pauses; through real workers and servers."""

import re

import pytest

from mailer import Decision, JobState
from mailer.testing import SmtpServerThread, eventually, go_away, hang_up_once, refuse, say


@pytest.fixture
def second():
    with SmtpServerThread() as server:
        yield server


@pytest.fixture
def closed():
    """The port of a server that is down."""
    with SmtpServerThread() as server:
        return server.port


def configure(system, toml):
    """Let workers read a ``mailer.toml``."""
    file = system.folder / "mailer.toml"
    file.write_text(toml)
    system.settings.pop("MAILER_RELAY_URL", None)
    system.settings["MAILER_CONFIG"] = str(file)


def two_relays(system, first, second, more=""):
    configure(system, f'[relays]\nmain.url = "{first}"\nspare.url = "{second}"\n{more}')


def test_routes_divide_emails_and_the_recipients_of_one_email(system, smtp, second):
    two_relays(
        system,
        smtp.url,
        second.url,
        """
        [[routes]]
        recipient_domains = "*.eu.example"
        relays = "spare"
        [[routes]]
        tags = "news"
        relays = "spare"
        [[routes]]
        relays = "main"
        """,
    )
    with system.worker():
        plain = system.ended(system.enqueue())
        news = system.ended(system.enqueue(tags=["news"]))
        both = system.ended(system.enqueue(["a@x.example", "b@de.eu.example"]))
    assert [attempt.relay for attempt in plain.attempts] == ["main"]
    assert [attempt.relay for attempt in news.attempts] == ["spare"]
    assert both.state is JobState.SENT
    assert [attempt.relay for attempt in both.attempts] == ["main", "spare"]
    assert [m.recipients for m in smtp.received] == [("ann@example.org",), ("a@x.example",)]
    assert [m.recipients for m in second.received] == [("ann@example.org",), ("b@de.eu.example",)]


def test_one_group_s_deferral_holds_no_other_group_up(system, smtp, second):
    two_relays(
        system,
        smtp.url,
        second.url,
        """
        [[routes]]
        recipient_domains = "eu.example"
        relays = "spare"
        [[routes]]
        relays = "main"
        """,
    )
    smtp.faults += [say("450 4.7.1 later", "rcpt", times=1)]
    with system.worker():
        job = system.ended(system.enqueue(["a@x.example", "b@eu.example"]))
    assert job.state is JobState.SENT
    assert [attempt.relay for attempt in job.attempts] == ["main", "spare", "main"]
    assert (smtp.state.count, second.state.count) == (1, 1), "each got it once"


def test_an_email_may_name_its_relay(system, smtp, second):
    two_relays(system, smtp.url, second.url)
    with system.worker():
        job = system.ended(system.enqueue(relay="spare"))
        lost = system.enqueue(relay="nosuch")
        eventually(lambda: system.mailer.get(lost).attempts)
    assert [attempt.relay for attempt in job.attempts] == ["spare"]
    assert (smtp.state.count, second.state.count) == (0, 1)
    assert "no relay 'nosuch'" in system.mailer.get(lost).attempts[0].reply


FAULTS = [
    go_away("connect"),
    go_away("mail"),
    hang_up_once(at="data"),
    say("535 5.7.8 who are you", "mail"),
]


def test_where_one_relay_is_at_fault_another_takes_over_at_once(system, smtp, second, closed):
    """Each email is sent once; the fault uses no attempt up, and is in the log once."""
    two_relays(system, f"smtp://127.0.0.1:{closed}", second.url)
    with system.worker() as worker:
        jobs = [system.ended(system.enqueue()) for _ in range(3)]
    assert all(job.state is JobState.SENT for job in jobs)
    assert second.state.count == 3
    first, *others = jobs
    assert [(a.relay, a.decision) for a in first.attempts][:2] == [
        ("main", Decision.PAUSE),
        ("spare", Decision.SENT),
    ]
    waited = (first.attempts[1].started_at - first.attempts[0].ended_at).total_seconds()
    assert waited < 0.9, "not as long as the pause"
    assert {a.relay for job in others for a in job.attempts if a.decision == Decision.SENT} == {
        "spare"
    }
    assert worker.log.read_text().count("relay paused") == 1


@pytest.mark.parametrize("fault", FAULTS, ids=["connect", "mail", "data", "535"])
def test_a_fault_in_the_middle_moves_on_to_the_next_relay_too(system, smtp, second, fault):
    two_relays(system, smtp.url, second.url)
    smtp.state.options.extensions = ("PIPELINING", "8BITMIME")  # BDAT would know no phase "data"
    smtp.faults += [fault]
    with system.worker():
        job = system.ended(system.enqueue())
    assert [(a.relay, a.decision) for a in job.attempts] == [
        ("main", Decision.PAUSE),
        ("spare", Decision.SENT),
    ]
    assert (smtp.state.count, second.state.count) == (0, 1)


def test_a_refusal_is_no_reason_to_ask_another_relay(system, smtp, second):
    two_relays(system, smtp.url, second.url)
    smtp.faults += [refuse("ann")]
    with system.worker():
        job = system.ended(system.enqueue())
    assert job.state is JobState.FAILED
    assert [attempt.relay for attempt in job.attempts] == ["main"]
    assert second.state.count == 0


def test_the_first_relay_is_used_again_once_it_works(system, second, closed):
    two_relays(system, f"smtp://127.0.0.1:{closed}", second.url)
    with system.worker("w1"), system.worker("w2"):
        system.ended(system.enqueue())
        pause = system.mailer.paused_relays()["main"]
        assert "connect" in pause.reason.lower()
        with SmtpServerThread(port=closed) as first:

            def works():
                system.ended(system.enqueue())
                return first.state.count

            assert eventually(works)
            assert eventually(lambda: not system.mailer.paused_relays())


def test_while_all_relays_are_paused_emails_wait_and_say_why(system, closed):
    two_relays(system, f"smtp://127.0.0.1:{closed}", f"smtp://127.0.0.1:{closed}")
    system.settings["MAILER_CONNECTIONS"] = "2"
    with system.worker("w1"), system.worker("w2"):
        jobs = [system.enqueue() for _ in range(50)]
        eventually(lambda: len(system.mailer.paused_relays()) == 2)
        late = system.enqueue()
        held = eventually(lambda: system.mailer.get(late).held)
        assert re.match("relay (main|spare) is paused: .*refused", held)
        with SmtpServerThread(port=closed) as server:
            ended = [system.ended(job) for job in [*jobs, late]]
            assert server.state.count == 51, "none lost, none twice"
    assert {job.state for job in ended} == {JobState.SENT}
    assert {job.retries for job in ended} == {1}
    assert {job.held for job in ended} == {None}
    attempts = sum(len(job.attempts) for job in ended)
    assert attempts < 50 + 20, "a few found the fault; the others waited for its end"
