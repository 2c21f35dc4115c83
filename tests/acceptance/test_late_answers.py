"""Messages that a relay leaves unanswered: they hold up no others, and end as is due to them."""

import pytest

from mailer import Decision, JobState
from mailer.testing import SmtpServerThread, eventually, hang, slow

CONNECTIONS = 5


@pytest.mark.slow
def test_messages_that_are_never_answered_do_not_hold_up_the_others(system):
    """Five of a hundred, enough for every connection, and the first ones at that."""
    unanswered, late, usual = hang("dot", match="never"), slow(8.0, match="late"), slow(0.1)
    with SmtpServerThread(faults=[unanswered, late, usual]) as smtp:
        system.settings["MAILER_RELAY_URL"] = smtp.url
        allowed = {"MAILER_CONNECTIONS": str(CONNECTIONS), "MAILER_LATE_CONNECTIONS": "5"}
        with system.worker(**allowed) as worker:
            hanging = [system.enqueue(f"never{i}@example.org") for i in range(3)]
            delayed = [system.enqueue(f"late{i}@example.org") for i in range(2)]
            eventually(lambda: (unanswered.happened, late.happened) == (3, 2))
            others = [r.id for r in system.mailer.enqueue_many(system.email() for _ in range(95))]

            assert {system.ended(job, 60).state for job in others} == {JobState.SENT}
            assert unanswered.happened == 3, "they wait, and were not sent again"
            assert {system.mailer.get(job).state for job in hanging} == {JobState.SENDING}
            moments = sorted(m.at for m in smtp.received if m.recipients == ("ann@example.org",))
            # from when the turns of all that were late were free; else it would be 10 minutes
            assert moments[-1] - moments[CONNECTIONS] < 30
            assert smtp.state.open_at_most <= CONNECTIONS + 5

            for job in [system.ended(job) for job in delayed]:
                assert (job.state, len(job.attempts)) == (JobState.SENT, 1)

            smtp.faults = []
            smtp.close_connections()  # it lets go at last
            for job in [system.ended(job) for job in hanging]:
                assert [a.decision for a in job.attempts] == [Decision.RETRY, Decision.SENT]
                assert "perhaps it was delivered" in job.attempts[0].reply
        assert len(smtp.received) == 100, "none lost, none twice"
    said = worker.log.read_text()
    assert "a relay's answers are late; others take the turns" in said
    assert "example.org" not in said
