"""Guards between the end of a body and the end of its claim, and before the start of a body that may not be alone."""

from tests.mutants.guard import Guard

GATE, COMEBACK = "penstock/engine/gate.py", "penstock/engine/comeback.py"
OUTCOMES, DOUBT = "penstock/engine/keeping/outcomes.py", "penstock/engine/keeping/doubt.py"
SPOOL = "penstock/engine/keeping/spool.py"
BACKEND = "penstock/ledger/backend.py"
ON_GATE, ON_KEEPING = "tests/engine/test_gate.py", "tests/engine/test_keeping.py"
ON_KILLS = "tests/engine/test_kill_steps.py"

GUARDS = (
    Guard(
        name="repeated-deliveries-ask-first",
        file=GATE,
        text='    return bool(info.get("deliveries") or any(map(headers.get, ("retries", OUTBOX, REPLAY_OF))))\n',
        replacement="    return False\n",
        test=f"{ON_GATE}::test_a_delivery_that_may_not_be_the_only_one_asks_first",
        why="A job that has ended runs again when its message comes again.",
    ),
    Guard(
        name="doubtful-messages-ask-first",
        file=COMEBACK,
        text="        return enqueued < self._changed_ms + CLOCK_SLACK_MS\n",
        replacement="        return False\n",
        test=f"{ON_GATE}::test_what_was_enqueued_before_redis_was_replaced_is_doubtful",
        why="After a failover to a replica that lags behind, jobs that had ended run again.",
    ),
    Guard(
        name="look-who-answers-before-claiming",
        file="penstock/engine/consumer.py",
        text="            self._doubt(last_change(connection.default_channel.scripts))\n",
        replacement="            pass\n",
        test="tests/engine/test_identity.py::"
        "test_a_worker_does_not_run_again_what_a_changed_server_brings_back[processes]",
        why="In the second after a failover, until its keeper has looked, a worker runs jobs that had ended.",
    ),
    Guard(
        name="who-was-told-to-end-waits-no-more",
        file="penstock/engine/child.py",
        text="            self._keep_asked()\n\n    def _keep_asked",
        replacement="            pass\n\n    def _keep_asked",
        test="tests/engine/test_children.py::test_a_delivery_of_a_job_that_has_ended_does_not_keep_its_child_from_others",
        why="A child that is told that a job has ended waits for ever, and claims nothing more.",
    ),
    Guard(
        name="stopped-keepers-are-replaced",
        file="penstock/engine/zygote.py",
        text="            self._replace_stopped_keeper()\n",
        replacement="",
        test="tests/engine/test_children.py::test_a_keeper_that_stands_still_is_replaced_before_its_lease_ends",
        why="A keeper that somebody has stopped lets the lease end, and jobs that run here start elsewhere.",
    ),
    Guard(
        name="interrupted-jobs-are-counted",
        file="penstock/broker/claims.py",
        text='"interrupt" if token in self._interrupted else "return"',
        replacement='"return"',
        test="tests/engine/test_lost_workers.py::"
        "test_a_job_that_ended_with_its_worker_and_was_shown_as_running_ends_at_the_next[processes]",
        why="A job that was running when its worker was told to end at once runs again, and its outcome is refused.",
    ),
    Guard(
        name="refusals-end-no-worker",
        file="penstock/adoption.py",
        text="    app.conf.broker_channel_error_retry = True\n",
        replacement="",
        test="tests/engine/test_connections.py::test_a_redis_that_refuses_to_write_for_a_while_ends_no_worker",
        why="A Redis that is read-only for a moment ends all of its workers.",
    ),
    Guard(
        name="retries-by-the-short-way",
        file="penstock/engine/amqp.py",
        text="        asks_for_more = any(get(name) is not None for name in PRODUCERS_OWN)\n",
        replacement="        asks_for_more = bool(PRODUCERS_OWN & options.keys())\n",
        test="tests/engine/test_amqp.py::test_a_send_that_names_its_queue_goes_our_way",
        why="Each retry is sent at once, and not with the outcome of the attempt that asked for it.",
    ),
    Guard(
        name="only-winners-start",
        file=GATE,
        text="            elif verdict == Verdict.WON:\n",
        replacement="            elif True:\n",
        test=f"{ON_GATE}::test_a_delivery_whose_job_has_ended_or_goes_on_elsewhere_is_done_with",
        why="A job that has ended, or that a newer attempt has, runs all the same.",
    ),
    Guard(
        name="lost-claims-do-not-start",
        file=GATE,
        text=" or not self._claims.holds(held.message.delivery_tag):\n",
        replacement=":\n",
        test=f"{ON_GATE}::test_a_delivery_whose_claim_was_taken_away_meanwhile_does_not_start",
        why="While SQL is slow, a job starts at two workers.",
    ),
    Guard(
        name="running-jobs-that-come-back",
        file=DOUBT,
        text="            if (standing := running.get(record.delivery.id)) and standing.worker in live\n",
        replacement="            if False\n",
        test=f"{ON_KEEPING}::test_a_message_that_came_back_waits_while_its_job_runs_at_a_worker_that_lives",
        why="After a failover to a replica that lags behind, jobs run beside themselves.",
    ),
    Guard(
        name="only-live-workers-hold-comebacks",
        file=DOUBT,
        text=" and standing.worker in live\n",
        replacement="\n",
        test=f"{ON_KEEPING}::test_a_message_that_came_back_waits_while_its_job_runs_at_a_worker_that_lives",
        why="A job whose worker died in the failover waits for ever.",
    ),
    Guard(
        name="commit-before-settle",
        file=OUTCOMES,
        text="        if token is not None and token in self._unwritten:\n",
        replacement="        if False:\n",
        test=f"{ON_KEEPING}::test_a_claim_ends_after_its_outcome_is_written",
        why="An outcome that SQL does not take is lost with its message.",
    ),
    Guard(
        name="publish-before-confirm",
        file=OUTCOMES,
        text="                    self._confirmed.append(entry.number)\n",
        replacement="                    self.ward.tell(confirmed=[entry.number])\n",
        test=f"{ON_KEEPING}::test_what_follows_from_an_outcome_is_published_before_the_worker_may_forget_it",
        why="When a keeper dies after a commit, the next step of a chain waits for a sweep.",
    ),
    Guard(
        name="ended-jobs-are-not-put-back",
        file=OUTCOMES,
        text='    if settlement.verb == "crash" and verdict is not Verdict.WON:\n',
        replacement="    if False:\n",
        test=f"{ON_KEEPING}::test_a_job_that_ended_before_its_process_died_is_not_put_back",
        why="A job whose process dies after its outcome was written runs again.",
    ),
    Guard(
        name="claiming-stops-at-a-bound",
        file=OUTCOMES,
        text="        if is_free if self._is_full else (self._waiting >= FULL or self._weight >= FULL_BYTES):\n",
        replacement="        if False:\n",
        test=f"{ON_KEEPING}::test_the_worker_claims_no_more_while_too_much_waits_for_sql",
        why="While SQL is away a worker takes in jobs until its memory is full.",
    ),
    Guard(
        name="heavy-outcomes-count-as-many",
        file=OUTCOMES,
        text=" or self._weight >= FULL_BYTES):\n",
        replacement="):\n",
        test=f"{ON_KEEPING}::test_the_worker_claims_no_more_while_a_few_heavy_outcomes_wait_for_sql",
        why="While SQL is away a few hundred large results fill a worker's memory.",
    ),
    Guard(
        name="new-keepers-let-workers-claim",
        file=OUTCOMES,
        text="            ward.tell(full=False)  # A keeper that died may have said otherwise.\n",
        replacement="",
        test=f"{ON_KEEPING}::test_the_worker_claims_no_more_while_too_much_waits_for_sql",
        why="A worker whose keeper died while SQL was away never claims again.",
    ),
    Guard(
        name="outcomes-outlive-their-worker",
        file=OUTCOMES,
        text="                if settlement.verb in ACKS:\n",
        replacement="                if False:\n",
        test=f"{ON_KEEPING}::test_outcomes_that_sql_did_not_take_in_time_are_written_by_another_keeper",
        why="Jobs run again when a worker ends while SQL is away.",
    ),
    Guard(
        name="spooled-outbox-rows-stay-known",
        file=SPOOL,
        text="            done.hdel(keys.outbox, *outbox_keys)\n",
        replacement="            pass\n",
        test=f"{ON_KEEPING}::test_outcomes_that_sql_did_not_take_in_time_are_written_by_another_keeper",
        why="The list of messages that Redis has grows for ever.",
    ),
    Guard(
        name="retries-of-ignored-results-are-recorded",
        file=BACKEND,
        text="        sender.backend.record_retry(request, reason, einfo)\n",
        replacement="        pass\n",
        test=f"{ON_KILLS}::test_a_keeper_that_dies_before_the_commit_costs_nothing[with_a_retry]",
        why="The retry of a task that ignores its results is never sent.",
    ),
)
