"""The agenda and the records: no job is lost, none goes twice, and none goes round for ever."""

from sabotage.step import Step

_LUA = "mailer/store/lua/"
_BEGIN, _CLAIM, _FINISH = f"{_LUA}begin.lua", f"{_LUA}claim.lua", f"{_LUA}finish.lua"
_ENQUEUE, _CANCEL, _REVIVE = f"{_LUA}enqueue.lua", f"{_LUA}cancel.lua", f"{_LUA}revive.lua"
_UNDISPATCH, _KEEP, _OPEN = f"{_LUA}undispatch.lua", f"{_LUA}keep.lua", f"{_LUA}open.lua"
_BATCHES = "tests/integration/test_batches.py::"
_WORKERS = "tests/integration/test_store_workers.py::"
_PRODUCERS = "tests/integration/test_store_producers.py::"
_SUPERSEDE = "tests/integration/test_store_supersede.py::"
_SENT = "tests/integration/test_store_sent.py::"
_EVENTS = "tests/integration/test_events.py::"
_LINES = "tests/integration/test_lines.py::"
_LINK = "tests/unit/test_link.py::"
_TROUBLES = "tests/integration/test_client.py::TestServerTroubles::"
_LOST = f"{_WORKERS}TestLostAttempts::"

STEPS = (
    Step(
        "enqueue: the key of the idempotency key",
        "a producer that repeats a call, for it got no answer, would have the email sent twice",
        _ENQUEUE,
        "      redis.call('SET', job.once, known[job.once], 'EX', ARGV[1])\n",
        "",
        (
            f"{_PRODUCERS}TestEnqueue::test_the_same_key_and_content_is_one_job",
            f"{_PRODUCERS}TestEnqueue::test_a_key_is_remembered_after_its_email_was_sent",
        ),
    ),
    Step(
        "enqueue: the look whether the job is recorded already",
        "a call that arrives twice would begin a job anew that is being sent",
        _ENQUEUE,
        "elseif job.stored then",
        "elseif false then",
        (f"{_PRODUCERS}TestEnqueue::test_repeating_a_call_leaves_a_job_that_has_begun_alone",),
    ),
    Step(
        "enqueue: the look whether the chunk of a batch is the one that it was",
        "with a line put in at the top of a list, all would pass for their neighbours, and some"
        " never get it",
        _ENQUEUE,
        "return known == digest and { 'known', now } or { 'other rows' }",
        "return { 'known', now }",
        (f"{_BATCHES}TestMistakes::test_a_batch_keeps_its_rows",),
    ),
    Step(
        "enqueue: the look whether the batch was canceled",
        "what is enqueued meanwhile would be sent all the same",
        _ENQUEUE,
        "  if canceled then return { 'canceled' } end\n",
        "",
        (f"{_BATCHES}TestBatch::test_nothing_comes_into_it_once_it_is_canceled",),
    ),
    Step(
        "open: the look whether the letter of a batch is the one that it was",
        "half of a list would get one letter, and half another",
        _OPEN,
        "batch[1] == ARGV[3] and { 'ok', tonumber(batch[3]) } or { 'other letter' }",
        "{ 'ok', tonumber(batch[3]) }",
        (f"{_BATCHES}TestMistakes::test_a_batch_keeps_its_letter",),
    ),
    Step(
        "claim: the new time of what was claimed",
        "every dispatcher would publish the same jobs, again and again",
        _CLAIM,
        "    redis.call('ZADD', lane, unpack(scores))\n",
        "",
        (f"{_WORKERS}TestClaim::test_a_claimed_job_comes_up_again_after_the_dispatch_timeout",),
    ),
    Step(
        "claim: that what was claimed stays on the agenda",
        "jobs would be lost for good with a broker that loses its messages",
        _CLAIM,
        "redis.call('ZADD', lane, unpack(scores))",
        "for i = 2, #scores, 2 do redis.call('ZREM', lane, scores[i]) end",
        (f"{_WORKERS}TestClaim::test_a_claimed_job_comes_up_again_after_the_dispatch_timeout",),
    ),
    Step(
        "undispatch: the old time of what was claimed",
        "at a stop, jobs that no worker began would wait for the dispatch timeout",
        _UNDISPATCH,
        "    redis.call('ZADD', KEYS[1 + tonumber(job[3])], job[2], ARGV[i - 4])\n",
        "",
        (f"{_WORKERS}TestUndispatch::test_what_was_claimed_and_not_begun_is_due_again_at_once",),
    ),
    Step(
        "undispatch: the look whether the job still waits",
        "a job that has ended would be back on the agenda, and one under way come up early",
        _UNDISPATCH,
        "if waiting and tonumber(job[2]) <= now then",
        "if job[1] and tonumber(job[2]) <= now then",
        (f"{_WORKERS}TestUndispatch::test_what_has_moved_on_stays_where_it_is",),
    ),
    Step(
        "finish: the next time of a deferred job on the agenda",
        "it would be retried when its lease would have ended, and not when it is due",
        _FINISH,
        "      redis.call('ZADD', lane, due, id)\n",
        "",
        (f"{_WORKERS}TestFinish::test_what_is_deferred_waits_on_the_agenda_with_its_content",),
    ),
    Step(
        "finish: that an ended job leaves the agenda",
        "it would be dispatched for ever",
        _FINISH,
        "      redis.call('ZREM', lane, id)\n",
        "",
        (f"{_WORKERS}TestFinish::test_what_ended_otherwise_keeps_its_content_for_another_try",),
    ),
    Step(
        "finish: that a sent job is kept under its token",
        "of a result that comes twice, for its reply got lost, it would be said that it is stale",
        _KEEP,
        "{ 'state', 'sent', 'token', job[1] }",
        "{ 'state', 'sent' }",
        (f"{_SENT}test_a_result_that_comes_twice_is_known",),
    ),
    Step(
        "begin: that an expired job leaves the agenda",
        "it would be dispatched for ever, and never begun",
        _BEGIN,
        "  redis.call('ZREM', KEYS[lane], id)\n",
        "",
        (f"{_WORKERS}TestBegin::test_an_expired_job_ends_as_such",),
    ),
    Step(
        "finish: the end of a superseded job that would be tried again",
        "an old email, a password reset say, would arrive after the newer one",
        _FINISH,
        "if due > 0 and job[3] then",
        "if false then",
        (f"{_SUPERSEDE}test_one_that_is_being_sent_is_not_tried_again",),
    ),
    Step(
        "cancel: the look whether a worker has begun",
        "`cancel` would say yes, and the email arrive all the same",
        _CANCEL,
        "if state == 'scheduled' or state == 'queued' or state == 'deferred' then",
        "index.sending = 6\n  if index[state] then",
        (f"{_PRODUCERS}TestCancel::test_a_begun_job_can_not",),
    ),
    Step(
        "revive: the look whether the job has changed since",
        "two people who retry it at once would queue it twice",
        _REVIVE,
        "if job[1] ~= ARGV[2] or recipients ~= ARGV[3] then return 0 end",
        "if not job[1] then return 0 end",
        (f"{_PRODUCERS}TestRevive::test_not_if_it_changed_since_it_was_read",),
    ),
    Step(
        "begin: the count of crashes",
        "an email that kills its worker would kill workers for ever",
        _BEGIN,
        "    crashes = redis.call('HINCRBY', record, 'crashes', 1)\n",
        "",
        (f"{_LOST}test_each_is_counted_until_an_attempt_ends_in_order",),
    ),
    Step(
        "finish: the end of the count of crashes",
        "an email whose workers died for other reasons would fail at the third time in its life",
        _FINISH,
        "if ARGV[at + 9] == '0' then redis.call('HDEL', record, 'crashes')",
        "if ARGV[at + 9] == '0' then",
        (f"{_LOST}test_each_is_counted_until_an_attempt_ends_in_order",),
    ),
    Step(
        "revive: the end of the count of crashes",
        "a person who retries would get one try instead of three",
        _REVIVE,
        "redis.call('HDEL', KEYS[1], 'expires', 'superseded', 'crashes')",
        "redis.call('HDEL', KEYS[1], 'expires', 'superseded')",
        (f"{_LOST}test_a_person_who_retries_sets_their_count_back",),
    ),
    Step(
        "finish: the event of the change",
        "an application would never learn that its email was sent, or failed",
        _FINISH,
        "    event(id, state, ARGV[at + 5])\n",
        "",
        (f"{_EVENTS}test_there_is_an_event_for_each_change_of_a_state",),
    ),
    Step(
        "follow: the look whether events were dropped",
        "an application that was away for too long would miss events and not know it",
        f"{_LUA}follow.lua",
        "if last ~= '0-0' and not event(last) then",
        "if false then",
        (f"{_EVENTS}TestGroups::test_one_that_fell_behind_is_told_once_and_goes_on",),
    ),
    Step(
        "follow: the events that were given and not acknowledged",
        "those that a reader was at when it died would come to nobody",
        f"{_LUA}follow.lua",
        "local late = redis.call('XPENDING', KEYS[1], group, 'IDLE', ARGV[3], '-', '+', most)",
        "local late = {}",
        (f"{_EVENTS}TestGroups::test_what_was_not_acknowledged_is_given_to_another_in_time",),
    ),
    Step(
        "asyncio: the answer to one who gave up",
        "the next one would take it for the answer to another question, such as a result recorded",
        "mailer/store/lines.py",
        "                awaited = self._awaited.popleft()\n",
        "                awaited = next(a for a in self._awaited if not a.done())\n"
        "                self._awaited.remove(awaited)\n",
        (f"{_LINES}test_the_answer_to_one_who_gave_up_is_given_to_nobody_else",),
    ),
    Step(
        "threads: a connection of which an answer is outstanding is closed",
        "the next call would take that answer for its own: an email would pass for recorded",
        "mailer/store/connections.py",
        "        if self._link:\n            self._link.close()\n",
        "        if self._link:\n",
        (f"{_TROUBLES}test_after_a_freeze_every_answer_belongs_to_its_question[Mailer]",),
    ),
    Step(
        "threads: what was half read of a connection that is closed is forgotten",
        "its rest would be taken from the answer to the next call",
        "mailer/store/link.py",
        "        self._reader = Reader(\n",
        "        self._reader = getattr(self, '_reader', None) or Reader(\n",
        (f"{_LINK}TestFaults::test_after_it_was_closed_no_old_reply_is_read",),
    ),
)
