"""Through a real worker to servers of Debian's packages: ``make servers``."""

import os

import pytest
from servers import dovecot, postfix

from mailer import Attachment, JobState, RecipientState
from mailer.testing import eventually

pytestmark = pytest.mark.skipif(
    "MAILER_TEST_REAL_SERVERS" not in os.environ, reason="make servers runs these"
)
with_postfix = pytest.mark.skipif(bool(postfix.missing()), reason=postfix.missing())
with_dovecot = pytest.mark.skipif(bool(dovecot.missing()), reason=dovecot.missing())


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    with postfix.running(tmp_path_factory.mktemp("postfix")) as server:
        yield server


@pytest.fixture(scope="module")
def mailboxes(tmp_path_factory):
    with dovecot.running(tmp_path_factory.mktemp("dovecot")) as server:
        yield server


def subjects(server):
    return [message["Subject"] for message in server.messages]


@with_postfix
class TestPostfix:
    def test_what_it_delivers_is_what_was_sent(self, system, relay):
        picture = bytes(range(256)) * 20_000  # 5 MB are above its limit; this is not
        emails = {
            "plain": {"text": "Hi\n.\n..\nFrom the beginning\n"},
            "grüße ✓": {"text": "Schöne Grüße", "html": "<p>Schöne <b>Grüße</b></p>"},
            "attachment": {
                "text": "x",
                "attachments": [Attachment.from_bytes(picture[:900_000], filename="a.bin")],
            },
        }
        with system.worker(MAILER_RELAY_URL=relay.url):
            for subject, fields in emails.items():
                job_id = system.enqueue(subject=subject, **fields)
                wire = system.mailer.message(job_id)
                assert system.ended(job_id).state is JobState.SENT
                eventually(lambda subject=subject: subject in subjects(relay))
                (content,) = [c for c in relay.contents if job_id.encode() in c]
                # Postfix ends lines by LF in mailboxes, and adds its trace fields
                assert content.endswith(wire.replace(b"\r\n", b"\n"))

    def test_an_address_in_utf8_arrives(self, system, relay):
        with system.worker(MAILER_RELAY_URL=relay.url):
            job = system.ended(system.enqueue("jörg@bücher.example", subject="an jörg"))
        assert job.state is JobState.SENT
        eventually(lambda: "an jörg" in subjects(relay))

    def test_200_emails_share_a_few_connections_in_one_round_trip_each(self, system, relay):
        before = relay.connections
        with system.worker(MAILER_RELAY_URL=relay.url, MAILER_CONNECTIONS="4"):
            emails = (system.email(subject=f"number {n}") for n in range(200))
            ids = [receipt.id for receipt in system.mailer.enqueue_many(emails)]
            assert {system.ended(job, 60).state for job in ids} == {JobState.SENT}
        assert relay.connections - before <= 4
        expected = {f"number {n}" for n in range(200)}
        eventually(lambda: expected <= set(subjects(relay)), timeout=30)
        assert len([s for s in subjects(relay) if s in expected]) == 200
        last = [line for line in relay.log.splitlines() if "disconnect from" in line][-1]
        assert "bdat=" in last, "by CHUNKING"
        assert "data=" not in last.replace("bdat=", "")

    def test_each_recipient_has_its_outcome(self, system, relay):
        people = ["ann@example.org", "nobody@example.org", "grey@example.org"]
        with system.worker(MAILER_RELAY_URL=relay.url, MAILER_RETRY_DELAYS="600"):
            job_id = system.enqueue(people, subject="in part")
            eventually(lambda: system.mailer.get(job_id).state is JobState.DEFERRED)
        job = system.mailer.get(job_id)
        assert [r.state for r in job.recipients] == [
            RecipientState.ACCEPTED,
            RecipientState.REFUSED,
            RecipientState.DEFERRED,
        ]
        assert "No such user" in job.recipients[1].reply
        assert job.attempts[0].rule == "greylisted"

    def test_what_it_would_not_take_is_not_sent(self, system, relay):
        large = Attachment.from_bytes(b"x" * 2_500_000, filename="large.bin")
        with system.worker(MAILER_RELAY_URL=relay.url):
            job = system.ended(system.enqueue(attachments=[large]))
        assert job.state is JobState.FAILED
        assert "2000000" in job.recipients[0].reply

    def test_while_it_restarts_nothing_is_lost_and_nothing_sent_twice(self, system, relay):
        emails = [system.email(subject=f"restart {n}") for n in range(100)]
        with system.worker(MAILER_RELAY_URL=relay.url, MAILER_CONNECTIONS="4"):
            ids = [receipt.id for receipt in system.mailer.enqueue_many(emails)]
            eventually(lambda: any(s.startswith("restart") for s in subjects(relay)))
            relay.stop()
            relay.start()
            jobs = [system.ended(job, 60) for job in ids]
        assert {job.state for job in jobs} == {JobState.SENT}
        unsure = sum(any("perhaps" in (a.reply or "") for a in job.attempts) for job in jobs)
        eventually(lambda: len({s for s in subjects(relay) if s.startswith("restart")}) == 100)
        copies = len([s for s in subjects(relay) if s.startswith("restart")])
        assert 100 <= copies <= 100 + unsure

    def test_a_server_that_ends_idle_sessions_costs_no_attempt(self, system, tmp_path_factory):
        with (
            postfix.running(tmp_path_factory.mktemp("idle"), idle=1) as server,
            system.worker(MAILER_RELAY_URL=server.url, MAILER_CONNECTIONS="1"),
        ):
            for n in range(3):
                job = system.ended(system.enqueue(subject=f"idle {n}"))
                assert [job.state, len(job.attempts)] == [JobState.SENT, 1]
                eventually(lambda n=n: server.log.count("disconnect from") > n)

    def test_its_rate_limit_slows_us_down_and_all_arrive(self, system, tmp_path_factory):
        with postfix.running(tmp_path_factory.mktemp("rate"), rate=5) as server:
            with system.worker(MAILER_RELAY_URL=server.url):
                ids = [system.enqueue(subject=f"rate {n}") for n in range(8)]
                paces = eventually(system.mailer.paces)
            assert "too much mail" in next(iter(paces.values())).reason
            kept = {JobState.SENT, JobState.DEFERRED, JobState.QUEUED}
            # the worker was told to stop, and may be at it
            eventually(lambda: {system.mailer.get(job).state for job in ids} <= kept)


