"""What a worker's process does about leases, journals, commitments and crashes."""

from sabotage.step import Step

_LEASES = "tests/unit/workers/test_leases.py::"
_JOURNAL = "tests/unit/workers/test_journal.py::"
_COURIER = "tests/integration/test_courier.py::"
_DELIVERY = "tests/integration/test_one_delivery.py::"
_QUARANTINE = "tests/unit/workers/test_quarantine.py::"
_SETTLEMENT = "tests/unit/workers/test_settlement.py::"
_SLOW = "test_a_job_that_was_lost_while_its_server_was_slow_is_cut_off"
_ONCE = "tests/integration/test_at_most_once.py::"
_ORDERS = "tests/unit/workers/test_orders.py::"
_STEPS = "tests/unit/workers/test_orders_steps.py::"
_LOST = "tests/unit/workers/test_orders_lost.py::"
_AMID = "asyncio-before its turn-warm-amid-by chunks"
_CONCERNS_ONE = "test_a_refusal_concerns_one_message_and_the_session_is_good_for_more"
_BEHIND_421 = "test_what_comes_behind_a_421_goes_at_once_over_another_connection"
_FORGETS = "test_a_server_that_forgets_what_stands_behind_a_message_is_found_out"
_HANGS = "test_a_message_that_hangs_does_not_hold_up_what_waits_in_line"
_BREAKS_OFF = "test_where_a_connection_is_lost_only_what_may_have_arrived_is_in_doubt"
_PLAINER = "test_a_server_that_does_not_know_a_parameter_of_mail_gets_plainer_forms"
_QUESTION = "test_a_server_that_does_not_take_the_question_well_gets_nothing_behind_a_dot"
_TURNS = "asyncio-by turns"

