"""What becomes of an email, for each thing that a server can do wrong; through a real worker."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import attrs
import pytest

from mailer import JobState
from mailer.testing import (
    Action,
    Fault,
    SmtpServerThread,
    add,
    endless_line,
    endless_reply,
    eventually,
    garbage,
    go_away,
    greylist,
    hang,
    hang_up_once,
    lose_pipelined,
    lose_reply,
    no_chunking,
    say,
    slow,
    trickle,
)

PIPELINING = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 52428800")
CHUNKING = (*PIPELINING, "CHUNKING")
SENT, RETRIED, PAUSED, REFUSED = ["sent"], ["retry", "sent"], ["pause", "sent"], ["fail"]
BEFORE_DOT = ["connect", "ehlo", "mail", "rcpt", "data"]


@attrs.frozen
class Case:
    """A server, and what an email's history should be.

    Attributes:
        decisions: of its attempts.
        copies: that the server accepted.
        said: a part of the first attempt's reply.
    """

    fault: Fault | None
    decisions: list[str]
    copies: int = 1
    said: str = ""
    extensions: tuple[str, ...] = PIPELINING
    url_options: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)


def _cases() -> dict[str, Case]:
    cases = {
        "greylisted": Case(greylist("ann@"), RETRIED, said="450 4.7.1"),
        "late 250": Case(slow(0.25), SENT),
        "slow bytes": Case(trickle(0.005, "mail"), SENT),
        "slow bytes of the 250": Case(trickle(0.005), SENT),
        "drop after the dot": Case(lose_reply(), RETRIED, 2, said="perhaps it was delivered"),
        "drop at the dot": Case(hang_up_once(at="dot"), RETRIED, said="perhaps it was delivered"),
        "hang at the dot": Case(hang("dot", times=1), RETRIED, said="perhaps it was delivered"),
        "garbage at the dot": Case(garbage("dot", 1), RETRIED, said="perhaps it was delivered"),
        "421 at the dot": Case(go_away("dot", 1), PAUSED, said="421"),
        "endless reply": Case(endless_reply("mail", 1), PAUSED),
        "endless line": Case(endless_line("mail", 1), PAUSED),
        "endless reply to EHLO": Case(endless_reply("ehlo", 1), PAUSED),
        "endless line to EHLO": Case(endless_line("ehlo", 1), PAUSED),
        "one reply too many": Case(add("250 2.0.0 what?", "dot", 1), SENT),
        "a reply out of step": Case(add("250 2.0.0 what?", "mail", 1), PAUSED),
        "no PIPELINING": Case(None, SENT, extensions=("8BITMIME",)),
        "no extensions": Case(None, SENT, extensions=()),
        "HELO only": Case(say("502 5.5.1 what?", "ehlo", "EHLO"), SENT),
        "offers CHUNKING in vain": Case(no_chunking(), SENT, extensions=CHUNKING),
        "offers SIZE in vain": Case(say("555 5.5.4 SIZE?", "mail", times=1), SENT),
        "offers PIPELINING in vain": Case(lose_pipelined(times=1), PAUSED),
        "STARTTLS stripped": Case(None, ["pause"], 0, "STARTTLS", url_options="?starttls=required"),
        "535": Case(say("535 5.7.8 no", "auth", times=1), PAUSED, said="535", options=WITH_LOGIN),
        "454 at AUTH": Case(say("454 4.7.0 no", "auth", times=1), PAUSED, options=WITH_LOGIN),
        "refused at connect": Case(say("554 5.7.1 no", "connect", times=1), PAUSED, said="554"),
        "deferred at connect": Case(say("450 4.3.2 no", "connect", times=1), PAUSED, said="450"),
        "530 at MAIL": Case(say("530 5.7.0 sign in", "mail", times=1), PAUSED, said="530"),
        "552 at RCPT": Case(say("552 5.5.3 too many", "rcpt", times=1), RETRIED, said="552"),
    }
    for at in ["mail", "rcpt", "data", "dot"]:
        cases[f"refused at {at}"] = Case(say("554 5.7.1 no", at), REFUSED, 0, "554 5.7.1 no")
        cases[f"deferred at {at}"] = Case(say("451 4.3.0 no", at, times=1), RETRIED, said="451")
    for at in BEFORE_DOT:
        cases[f"hang at {at}"] = Case(hang(at, times=1), PAUSED)
        cases[f"closed at {at}"] = Case(hang_up_once(at=at), PAUSED)
        cases[f"421 at {at}"] = Case(go_away(at, 1), PAUSED, said="421")
        cases[f"garbage at {at}"] = Case(garbage(at, 1), PAUSED)
    by_data_only = {"data", "PIPELINING", "extensions", "HELO"}
    for name, case in list(cases.items()):
        if case.fault and not by_data_only & set(name.split()):
            fault = attrs.evolve(case.fault)
            cases[f"{name} (CHUNKING)"] = attrs.evolve(case, fault=fault, extensions=CHUNKING)
    return cases


WITH_LOGIN = {"users": {"shop": "secret"}}
CASES = _cases()
_LOGIN = "shop:secret@"


@pytest.fixture(scope="module")
def histories(shared_system):
    """Sends one email to each server; gives the job, and how many copies the server has."""
    system = shared_system
    with ExitStack() as servers:
        config, running = ["[relays]"], {}
        for number, (name, case) in enumerate(CASES.items()):
            faults = [case.fault] if case.fault else []
            options = {"faults": faults, "extensions": case.extensions, **case.options}
            server = servers.enter_context(SmtpServerThread(**options))
            running[name] = server
            login = _LOGIN if case.options else ""
            url = server.url.replace("://", f"://{login}") + case.url_options
            config.append(f'r{number}.url = "{url}"')
        file = system.folder / "mailer.toml"
        file.write_text("\n".join(config))
        del system.settings["MAILER_RELAY_URL"]
        patience = {
            f"MAILER_SMTP_{phase}_SECONDS": "0.5" for phase in ("CONNECT", "COMMAND", "FINAL")
        }
        with system.worker(MAILER_CONFIG=str(file), **patience):
            jobs = {
                name: system.enqueue("ann@example.org", relay=f"r{number}")
                for number, name in enumerate(CASES)
            }
            for name, job in jobs.items():
                eventually(lambda job=job, name=name: _is_through(system, job, name), timeout=60)
        yield {
            name: (system.mailer.get(job), running[name].state.count) for name, job in jobs.items()
        }


def _is_through(system, job_id, name):
    job = system.mailer.get(job_id)
    return job.state.ended or (CASES[name].decisions == ["pause"] and job.attempts)


@pytest.mark.parametrize("name", CASES)
def test_an_email_has_the_history_that_the_fault_should_give_it(histories, name):
    job, copies = histories[name]
    case = CASES[name]
    # a fault may have to be found twice: the pause is over, and the server still busy with it
    decisions = [str(attempt.decision) for attempt in job.attempts]
    assert decisions[: len(case.decisions)] == case.decisions
    assert case.said in job.attempts[0].reply
    assert copies == case.copies
    used_up = sum(decision != "pause" for decision in decisions)
    assert job.retries == used_up, "a fault of the relay uses no attempt up"
    ends = {"sent": JobState.SENT, "fail": JobState.FAILED, "pause": job.state}
    assert job.state is ends[case.decisions[-1]]


def test_each_kind_of_fault_is_tried():
    tried = {case.fault.action for case in CASES.values() if case.fault}
    assert tried == {*Action}
