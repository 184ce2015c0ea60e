"""Guards of children that claim for themselves, and of what they hand over."""

from tests.mutants.guard import Guard

CHILD, ZYGOTE = "penstock/engine/child.py", "penstock/engine/zygote.py"
RING, SLOTS = "penstock/engine/ring.py", "penstock/engine/slots.py"
OPENING, LIMITS = "penstock/engine/running/opening.py", "penstock/engine/running/limits.py"
TRACING = "penstock/engine/running/tracing.py"
PLAIN = "penstock/ledger/recording/plain.py"
ON_CHILDREN, ON_RING, ON_SLOTS = (
    "tests/engine/test_children.py",
    "tests/engine/test_ring.py",
    "tests/engine/test_slots.py",
)
ON_VERDICT = "tests/operations/workers/test_verdict.py"
ON_TRACING = "tests/engine/running/test_tracing.py"
ON_OPENING, ON_LIMITS = "tests/engine/running/test_opening.py", "tests/engine/running/test_limits.py"

ON_ASYNCIO, ON_THREADS = "tests/engine/test_asyncio_children.py", "tests/engine/test_thread_children.py"

GUARDS = (
    Guard(
        name="no-job-is-tried-again-after-a-hard-limit",
        file="penstock/app.py",
        text="            except (TaskPredicate, TimeLimitExceeded):\n",
        replacement="            except TaskPredicate:\n",
        test=f"{ON_ASYNCIO}::test_a_job_is_tried_again_after_a_soft_limit_and_not_after_a_hard_one",
        why="A job that was ended for its hard limit runs again.",
    ),
    Guard(
        name="a-body-that-exits-ends-nobody-else",
        file="penstock/engine/running/threaded.py",
        text="        except (SystemExit, KeyboardInterrupt) as error:\n",
        replacement="        except KeyboardInterrupt as error:\n",
        test=f"{ON_THREADS}::test_retries_failures_and_exits_are_their_own",
        why="A job that calls sys.exit costs all jobs of its child their attempt.",
    ),
    Guard(
        name="jobs-in-a-loop-are-told-apart-by-their-contexts",
        file="penstock/engine/child.py",
        text="        quicken(app, by_context=not self._is_single)\n",
        replacement="        quicken(app)\n",
        test=f"{ON_ASYNCIO}::test_contexts_are_never_mixed_up",
        why="A coroutine finds the request of another job, and no current task of its own.",
    ),
    Guard(
        name="a-limit-of-one-job-among-many-kills-nobody",
        file="penstock/engine/zygote.py",
        text="        if slot.is_single:\n            self._kill(",
        replacement="        if True:\n            self._kill(",
        test=f"{ON_ASYNCIO}::test_a_hard_limit_ends_its_job_and_not_its_child",
        why="One job's time limit costs all jobs of its child their attempt.",
    ),
    Guard(
        name="a-job-begins-last",
        file="penstock/engine/place.py",
        text="            base + _START_AT,\n            0,\n",
        replacement="            base + _START_AT,\n            IN_BODY,\n",
        test=f"{ON_SLOTS}::test_a_child_that_is_killed_while_it_writes_that_a_job_begins_has_not_begun_it",
        why="A new job is shown with the time of the one before: what waits behind it goes back, and runs twice.",
    ),
    Guard(
        name="names-are-written-beside-those-that-hold",
        file=SLOTS,
        text="        writes = self._header(_WRITES) + 1\n",
        replacement="        writes = self._header(_WRITES) + 2\n",
        test=f"{ON_SLOTS}::test_a_keeper_that_is_killed_while_it_writes_its_names_leaves_those_from_before",
        why="No keeper after one that was killed can read under which names claims are held.",
    ),
    Guard(
        name="records-in-the-ring-are-whole",
        file=RING,
        text="            if zlib.crc32(record) != checksum:\n",
        replacement="            if False:\n",
        test=f"{ON_RING}::test_a_record_that_is_not_whole_yet_is_not_read",
        why="A keeper reads an outcome that its child is still writing.",
    ),
    Guard(
        name="hard-limits-end-jobs",
        file=ZYGOTE,
        text="        if hard and now - started >= hard:\n",
        replacement="        if False:\n",
        test=f"{ON_CHILDREN}::test_a_job_beyond_its_hard_limit_fails_once_and_its_child_is_replaced",
        why="A job beyond its hard limit runs for ever.",
    ),
    Guard(
        name="soft-limits-are-for-bodies",
        file=LIMITS,
        text=(
            "    if frame is None or not TRACERS[frame.f_code.co_name, frame.f_code.co_filename](frame.f_locals):\n"
            "        return False\n"
        ),
        replacement="    if frame is None:\n        return False\n",
        test=f"{ON_LIMITS}::test_it_does_not_raise_once_the_body_has_ended",
        why="A time limit costs the outcome of a job that had ended.",
    ),
    Guard(
        name="jobs-are-counted-per-child",
        file=CHILD,
        text="        if plan.max_tasks and self._pool.done >= plan.max_tasks:\n            return True\n",
        replacement="",
        test=f"{ON_CHILDREN}::test_a_child_ends_after_as_many_jobs_as_it_may_run",
        why="A task that leaks fills the memory, whatever --max-tasks-per-child says.",
    ),
    Guard(
        name="redelivered-is-not-plain",
        file=OPENING,
        text="        if duties.is_plain and not claimed.deliveries and _is_plain(headers, payload):\n",
        replacement="        if duties.is_plain and _is_plain(headers, payload):\n",
        test=f"{ON_OPENING}::test_a_message_that_was_delivered_before_goes_celerys_way",
        why="A job that has ended runs again when its message comes again.",
    ),
    Guard(
        name="a-replay-is-not-plain",
        file=OPENING,
        text='OUTBOX, REPLAY_OF, "stamped_headers"',
        replacement='OUTBOX, "stamped_headers"',
        test="tests/engine/test_identity.py::"
        "test_a_replay_that_was_sent_twice_because_nobody_had_noted_it_runs_once[prefork]",
        why="Whoever repeats a replay that was cut off has jobs that run twice.",
    ),
    Guard(
        name="odd-texts-are-no-lines",
        file=PLAIN,
        text=' or "\\\\" in together',
        replacement="",
        test="tests/ledger/recording/test_plain.py::test_many_at_once_are_the_rows_that_they_are_one_by_one[postgresql]",
        why="A backslash in a name shifts the columns of a whole batch.",
    ),
    Guard(
        name="who-is-to-end-runs-no-last-claim",
        file=CHILD,
        text='            if claimed and not self._slot.get("orders"):\n',
        replacement="            if claimed:\n",
        test=f"{ON_CHILDREN}::test_what_an_idle_child_claims_when_its_worker_is_about_to_end_goes_back",
        why="A job starts after its worker was told to end.",
    ),
    Guard(
        name="starts-of-the-dying-are-taken-back",
        file="penstock/engine/keeping/outcomes.py",
        text="        return self._started.pop(token, None) or self._asked.pop(token, None)\n",
        replacement="        return self._started.pop(token, None)\n",
        test=f"{ON_CHILDREN}::test_a_start_that_was_asked_for_by_a_child_that_died_meanwhile_is_taken_back",
        why="A retry whose child died before it heard the ledger's word counts as two attempts.",
    ),
    Guard(
        name="a-failed-copy-leaves-nothing",
        file="penstock/ledger/recording/postgresql.py",
        text='            return False\n        driver.execute("RELEASE SAVEPOINT straight")\n',
        replacement='            return True\n        driver.execute("RELEASE SAVEPOINT straight")\n',
        test="tests/ledger/recording/test_plain.py::test_a_batch_that_meets_one_job_again_costs_none_of_the_others",
        why="One job that has a row costs the outcomes of a thousand others.",
    ),
    Guard(
        name="what-a-rate-limit-puts-off-has-not-begun",
        file="penstock/engine/keeping/outcomes.py",
        text='UNBEGUN = ("return", "park")\n',
        replacement='UNBEGUN = ("return",)\n',
        test=f"{ON_CHILDREN}::test_a_delivery_that_a_rate_limit_puts_off_has_not_begun",
        why="A retry of a task with a rate limit counts an attempt each time that it is put off.",
    ),
    Guard(
        name="only-ones-own-start-is-taken-back",
        file="penstock/ledger/recording/fence.py",
        text="        return Judgement(Verdict.WON if is_own_attempt(found, record) else Verdict.STALE)\n",
        replacement="        return Judgement(Verdict.WON)\n",
        test="tests/ledger/recording/test_fence.py::test_nobody_takes_back_what_another_attempt_or_an_end_has",
        why="A claim that was taken away puts back a job that runs elsewhere.",
    ),
    Guard(
        name="successes-are-logged-by-somebody",
        file=TRACING,
        text="    if logs_success and trace.logger.isEnabledFor(logging.INFO):\n",
        replacement="    if False:\n",
        test=f"{ON_TRACING}::test_whoever_has_to_log_successes_is_celerys",
        why="With a logging set-up of one's own the line `succeeded` is never written.",
    ),
    Guard(
        name="the-dead-are-ordered-by-the-servers-clock",
        file="penstock/engine/keeping/children.py",
        text='each.time("claimed_ms")',
        replacement='each.time("claimed_at")',
        test=f"{ON_CHILDREN}::test_jobs_of_children_that_died_together_stand_as_they_were_claimed",
        why="Jobs of a killed worker change places.",
    ),
    Guard(
        name="given-back-is-no-attempt",
        file="penstock/engine/keeping/outcomes.py",
        text="        if started is not None and settlement.verb in UNBEGUN:\n",
        replacement="        if False:\n",
        test=f"{ON_CHILDREN}::test_what_had_asked_the_ledger_and_is_given_back_has_not_begun",
        why="A retry that waited behind a long job and ran elsewhere counts as two attempts, and as running meanwhile.",
    ),
    Guard(
        name="signals-reach-their-receivers",
        file=TRACING,
        text="        if prerun or postrun or success or any(map(request.get, MORE)):\n",
        replacement="        if any(map(request.get, MORE)):\n",
        test=f"{ON_TRACING}::test_whoever_listens_to_a_signal_hears_it_from_then_on",
        why="OpenTelemetry, and whoever else listens to a task's signals, hears nothing.",
    ),
    Guard(
        name="what-follows-is-celerys",
        file=TRACING,
        text="        if prerun or postrun or success or any(map(request.get, MORE)):\n",
        replacement="        if prerun or postrun or success:\n",
        test=f"{ON_TRACING}::test_what_has_something_follow_is_celerys",
        why="A chain stops after its first step.",
    ),
    Guard(
        name="methods-of-tasks-are-called",
        file=TRACING,
        text="        and not any(trace.task_has_custom(task, name) for name in HOOKS)\n",
        replacement="",
        test=f"{ON_TRACING}::test_a_task_whose_class_has_a_hook_is_celerys",
        why="`after_return` and the like of an application's base class are not called.",
    ),
    Guard(
        name="tracers-of-others-are-used",
        file=TRACING,
        text="        trace.build_tracer is _BUILD\n        and ",
        replacement="        ",
        test=f"{ON_TRACING}::test_a_tracer_of_somebody_elses_is_used",
        why="Sentry sees no task.",
    ),
    Guard(
        name="stopped-queues-are-remembered",
        file="penstock/engine/remote.py",
        text="(*getattr(consumer, STOPPED, ()), *queues)",
        replacement="(*queues,)",
        test="tests/cli/test_workers.py::test_a_worker_that_was_told_twice_to_stop_claiming_still_knows_from_what[sqlite]",
        why="Whoever presses the button twice has a worker that never claims again.",
    ),
    Guard(
        name="jobs-that-have-just-come-are-no-reason",
        file="penstock/operations/workers/verdict.py",
        text="(status.oldest_seconds is None or status.oldest_seconds > STALLED_SECONDS)",
        replacement="True",
        test=f"{ON_VERDICT}::test_a_worker_that_has_no_reason_to_claim_is_well[they have just come]",
        why="An idle worker is called stuck in the moment in which a job comes.",
    ),
    Guard(
        name="buffer-to-the-keeper-is-locked-while-sent",
        file="penstock/engine/link.py",
        text="        with self._lock:\n            if self._socket is None or not self._is_owner:\n",
        replacement="        if True:\n            if self._socket is None or not self._is_owner:\n",
        test="tests/engine/test_threads.py::test_jobs_that_end_in_several_threads_at_once_are_all_recorded_and_settled",
        why="What a thread of Celery's pool tells while the loop sends is kept for the next keeper: its job hangs.",
    ),
)
