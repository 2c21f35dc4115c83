"""The store against a small model of it, over whatever order of steps Hypothesis thinks of.

The model says for each job exactly: its state, its place on the agenda, its token; and which events
there are of it. The clock is the model's too, so that leases run out and times come at will.

A process may die, freeze or lose its connection between any two steps. To the store that looks
like this: the next step does not come, or comes when time has passed and others have gone ahead, or
comes twice. So there is no rule that kills: each rule is one step, no rule needs another to follow,
and an assignment stays at hand for ever, whatever became of its lease. A worker that stops hands
back what it holds (`finish` as queued, with its crashes as they were) and what it was given
(`undispatch`); producers cancel, supersede, reschedule and suppress in between.
"""

import time as real_time
from datetime import UTC, datetime
from types import SimpleNamespace

import attrs
import fakeredis
import hypothesis.strategies as st
import msgspec
import pytest
from fake_link import fake_runner
from fakeredis.commands_mixins import server_mixin
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mailer.email import Email
from mailer.enqueueing import new_job
from mailer.errors import InvalidArgument, InvalidEmail
from mailer.job import TRANSITIONS, Decision, JobState, Priority, Recipient, RecipientState
from mailer.loading import load_settings
from mailer.store.agenda import (
    ENDED,
    NOW,
    Agenda,
    Assignment,
    Commitment,
    Lease,
    Pinning,
    Recorded,
    Result,
)
from mailer.store.events import Events
from mailer.store.jobs import Jobs
from mailer.store.keys import LANES, Keys
from mailer.store.new_jobs import NewJob
from mailer.store.suppressions import Suppressions

SETTINGS = load_settings(redis_url="redis://nowhere.invalid")
WAITING = {JobState.SCHEDULED, JobState.QUEUED, JobState.DEFERRED}
START_MS = 1_800_000_000_000
LEASE, DISPATCH = 60_000, 30_000  # ms
PENDING, ACCEPTED = RecipientState.PENDING, RecipientState.ACCEPTED
UNCONFIRMED = RecipientState.UNCONFIRMED
SUPPRESSED = RecipientState.SUPPRESSED
BEN, CARL = "b@example.org", "c@example.org"


@attrs.define
class Model:
    """What the store should know of one job."""

    state: JobState
    lane: Priority
    due: int
    expires: int
    on_agenda: int | None
    token: int = 0
    lease: int = 0
    tries: int = 0
    interruptions: int = 0
    crashes: int = 0  # in a row
    committed: list[str] = attrs.field(factory=list)  # who may have it since it was begun
    completed: dict[str, int] = attrs.field(factory=dict)  # recipient → token of an unheard attempt
    people: dict[str, RecipientState] = attrs.field(factory=dict)
    tags: tuple[str, ...] = ()
    superseded: bool = False

    @property
    def open(self) -> list[str]:
        return [address for address, state in self.people.items() if state is PENDING]

    def doubt(self, whom: list[str]) -> None:
        self.people |= dict.fromkeys(set(whom) & set(self.open), UNCONFIRMED)

    def suppress(self, entries: set[tuple[str, str | None]], *, lost: bool) -> None:
        """Leave out who is on the list; all may be in doubt, if a worker was lost."""
        before = self.open
        on_list = [a for a in before if any((a, tag) in entries for tag in (None, *self.tags))]
        if lost and not self.committed and on_list == before:
            self.doubt(before)
        else:
            self.people |= dict.fromkeys(on_list, SUPPRESSED)

    @property
    def end(self) -> JobState:
        """Name the state of one of which nobody is open."""
        if UNCONFIRMED in self.people.values():
            return JobState.UNCONFIRMED
        if ACCEPTED in self.people.values():
            return JobState.PARTIALLY_SENT
        return JobState.SUPPRESSED