STEPS = (
    Step(
        "worker: the service that renews leases",
        "every transaction that is longer than a lease would be taken over, and sent twice",
        "workers/desk.py",
        "            self.leases.keep_renewing(),\n",
        "",
        (f"{_COURIER}test_a_lease_is_renewed_while_its_transaction_goes_on",),
    ),
    Step(
        "worker: that a lease which is gone is let go",
        "the worker would send a job although it was told that another one has it",
        "workers/leases.py",
        "                self._held.pop(lease, None)\n            elif",
        "                pass\n            elif",
        (f"{_LEASES}test_a_lease_that_is_gone_is_dropped",),
    ),
    Step(
        "worker: that a lease counts from before it was asked for",
        "after a slow answer the worker would trust a lease that is over",
        "workers/leases.py",
        "                self._held[lease] = asked_at + self.seconds",
        "                self._held[lease] = steady() + self.seconds",
        (f"{_LEASES}test_a_lease_counts_from_before_the_renewal_was_asked_for",),
    ),
    Step(
        "worker: the look at the clock before a lease is trusted",
        "a process that was frozen would send what others have sent meanwhile",
        "workers/leases.py",
        "return self._held.get(lease, 0.0) > steady()",
        "return lease in self._held",
        (
            f"{_LEASES}test_a_lease_is_held_from_the_moment_it_was_asked_for",
            f"{_DELIVERY}test_after_a_long_stop_of_the_process_a_job_is_left_alone_and_let_go",
        ),
    ),
    Step(
        "worker: the look at the lease before and while it sends",
        "a job that was lost while it waited for its turn would be sent twice",
        "workers/sending.py",
        "        if not self.leases.holds(job.lease):\n            raise LeaseLost\n",
        "        pass\n",
        (
            f"{_DELIVERY}test_a_job_that_was_lost_while_it_waited_for_its_turn_is_not_sent",
            f"{_DELIVERY}test_after_a_long_stop_of_the_process_a_job_is_left_alone_and_let_go",
        ),
    ),
    Step(
        "worker: the look at the lease right before the final dot",
        "a job that was lost while its server was slow would be sent twice",
        "workers/smtp/by_data.py",
        "        look()\n        # from here on",
        "        # from here on",
        (f"{_DELIVERY}{_SLOW}[pipelining]", f"{_DELIVERY}{_SLOW}[plain]"),
    ),
    Step(
        "worker: the look at the lease right before the last chunk",
        "the same, with a server that knows CHUNKING",
        "workers/smtp/by_chunks.py",
        "            look()\n            last =",
        "            last =",
        (f"{_DELIVERY}{_SLOW}[chunking]",),
    ),
    Step(
        "worker: that a job which it leaves alone is let go",
        "its lease would be renewed for ever, and nobody would deliver it",
        "workers/delivery.py",
        "            self.sender.leases.drop([job.lease])\n",
        "",
        (f"{_DELIVERY}test_after_a_long_stop_of_the_process_a_job_is_left_alone_and_let_go",),
    ),
    Step(
        "at most once: the commitment before the final dot",
        "when a worker dies at the dot, its successor would send a second copy",
        "workers/sending.py",
        "        return partial(self.commits.commit, parcel.job, made)",
        "        return None",
        (f"{_DELIVERY}test_at_most_once_is_noted_before_the_message_is_complete[at-most-once]",),
    ),
    Step(
        "at most once: that the end of a message waits for the commitment",
        "it would be complete before anybody knew that it may be, and be sent twice",
        "workers/smtp/by_data.py",
        "            await before_final()\n",
        "            pass\n",
        (f"{_DELIVERY}test_at_most_once_is_noted_before_the_message_is_complete[at-most-once]",),
    ),
    Step(
        "at most once: that nothing is completed without a yes",
        "a worker that lost its job would complete its message, as its successor does",
        "workers/commits.py",
        "        if not await noted:\n            raise LeaseLost\n",
        "        await noted\n",
        (
            f"{_DELIVERY}test_at_most_once_a_message_is_cut_off_where_another_worker_has_the_job",
            f"{_ONCE}TestCommits::test_many_at_once_are_answered_each_for_its_own",
        ),
    ),
    Step(
        "at most once: the doubt after a fault of ours behind the dot",
        "the message would be sent a second time",
        "workers/delivery.py",
        "committed = made.recipients if made else ()",
        "committed = ()",
        (
            f"{_DELIVERY}test_a_fault_of_ours_behind_the_dot_leaves_doubt_at_most_once[at-most-once]",
        ),
    ),
    Step(
        "journal: that results are kept while Redis is away",
        "what was sent would be sent again, for nobody knew of it",
        "workers/journal.py",
        "                await asyncio.sleep(wait)\n",
        "                return [Recorded.STALE] * len(group)\n",
        (
            f"{_JOURNAL}test_while_redis_is_away_results_are_kept_and_written_in_the_end",
            f"{_COURIER}test_a_worker_stops_once_its_results_are_on_record",
        ),
    ),
    Step(
        "journal: that it is not empty before all was written",
        "a worker that stops would not wait for the results of its last transactions",
        "workers/journal.py",
        "        self._empty.clear()\n",
        "",
        (
            f"{_JOURNAL}test_it_is_empty_once_all_was_written_and_no_sooner",
            f"{_COURIER}test_a_worker_stops_once_its_results_are_on_record",
        ),
    ),
    Step(
        "stop: that the worker waits for its journal",
        "what it sent last would be sent again, once the lease is over",
        "workers/courier.py",
        "                await self._journal.emptied()\n",
        "                pass\n",
        (f"{_COURIER}test_a_worker_stops_once_its_results_are_on_record",),
    ),
    Step(
        "stop: that what waits is handed back",
        "it would wait until its lease is over",
        "workers/courier.py",
        "        self._deliverer.withdraw()\n",
        "",
        (f"{_COURIER}test_at_a_stop_what_waits_is_handed_back_and_what_is_under_way_is_sent",),
    ),
    Step(
        "stop: that what waits behind a message on its session is handed back",
        "likewise",
        "workers/smtp/orders.py",
        "            self._put_back(run.not_begun())\n        while",
        "            pass\n        while",
        (f"{_COURIER}test_at_a_stop_what_waits_behind_a_message_on_its_session_is_handed_back",),
    ),
    Step(
        "stop: that the dispatcher keeps nothing that it claimed",
        "jobs that were claimed and not published would wait for the dispatch timeout",
        "workers/courier.py",
        "                await self._dispatcher.cease()\n",
        "                pass\n",
        (f"{_COURIER}test_at_a_stop_the_dispatcher_keeps_nothing_that_it_claimed",),
    ),
    Step(
        "stop: that a batch which comes is put back",
        "its jobs would wait until the dispatch timeout is over",
        "workers/courier.py",
        "            await desk.runner.run(desk.agenda.undispatch(ids))\n            return\n",
        "            return\n",
        (f"{_COURIER}test_a_batch_that_comes_during_a_stop_is_due_again_at_once",),
    ),
    Step(
        "crashes: the end of a job that had too many",
        "an email that makes its process crash would be tried for ever",
        "workers/outcomes/settlement.py",
        "last, once = crashes >= MOST_CRASHES,",
        "last, once = False,",
        (
            f"{_SETTLEMENT}test_a_crash_is_counted_and_one_too_many_ends_the_job[last-]",
            f"{_QUARANTINE}test_who_may_have_the_message_of_a_process_that_died_is_in_doubt",
        ),
    ),
    Step(
        "run: the RSET between its messages",
        "a message could go out with the sender and the recipients of one that was refused",
        "workers/smtp/by_chunks.py",
        "[RSET] if channel.awaits_answers else []",
        "[]",
        (f"{_ORDERS}{_CONCERNS_ONE}[asyncio-rcpt-550 5.1.1 nobody-refused-amid-by chunks]",),
    ),
    Step(
        "run: what a 421 to one message says of those behind it",
        "they would be in doubt, and reported so, although the server never came to them",
        "workers/smtp/by_chunks.py",
        "if mail is None and channel.said_goodbye:",
        "if False:",
        (f"{_LOST}{_BEHIND_421}[asyncio-mail-amid-by chunks]",),
    ),
    Step(
        "run: the look whether a server reads on behind a message",
        "all but the first message of each run would be lost on it, and in doubt after ten minutes",
        "workers/smtp/by_chunks.py",
        "        self._offers.takes_runs = any_positive(replies)\n",
        "        self._offers.takes_runs = True\n        return\n",
        (f"{_ORDERS}{_FORGETS}[asyncio-BDAT]",),
    ),
    Step(
        "line: the look at the lease before each message",
        "a job that was lost while it waited in line would be sent twice",
        "workers/smtp/orders.py",
        "                order.look()\n",
        "                pass\n",
        (f"{_STEPS}test_a_message_that_must_not_be_sent_any_more_is_not[{_AMID}]",),
    ),
    Step(
        "line: that each message learns when its turn has come",
        "what was taken with one that found the relay at fault would go to it all the same",
        "workers/smtp/orders.py",
        "if order is not self._first and not _begins(order):",
        "if False:",
        (f"{_STEPS}test_a_message_that_ends_at_its_turn_is_not_sent[asyncio-amid-by turns]",),
    ),
    Step(
        "line: that what a session did not come to waits again",
        "it would be lost, as long as this worker lives: its lease is renewed",
        "workers/smtp/orders.py",
        "self._put_back([*run.again, *run.not_begun()])",
        "self._put_back(run.again)",
        (f"{_LOST}{_BREAKS_OFF}[asyncio-close-mail-amid-by turns]",),
    ),
    Step(
        "line: that a message leaves in the form that it was built for",
        "an 8-bit body would go to a server as if it were ASCII",
        "workers/smtp/orders.py",
        "session.extensions is self._extensions and",
        "True and",
        (f"{_ORDERS}{_PLAINER}[{_TURNS}]",),
    ),
    Step(
        "line: the look whether a server reads on behind a final dot",
        "the commands of the next message would be lost, and it would wait for five minutes",
        "workers/smtp/by_data.py",
        "        self._offers.reads_on = any_positive(replies)\n",
        "        self._offers.reads_on = True\n",
        (f"{_ORDERS}{_QUESTION}[asyncio]",),
    ),
    Step(
        "line: that nothing follows a message with several replies",
        "by LMTP the reply to the next one would be taken for a recipient's that is missing",
        "workers/smtp/by_data.py",
        "if wanted > 1:",
        "if False:",
        (f"{_ORDERS}test_by_lmtp_nothing_follows_a_message_for_several_recipients[asyncio-2]",),
    ),
    Step(
        "late answers: that sessions without an answer do not count as used",
        "one message without an answer on each of them would hold up all that wait in line",
        "workers/smtp/pool.py",
        " + self._kept_waiting",
        "",
        (f"{_LOST}{_HANGS}[asyncio-1-by turns]",),
    ),
    Step(
        "late answers: that others get what waits behind",
        "it would wait with the one that is not answered, for ten minutes",
        "workers/smtp/session.py",
        "if self._following is None:",
        "if True:",
        (f"{_LOST}test_what_was_built_behind_a_message_that_hangs_is_sent_by_others[{_TURNS}]",),
    ),
    Step(
        "quarantine: which jobs belong there",
        "the third crash would be one of a whole worker, with all that it sends",
        "workers/quarantine.py",
        "return job.crashes >= MOST_CRASHES - 1",
        "return False",
        (
            f"{_QUARANTINE}test_who_would_fail_at_the_next_crash_is_alone_with_it[2-True]",
            f"{_COURIER}test_an_email_that_was_lost_twice_is_delivered_alone[2-True]",
        ),
    ),
    Step(
        "quarantine: who may have the message of a process that died",
        "they would count as refused, although they perhaps got it",
        "workers/quarantine.py",
        "                    committed = recipients\n",
        "                    pass\n",
        (f"{_QUARANTINE}test_who_may_have_the_message_of_a_process_that_died_is_in_doubt",),
    ),
    Step(
        "settlement: that only open recipients are sent to",
        "who was accepted at the first attempt would get a copy at every later one",
        "workers/outcomes/settlement.py",
        "left = [recipient for recipient in recipients if recipient.state in _OPEN]",
        "left = list(recipients)",
        (f"{_SETTLEMENT}test_those_open_are_the_pending_and_the_deferred",),
    ),
)
