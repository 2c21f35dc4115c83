"""Leases and tokens: who may deliver a job, and whose word counts."""

from sabotage.step import Step

_LUA = "mailer/store/lua/"
_BEGIN, _FINISH, _RENEW = f"{_LUA}begin.lua", f"{_LUA}finish.lua", f"{_LUA}renew.lua"
_COMMIT, _PIN = f"{_LUA}commit.lua", f"{_LUA}pin.lua"
_WORKERS = "tests/integration/test_store_workers.py::"
_ONCE = "tests/integration/test_at_most_once.py::"
_BEGUN = f"{_WORKERS}TestBegin::"
_TAKEOVER = f"{_ONCE}TestTakeover::"
_LOST = f"{_WORKERS}TestLostAttempts::"
_SUPERSEDE = "tests/integration/test_store_supersede.py::"

STEPS = (
    Step(
        "begin: the look whether the job is due",
        "a batch that comes twice, or late, would send a deferred job before its time",
        _BEGIN,
        "or state == 'deferred') and due <= now",
        "or state == 'deferred')",
        (
            f"{_BEGUN}test_a_job_that_is_not_due_is_passed_over",
            f"{_WORKERS}TestFinish::test_what_is_deferred_waits_on_the_agenda_with_its_content",
        ),
    ),
    Step(
        "begin: the look whether the lease of a job that is being sent is over",
        "a batch that comes twice would have two workers send the same job at the same time",
        _BEGIN,
        "state == 'sending' and tonumber(job[3]) <= now",
        "state == 'sending'",
        (
            f"{_BEGUN}test_a_leased_job_is_passed_over",
            f"{_BEGUN}test_of_eight_workers_that_get_the_same_batch_one_begins_each_job",
        ),
    ),
    Step(
        "begin: the growth of the token",
        "a worker that was frozen beyond its lease would overwrite what its successor recorded",
        _BEGIN,
        "local token = tonumber(job[14] or 0) + 1",
        "local token = 1",
        (
            f"{_WORKERS}TestFinish::test_a_stale_token_changes_nothing",
            f"{_WORKERS}TestRenew::test_what_is_no_longer_ours_is_named",
        ),
    ),
    Step(
        "begin: the growth of the token where a lost job ends as expired or superseded",
        "a worker that comes back too late would be told that its result is on record",
        _BEGIN,
        "    redis.call('HINCRBY', record, 'token', 1)\n"
        "    finish(record, id, lane, state, 'unconfirmed', tries)",
        "    finish(record, id, lane, state, 'unconfirmed', tries)",
        (f"{_LOST}test_one_that_has_expired_ends_in_doubt_and_its_worker_is_told",),
    ),
    Step(
        "begin: the growth of the token where a lost job ends for nobody is left",
        "a worker that was to send at most once, and comes back too late, would be told the same",
        _BEGIN,
        "    redis.call('HINCRBY', record, 'token', 1)\n"
        "    finish(record, id, lane, state, end_without(people), tries)",
        "    finish(record, id, lane, state, end_without(people), tries)",
        (f"{_TAKEOVER}test_a_worker_that_comes_back_after_its_job_ended_in_doubt_is_told",),
    ),
    Step(
        "begin: the end of the lease on the agenda",
        "it would come up in the midst of its sending, or long after its worker died",
        _BEGIN,
        "    redis.call('ZADD', KEYS[lane], lease, id)\n",
        "",
        (f"{_BEGUN}test_a_due_job_is_leased_with_all_that_is_needed",),
    ),
    Step(
        "begin: the record of the attempt that was lost",
        "nobody could see that a second copy was perhaps sent, and why",
        _BEGIN,
        "  redis.call('HSET', record, 'attempts', attempts)\n",
        "",
        (f"{_BEGUN}test_a_lost_lease_is_taken_over_and_the_lost_attempt_is_on_record",),
    ),
    Step(
        "begin: the doubt about those to whom a lost worker was committed",
        "an email that must be sent at most once would be sent twice",
        _BEGIN,
        "if lost and (over or committed) then",
        "if lost and over then",
        (f"{_TAKEOVER}test_what_may_have_been_completed_is_not_begun_again",),
    ),
    Step(
        "begin: the end of a lost job that was superseded or has expired",
        "it would be sent, perhaps for the second time, although nobody wants it any more",
        _BEGIN,
        "elseif lost and over then",
        "elseif false then",
        (f"{_TAKEOVER}test_those_who_were_not_in_it_are_not_in_doubt_when_it_has_expired",),
    ),
    Step(
        "begin: the removal of the commitment of the attempt before",
        "a second loss would be put on record as one at the final dot",
        _BEGIN,
        "    if committed then redis.call('HDEL', record, 'committed') end\n",
        "",
        (f"{_TAKEOVER}test_those_who_were_not_in_the_message_are_sent_to",),
    ),
    Step(
        "finish: the look at the token",
        "a worker that lost its lease would overwrite what its successor recorded",
        _FINISH,
        "if job[1] ~= ARGV[at + 2] then",
        "if not job[1] then",
        (f"{_WORKERS}TestFinish::test_a_stale_token_changes_nothing",),
    ),
    Step(
        "finish: the look whether the result is on record already",
        "a result that was written twice, for the first reply got lost, would count twice",
        _FINISH,
        "elseif job[8] ~= 'sending' then",
        "elseif false then",
        (f"{_WORKERS}TestFinish::test_the_same_result_twice_is_recorded_once",),
    ),
    Step(
        "finish: the answer 1 to a result that is on record already",
        "after a reply that got lost, logs would tell of a lost lease, and Flower of nothing",
        _FINISH,
        "    reply[#reply + 1] = 1\n",
        "    reply[#reply + 1] = 0\n",
        (f"{_WORKERS}TestFinish::test_the_same_result_twice_is_recorded_once",),
    ),
    Step(
        "renew: the look at the token",
        "a worker that lost its lease would prolong its successor's, and go on sending",
        _RENEW,
        "job[1] == 'sending' and job[2] == token",
        "job[1] == 'sending'",
        (f"{_WORKERS}TestRenew::test_what_is_no_longer_ours_is_named",),
    ),
    Step(
        "renew: the look at the state",
        "a job that has ended would be put back on the agenda",
        _RENEW,
        "job[1] == 'sending' and job[2] == token",
        "job[2] == token",
        (f"{_WORKERS}TestRenew::test_what_is_no_longer_ours_is_named",),
    ),
    Step(
        "renew: the new end of the lease on the record",
        "a long transaction would be taken over in its midst, and the email sent twice",
        _RENEW,
        "    redis.call('HSET', KEYS[i], 'lease', lease)\n",
        "",
        (f"{_WORKERS}TestRenew::test_a_renewed_lease_is_not_taken_over",),
    ),
    Step(
        "commit: the look at the token",
        "a worker that lost its job would complete its message, as its successor does",
        _COMMIT,
        "job[2] == ARGV[2 * i - 1] and ",
        "",
        (f"{_ONCE}TestCommit::test_a_stale_token_may_not",),
    ),
    Step(
        "commit: the look whether the lease is over",
        "a message might be completed while another worker begins the same job",
        _COMMIT,
        " and tonumber(job[3]) > now",
        "",
        (f"{_ONCE}TestCommit::test_nor_may_one_whose_lease_is_over",),
    ),
    Step(
        "commit: the look at the state",
        "one job that has ended would make the whole call fail, and cut all its messages off",
        _COMMIT,
        "job[1] == 'sending' and ",
        "",
        (f"{_ONCE}TestCommit::test_nor_may_one_that_has_reported_already",),
    ),
    Step(
        "pin: the look at the token",
        "a worker that lost its lease would change the message under its successor",
        _PIN,
        "job[1] ~= 'sending' or job[2] ~= ARGV[1]",
        "job[1] ~= 'sending'",
        ("tests/integration/test_fetches.py::test_who_lost_the_lease_pins_nothing",),
    ),
)
