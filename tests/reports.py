"""What a worker reports to the store, for tests that play one."""

from msgspec.structs import replace

from mailer.job import Attempt, Decision, JobState, Recipient, RecipientState
from mailer.store.agenda import ENDED, Result
from mailer.store.records import at

REPLY = "250 2.0.0 Ok: queued as 4Z1k2v0p3mz9sV"


def accepted(begun, **fields) -> Result:
    """Report what a worker does of a plain email that the relay took."""
    attempt = Attempt(
        n=begun.tries + 1,
        started_at=at(begun.begun_ms),
        decision=Decision.SENT,
        ended_at=at(begun.begun_ms + 6),
        worker="mailer@worker-1",
        relay="main",
        phase="dot",
        code=250,
        enhanced_code="2.0.0",
        reply=REPLY,
        rule="accepted",
    )
    people = tuple(
        r
        if r.state is RecipientState.ACCEPTED
        else Recipient(r.address, RecipientState.ACCEPTED, REPLY)
        for r in begun.recipients
    )
    result = Result(begun.lease, JobState.SENT, ENDED, begun.tries + 1, people, attempt)
    return replace(result, **fields)