@with_dovecot
class TestDovecot:
    @pytest.mark.parametrize("way", ["TCP", "Unix socket"])
    def test_mailboxes_are_filled_by_lmtp(self, system, mailboxes, way):
        url = mailboxes.url if way == "TCP" else mailboxes.socket_url
        with system.worker(MAILER_RELAY_URL=url):
            people = ["ann@example.org", "bob@example.org", "nosuch@example.org"]
            job = system.ended(system.enqueue(people, subject=way))
        assert job.state is JobState.PARTIALLY_SENT
        states = [RecipientState.ACCEPTED, RecipientState.ACCEPTED, RecipientState.REFUSED]
        assert [r.state for r in job.recipients] == states
        for mailbox in ("ann", "bob"):
            assert way in [m["Subject"] for m in mailboxes.messages(mailbox)]

    def test_one_full_mailbox_is_found_out_after_the_message_and_harms_nobody(
        self, system, mailboxes
    ):
        with system.worker(MAILER_RELAY_URL=mailboxes.url, MAILER_RETRY_DELAYS="600"):
            job_id = system.enqueue(
                ["ann@example.org", "full@example.org"], subject="full", text="x" * 5000
            )
            eventually(lambda: system.mailer.get(job_id).attempts)
        job = system.mailer.get(job_id)
        ann, full = job.recipients
        assert ann.state is RecipientState.ACCEPTED
        assert full.state is not RecipientState.ACCEPTED
        assert "full" in full.reply.lower() or "quota" in full.reply.lower()
        assert job.attempts[0].phase == "dot"