class Protocol(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = START_MS
        server_mixin.time = SimpleNamespace(time=lambda: self.now / 1000)
        self.raw = fakeredis.FakeRedis()
        self.runner = fake_runner(self.raw)
        keys = Keys("p")
        self.keys, self.jobs, self.agenda = keys, Jobs(keys, idempotency_seconds=9), Agenda(keys)
        self.suppressions = Suppressions(keys)
        self.suppressed: set[tuple[str, str | None]] = set()
        self.model: dict[str, Model] = {}
        self.once: dict[str, str] = {}
        self.latest: dict[str, str] = {}  # supersede key → its last job
        self.jobs_made = 0
        self.held: list[Assignment] = []  # every assignment ever given, stale ones included
        self.parcels: dict[Lease, list[str]] = {}  # an attempt is one transaction
        self.seen: dict[str, JobState] = {}
        self.events = Events(keys)
        self.runner.run_many(self.events.record(JobState, 1_000_000, 9))
        self.last_event = "0-0"
        self.told: list[tuple[str, JobState, int]] = []  # of each change of a state

    def teardown(self):
        server_mixin.time = real_time

    def run(self, operation):
        return self.runner.run(operation)

    def tell(self, job_id):
        job = self.model[job_id]
        self.told.append((job_id, job.state, job.tries))

    def pick(self, data, ids=None):
        return data.draw(st.sampled_from(list(ids or self.model)))

    # producers

    @initialize()
    def start_with_one(self):
        self.enqueue([(0, 0, Priority.NORMAL, None, [BEN], (), None)], again=False)

    @rule(
        emails=st.lists(
            st.tuples(
                st.sampled_from([0, 0, -1, 5_000, 100_000]),
                st.sampled_from([0, 0, 6_000, 200_000]),
                st.sampled_from(Priority),
                st.sampled_from([None, None, "k1", "k2"]),
                st.just([BEN]),
                st.just(()),
                st.sampled_from([None, None, "s1"]),
            )
            | st.tuples(
                *(st.just(0), st.just(0), st.just(Priority.NORMAL), st.none()),
                st.sampled_from([[BEN], [BEN, CARL]]),
                st.sampled_from([(), ("news",), ("order", "news")]),
                st.none(),
            ),
            min_size=1,
            max_size=4,
        ),
        again=st.booleans(),
    )
    def enqueue(self, emails, again):
        jobs: list[NewJob] = []
        for ahead, lifetime, priority, key, people, tags, supersede_key in emails:
            when = datetime.fromtimestamp((self.now + ahead) / 1000, UTC) if ahead else None
            expires = max(ahead, 0) + lifetime
            until = datetime.fromtimestamp((self.now + expires) / 1000, UTC) if lifetime else None
            email = Email(
                from_email="a@example.com",
                to=people,
                tags=tags,
                scheduled_at=when,
                expires_at=until,
                priority=priority,
                idempotency_key=key,
                supersede_key=supersede_key,
            )
            self.jobs_made += 1
            # ids decide the order among equal times: a random one could not be replayed
            job = new_job(email, SETTINGS)
            jobs.append(msgspec.structs.replace(job, id=f"job-{self.jobs_made:04}"))
        receipts = self.run(self.jobs.enqueue(jobs))
        if again:  # the reply was lost, and the call repeated
            assert self.run(self.jobs.enqueue(jobs)) == receipts
        for job, receipt in zip(jobs, receipts, strict=True):
            key = job.idempotency_key
            if key in self.once:
                assert (receipt.id, receipt.created) == (self.once[key], False)
                continue
            assert (receipt.id, receipt.created) == (job.id, True)
            if key:
                self.once[key] = job.id
            due = max(job.scheduled_ms, self.now)
            state = JobState.SCHEDULED if due > self.now else JobState.QUEUED
            people = {recipient.address: PENDING for recipient in job.recipients}
            made = Model(state, job.priority, due, job.expires_ms, due)
            made.people, made.tags = people, job.head.tags
            made.suppress(self.suppressed, lost=False)
            if not made.open:
                made.state, made.on_agenda = JobState.SUPPRESSED, None
            if job.supersede_key:
                self._supersede(job.supersede_key)
                self.latest[job.supersede_key] = job.id
            self.model[job.id] = made
            self.tell(job.id)
            assert (None, made.state) in TRANSITIONS
            self.seen[job.id] = made.state

    def _supersede(self, key):
        job = self.model.get(self.latest.get(key))
        if job and job.state in WAITING:
            job.state, job.on_agenda = JobState.CANCELED, None
            self.tell(self.latest[key])
        elif job and job.state is JobState.SENDING:
            job.superseded = True

    @rule()
    def enqueue_what_is_expired(self):
        before = self.raw.keys()
        past = datetime.fromtimestamp((self.now - 1) / 1000, UTC)
        good = new_job(Email(from_email="a@b.example", to="c@d.example"), SETTINGS)
        late = Email(from_email="a@b.example", to="c@d.example", expires_at=past)
        try:
            self.run(self.jobs.enqueue([good, new_job(late, SETTINGS)]))
        except InvalidEmail:
            assert sorted(self.raw.keys()) == sorted(before)
        else:
            raise AssertionError("it is expired")

    @rule(address=st.sampled_from([BEN, CARL]), tag=st.sampled_from([None, "news"]))
    def suppress_or_no_more(self, address, tag):
        if (address, tag) in self.suppressed:
            assert self.run(self.suppressions.remove(address.upper(), tag))
        else:
            assert self.run(self.suppressions.add([address.upper()], tag, "", "api")) == 1
        self.suppressed ^= {(address, tag)}

    @rule(data=st.data())
    def cancel(self, data):
        job_id = self.pick(data)
        job = self.model[job_id]
        if job.state in WAITING:
            job.state, job.on_agenda = JobState.CANCELED, None
            self.tell(job_id)
        assert self.run(self.jobs.cancel([job_id])) == [job.state]

    @rule(data=st.data(), ahead=st.sampled_from([None, 1, 5_000, 100_000]))
    def reschedule(self, data, ahead):
        job_id = self.pick(data)
        job = self.model[job_id]
        waits = job.state in WAITING
        if waits and ahead and 0 < job.expires <= self.now + ahead:
            with pytest.raises(InvalidArgument):
                self.run(self.jobs.reschedule(job_id, self.now + ahead))
            return
        if waits:
            before, job.due = job.state, self.now + (ahead or 0)
            job.on_agenda = job.due
            if job.state is not JobState.DEFERRED:
                job.state = JobState.SCHEDULED if ahead else JobState.QUEUED
            if job.state is not before:
                self.tell(job_id)
        answer = self.run(self.jobs.reschedule(job_id, self.now + ahead if ahead else 0))
        assert answer == (job.state, waits)

    @precondition(lambda self: any(job.state.ended for job in self.model.values()))
    @rule(data=st.data(), twice=st.booleans())
    def revive(self, data, twice):
        job_id = self.pick(data, [i for i, job in self.model.items() if job.state.ended])
        job = self.model[job_id]
        stored = self.run(self.jobs.get(job_id))
        if job.state is JobState.SENT:
            assert not stored.has_message
            return
        people = tuple(
            r if r.state is ACCEPTED else Recipient(r.address) for r in stored.job.recipients
        )
        if not any(r.state is PENDING for r in people):
            return
        job.people = {r.address: r.state for r in people}
        assert self.run(self.jobs.revive(stored, people))
        job.state, job.due, job.on_agenda = JobState.QUEUED, self.now, self.now
        job.tries, job.expires, job.completed = 0, 0, {}  # a person's risk
        job.superseded, job.crashes = False, 0
        self.tell(job_id)
        if twice:
            assert not self.run(self.jobs.revive(stored, people))

    # workers

    @rule(room=st.integers(0, 5), urgent_room=st.integers(0, 3))
    def claim(self, room, urgent_room):
        claim = self.run(self.agenda.claim(room, max(room, urgent_room), DISPATCH / 1000))
        assert claim.now == self.now
        for lane, ids in claim.ids.items():
            due = {
                job_id: job.on_agenda
                for job_id, job in self.model.items()
                if job.lane is lane and job.on_agenda is not None and job.on_agenda <= self.now
            }
            assert [due[job_id] for job_id in ids] == sorted(due.values())[: len(ids)]
            for job_id in ids:
                self.model[job_id].on_agenda = self.now + DISPATCH
        assert len(claim.ids[Priority.HIGH]) <= max(room, urgent_room)
        if room:
            left = [j for j in self.model.values() if j.on_agenda is not None]
            claimed = sum(map(len, claim.ids.values()))
            assert claimed >= room or not any(j.on_agenda <= self.now for j in left)

    @rule(data=st.data(), more=st.lists(st.just("nosuch"), max_size=1))
    def begin(self, data, more):
        ids = data.draw(st.lists(st.sampled_from(list(self.model)), max_size=5)) + more
        expected = []
        for job_id in ids:
            job = self.model.get(job_id)
            if job is None:
                continue
            lost = job.state is JobState.SENDING and job.lease <= self.now
            waiting = job.state in WAITING and job.due <= self.now
            if waiting and 0 < job.expires <= self.now:
                job.state, job.on_agenda = JobState.EXPIRED, None
                self.tell(job_id)
                continue
            if not waiting and not lost:
                continue
            job.interruptions += lost
            job.crashes += lost
            over = job.superseded or 0 < job.expires <= self.now
            if lost and (over or job.committed):
                job.doubt(job.committed or job.open)
            if not over:
                job.suppress(self.suppressed, lost=lost)
            job.token += 1
            job.committed = []
            if over or not job.open:
                job.state, job.on_agenda = job.end, None
            else:
                job.state = JobState.SENDING
                job.lease = job.on_agenda = self.now + LEASE
                expected.append((job_id, job.token, job.tries, job.crashes, job.lane, job.open))
            if waiting or job.state is not JobState.SENDING:
                self.tell(job_id)
        begun = self.run(self.agenda.begin(ids, "w", LEASE / 1000))
        assert [
            (b.lease.job_id, b.lease.token, b.tries, b.crashes, b.priority, self._open(b))
            for b in begun
        ] == expected
        self.held += begun

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(
            [
                *(JobState.SENT, JobState.FAILED, JobState.PARTIALLY_SENT, JobState.UNCONFIRMED),
                *(JobState.DEFERRED, JobState.QUEUED),
            ]
        ),
        ahead=st.sampled_from([None, 1_000, 50_000]),
        crashed=st.sampled_from([None, None, 0, 1]),
    )
    def finish(self, data, outcome, ahead, crashed):
        """Report on some attempt, perhaps on one that was lost long ago."""
        ours = [b for b in self.held if self._is_current(b)]
        begun = data.draw(st.sampled_from(ours if ours and data.draw(st.booleans()) else self.held))
        job = self.model[begun.lease.job_id]
        current = self._is_current(begun)
        due = ENDED if outcome.ended else NOW if ahead is None else self.now + ahead
        if outcome is JobState.SENT and any(r.state is not PENDING for r in begun.recipients):
            outcome = JobState.PARTIALLY_SENT
        accepts = outcome in {JobState.SENT, JobState.PARTIALLY_SENT}
        people = tuple(
            Recipient(r.address, ACCEPTED) if accepts and r.state is PENDING else r
            for r in begun.recipients
        )
        # not tried, or one more crash; any other end of an attempt sets the count back
        crashes = 0 if crashed is None else begun.crashes + crashed
        result = Result(begun.lease, outcome, due, begun.tries + 1, people, None, crashes=crashes)
        # a result that was recorded before is no news, and no loss either
        known = job.token == begun.lease.token
        instead = current and job.superseded and not outcome.ended
        expected = Recorded.CANCELED if instead else Recorded(known)
        assert self.run(self.agenda.finish([result])) == [expected]
        if current:
            job.state, job.tries, job.crashes = outcome, begun.tries + 1, crashes
            job.people = {r.address: r.state for r in people}
            job.on_agenda, job.committed, job.completed = None, [], {}
            if instead:
                job.state = JobState.CANCELED
            elif not outcome.ended:
                job.due = job.on_agenda = self.now if due == NOW else due
            self.tell(begun.lease.job_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def commit(self, data):
        """Ask to complete messages: allowed to the holders of leases that are not over, alone."""
        made, ours = [], []
        for begun in data.draw(st.lists(st.sampled_from(self.held), min_size=1, max_size=4)):
            job = self.model[begun.lease.job_id]
            some = st.lists(st.sampled_from(self._open(begun)), min_size=1, unique=True)
            whom = self.parcels.setdefault(begun.lease, data.draw(some))
            made.append(Commitment(begun.lease, "main", tuple(whom)))
            ours.append(self._is_current(begun) and job.lease > self.now)
            if ours[-1]:
                job.committed = whom
                for address in whom:  # no other attempt, unheard of, may have sent to them
                    assert job.completed.setdefault(address, begun.lease.token) == begun.lease.token
        assert self.run(self.agenda.commit(made)) == ours

    @precondition(lambda self: any(j.state is JobState.UNCONFIRMED for j in self.model.values()))
    @rule(data=st.data(), sent=st.booleans(), twice=st.booleans())
    def resolve(self, data, sent, twice):
        doubtful = [i for i, job in self.model.items() if job.state is JobState.UNCONFIRMED]
        job_id = self.pick(data, doubtful)
        job, stored = self.model[job_id], self.run(self.jobs.get(job_id))
        state = JobState.SENT if sent else JobState.FAILED
        known = ACCEPTED if sent else RecipientState.REFUSED
        people = tuple(Recipient(r.address, known) for r in stored.job.recipients)
        assert self.run(self.jobs.resolve(stored, people, state, "so it was"))
        job.state, job.people = state, {r.address: r.state for r in people}
        self.tell(job_id)
        if twice:
            assert not self.run(self.jobs.resolve(stored, people, state, "so it was"))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def renew(self, data):
        leases = data.draw(st.lists(st.sampled_from(self.held), min_size=1, max_size=4))
        gone = set()
        for begun in leases:
            job = self.model[begun.lease.job_id]
            if self._is_current(begun):
                job.lease = job.on_agenda = self.now + LEASE
            else:
                gone.add(begun.lease.job_id)
        assert self.run(self.agenda.renew([b.lease for b in leases], LEASE / 1000)) == gone

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def pin(self, data):
        """Have the record name what was fetched for its attachments, which here is nothing."""
        begun = data.draw(st.sampled_from(self.held))
        pinned = self.run(self.agenda.pin(begun.lease, begun.message, []))
        assert pinned is (Pinning.DONE if self._is_current(begun) else Pinning.LEASE_LOST)

    @rule(data=st.data())
    def undispatch(self, data):
        """Hand back what was claimed, as a worker does that stops; perhaps it was begun since."""
        job_id = self.pick(data)
        job = self.model[job_id]
        expected = job.state in WAITING and job.due <= self.now
        if expected:
            job.on_agenda = job.due
        assert self.run(self.agenda.undispatch([job_id])) == expected

    @precondition(lambda self: any(job.state.ended for job in self.model.values()))
    @rule(data=st.data(), state=st.sampled_from([s for s in JobState if s.ended]))
    def retire(self, data, state):
        if len(self.model) < 4:  # leave something to play with
            return
        moment = self.now - 50_000
        ids = self.run(self.agenda.ended_before(state, moment, 3))
        assert all(self.model[job_id].state is state for job_id in ids)
        assert self.run(self.agenda.retire(state, moment, ids)) == len(ids)
        for job_id in ids:
            del self.model[job_id], self.seen[job_id]
            self.latest = {key: last for key, last in self.latest.items() if last != job_id}
        self.held = [b for b in self.held if b.lease.job_id in self.model]
        if not self.model:
            self.start_with_one()

    @rule(ms=st.sampled_from([1, 999, 5_000, 29_999, 60_000, 100_000]))
    def time_passes(self, ms):
        """Long enough, and what is held is lost: so much for a crash; see above."""
        self.now += ms

    @staticmethod
    def _open(begun):
        return [r.address for r in begun.recipients if r.state is PENDING]

    def _is_current(self, begun):
        job = self.model[begun.lease.job_id]
        return job.state is JobState.SENDING and job.token == begun.lease.token

    # what holds at any time

    @invariant()
    def every_job_that_has_not_ended_is_on_the_agenda_exactly_once(self):
        for lane, key in zip(LANES, self.keys.lanes, strict=True):
            found = {job_id.decode(): round(due) for job_id, due in self._sorted_set(key)}
            assert found == {
                job_id: job.on_agenda
                for job_id, job in self.model.items()
                if job.lane is lane and job.on_agenda is not None
            }
        assert all((j.on_agenda is None) is j.state.ended for j in self.model.values())

    @invariant()
    def the_state_indexes_agree_with_the_records(self):
        for state in JobState:
            found = {job_id.decode() for job_id, _ in self._sorted_set(self.keys.state(state))}
            assert found == {i for i, job in self.model.items() if job.state is state}

    @invariant()
    def every_change_of_state_is_in_the_table(self):
        for job_id, job in self.model.items():
            recorded = self.run(self.jobs.get(job_id)).job
            assert recorded.state is job.state
            assert {r.address: r.state for r in recorded.recipients} == job.people
            lost = [a for a in recorded.attempts if a.decision is Decision.INTERRUPTED]
            assert len(lost) == job.interruptions
            crashes = self.raw.hget(self.keys.job(job_id), "crashes")
            assert int(crashes or 0) == (0 if job.state is JobState.SENT else job.crashes)
            before = self.seen.get(job_id)
            if before is not job.state:
                assert (before, job.state) in TRANSITIONS, f"{before} → {job.state}"
            self.seen[job_id] = job.state

    @invariant()
    def there_is_one_event_for_each_change_of_a_state_and_no_other(self):
        events = self.run(self.events.since(self.last_event))
        if self.last_event != "0-0":
            assert events.pop(0).id == self.last_event
        assert [(e.job_id, e.state, e.tries) for e in events] == self.told
        self.told = []
        if events:
            self.last_event = events[-1].id

    @invariant()
    def a_supersede_key_names_its_last_job_as_long_as_that_is_recorded(self):
        named = self.raw.get(self.keys.latest("s1"))
        assert (named and named.decode()) == self.latest.get("s1")

    @invariant()
    def no_wake_up_piles_up(self):
        assert self.raw.llen(self.keys.wake) <= 1
        assert self.raw.llen(self.keys.urgent_wake) <= 1

    def _sorted_set(self, key):
        return self.raw.zrange(key, 0, -1, withscores=True)


def test_the_store_does_what_its_model_says_in_any_order_of_steps():
    try:
        run_state_machine_as_test(
            Protocol,
            settings=settings(
                max_examples=80,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        server_mixin.time = real_time
