"""Guards of the scheduler: each planned time is decided on once, by the rules, whoever is up and whatever is slow."""

from tests.mutants.guard import Guard

SCHEDULER = "penstock/scheduler"
FIRING, FOLLOWING, PLANNING = f"{SCHEDULER}/firing.py", f"{SCHEDULER}/following.py", f"{SCHEDULER}/planning.py"
DECLARATIONS, CHANGES, FORESIGHT = (f"{SCHEDULER}/{each}.py" for each in ("declarations", "changes", "foresight"))
SCHEDULE, FOREIGN, TURNING = (f"{SCHEDULER}/{each}.py" for each in ("schedule", "timetables/foreign", "turning"))
SCHEDULES, FIRES, MANY = "penstock/ledger/schedules.py", "penstock/ledger/fires.py", "penstock/ledger/many.py"
ON = "tests/scheduler"
ON_FIRING, ON_FOLLOWING, ON_PLANNING = (f"{ON}/test_{each}.py" for each in ("firing", "following", "planning"))
ON_DECLARATIONS, ON_CHANGES, ON_TURNING = (f"{ON}/test_{each}.py" for each in ("declarations", "changes", "turning"))
ON_SCHEDULE, ON_FORESIGHT = (f"{ON}/test_{each}.py" for each in ("schedule", "foresight"))
ON_FOREIGN = f"{ON}/timetables/test_foreign.py"
ON_SCHEDULES, ON_FIRES = "tests/ledger/test_schedules.py", "tests/ledger/test_fires.py"
TAKEN = "[ScheduleRow(**row._mapping) for row in connection.execute(rows.with_for_update(skip_locked=True))]\n"

GUARDS = (
    # -- any number of schedulers ---------------------------------------------------------------------------------
    Guard(
        name="schedules-of-another-scheduler-are-passed-over",
        file=SCHEDULES,
        text=f"order_by(schedules.c.due_at).limit(limit)\n    return {TAKEN}\n\ndef next_due",
        replacement="order_by(schedules.c.due_at).limit(limit)\n"
        "    return [ScheduleRow(**row._mapping) for row in connection.execute(rows)]\n\n\ndef next_due",
        test=f"{ON_SCHEDULES}::test_what_one_has_taken_is_passed_over_by_the_others",
        why="Two schedulers decide on a schedule at once, and both wait for one key.",
    ),
    Guard(
        name="followers-pass-over-schedules-that-somebody-has",
        file=SCHEDULES,
        text=f"order_by(schedules.c.name)\n    return {TAKEN}",
        replacement="order_by(schedules.c.name)\n"
        "    return [ScheduleRow(**row._mapping) for row in connection.execute(rows)]\n",
        test=f"{ON_SCHEDULES}::test_one_that_is_locked_is_waited_for_or_left_out",
        why="What waits starts beside a job that somebody starts at that moment.",
    ),
    Guard(
        name="fires-have-a-key",
        file=MANY,
        text="    given = statement.on_conflict_do_nothing().returning(*keys)\n",
        replacement="    given = statement.returning(*keys)\n",
        test=f"{ON_FIRING}::test_the_key_of_a_fire_decides_when_two_have_read_the_same_schedule[sqlite]",
        why="A schedule of which one time has been decided on fires never again.",
        red="IntegrityError",
    ),
    Guard(
        name="only-our-fires-get-a-job",
        file=FIRING,
        text="        if (each.row.name, planned_at) in ours\n",
        replacement="",
        test=f"{ON_FIRING}::test_a_time_that_has_a_fire_gets_no_second_job[sqlite]",
        why="A planned time that two have decided on starts two jobs.",
    ),
    Guard(
        name="schedules-move-on-with-their-fires",
        file=FIRING,
        text="    schedules.move_on(connection, [each.progress() for each in decided])\n",
        replacement="    connection.commit()\n"
        "    schedules.move_on(connection, [each.progress() for each in decided])\n",
        test=f"{ON_FIRING}::test_without_a_commit_nothing_has_happened[sqlite]",
        why="A scheduler that dies leaves jobs behind whose schedule does not know of them.",
    ),
    Guard(
        name="stopped-schedulers-keep-no-locks",
        file=TURNING,
        text="                    self._connection.exec_driver_sql(limit)\n",
        replacement="                    del limit\n",
        test=f"{ON_TURNING}::test_whoever_stops_in_the_middle_of_a_transaction_does_not_keep_its_locks",
        why="A scheduler whose host hangs keeps its schedules from all others.",
    ),
    Guard(
        name="what-is-waited-for-is-decided-on-once",
        file=FIRES,
        text="    waits = update(fires).where(*key, fires.c.state == FireState.WAITING.value)\n",
        replacement="    waits = update(fires).where(*key)\n",
        test=f"{ON_FIRES}::test_what_waits_is_decided_on_once[sqlite]",
        why="A fire that waited starts two jobs when two schedulers see that it may.",
    ),
    Guard(
        name="ends-are-noted-once",
        file=FIRES,
        text="    these = and_(fires.c.is_followed, tuple_(",
        replacement="    these = and_(tuple_(",
        test=f"{ON_FIRES}::test_an_end_is_noted_once[sqlite]",
        why="One failure counts for each scheduler, and pauses a schedule that had failed once.",
    ),
    # -- the rules --------------------------------------------------------------------------------------------------
    Guard(
        name="a-minute-is-not-late",
        file=PLANNING,
        text='    if late <= GRACE or schedule.catch_up == "all":\n',
        replacement='    if schedule.catch_up == "all":\n',
        test=f"{ON_PLANNING}::test_the_first_minute_is_not_late[none]",
        why="What fires a second late, as all do, was missed.",
    ),
    Guard(
        name="the-latest-is-one",
        file=PLANNING,
        text='    return None if is_last else f"{by}, and a newer one was due"\n',
        replacement="    return None\n",
        test=f"{ON_PLANNING}::test_of_late_ones_the_latest_starts",
        why="After a night without schedulers all fires of the night start.",
    ),
    Guard(
        name="jitter-is-nobodys-own",
        file=SCHEDULE,
        text="int.from_bytes(digest) / 2**64",
        replacement="(hash(digest) % 2**64) / 2**64",
        test=f"{ON_SCHEDULE}::test_jitter_is_the_same_for_every_scheduler_and_every_release",
        why="Each scheduler has a moment of its own for a planned time, and the earliest of them counts.",
    ),
    Guard(
        name="jitter-is-of-the-instant",
        file=SCHEDULE,
        text="{planned.astimezone(UTC).isoformat()}",
        replacement="{planned.isoformat()}",
        test=f"{ON_SCHEDULE}::test_jitter_is_of_the_instant_in_whatever_zone_it_comes",
        why="What is shown as the moment of the next fire is not when it comes.",
    ),
    Guard(
        name="broken-calls-are-on-the-books",
        file=FIRING,
        text="    except Exception as error:  # What is wrong with one call",
        replacement="    except ZeroDivisionError as error:  # What is wrong with one call",
        test=f"{ON_FIRING}::test_a_call_that_is_broken_ends_as_missed_and_the_others_fire[sqlite]",
        why="A schedule whose task has lost a parameter stands still, and nobody sees why.",
    ),
    Guard(
        name="one-timetable-that-fails-is-one",
        file=FIRING,
        text="            except Exception as error:  # One timetable",
        replacement="            except ZeroDivisionError as error:  # One timetable",
        test=f"{ON_FIRING}::test_a_timetable_that_fails_keeps_no_other_from_its_time[sqlite]",
        why="One timetable with a mistake stops all schedules.",
        red="RuntimeError",
    ),
    Guard(
        name="what-cannot-be-read-is-left-out",
        file=SCHEDULES,
        text="    if left_out := list(refused):\n",
        replacement="    if left_out := list[str]():\n",
        test=f"{ON_FIRING}::test_it_is_not_read_again_and_again[sqlite]",
        why="One definition of a newer release keeps a scheduler busy, and its log full.",
    ),
    # -- overlap --------------------------------------------------------------------------------------------------
    Guard(
        name="jobs-with-rules-are-followed",
        file=FIRING,
        text='    return schedule.overlap != "allow" or schedule.pause_after_failures is not None\n',
        replacement="    return schedule.pause_after_failures is not None\n",
        test=f"{ON_FIRING}::test_a_job_that_has_not_ended_holds_up_the_next_fire[sqlite-skip-skipped-runs]",
        why="Jobs of a schedule that may not overlap do.",
    ),
    Guard(
        name="a-job-that-waits-is-open",
        file=FIRES,
        text="    return or_(waits, runs)\n",
        replacement="    return runs\n",
        test=f"{ON_FIRES}::test_a_job_is_open_from_its_message_on_until_its_end[sqlite]",
        why="While all workers are busy, each fire adds a job to the queue.",
    ),
    Guard(
        name="newer-fires-leave-backfills-alone",
        file=FIRING,
        text="        fires.skip_waiting(connection, dropping, NEWER, now, Origin.PLANNED)\n",
        replacement="        fires.skip_waiting(connection, dropping, NEWER, now)\n",
        test=f"{ON_FIRING}::test_it_does_not_take_the_place_of_one_that_is_made_up_for[sqlite]",
        why="A fire that comes in the middle of a backfill ends it.",
    ),
    Guard(
        name="what-waits-looks-again-before-it-starts",
        file=FOLLOWING,
        text="                if row.name not in still_busy:\n",
        replacement="                if True:\n",
        test=f"{ON_FOLLOWING}::test_a_job_that_has_started_meanwhile_is_noticed_at_the_last_moment[sqlite]",
        why="What waits starts beside a job that has started since somebody looked.",
    ),
    Guard(
        name="what-has-waited-is-followed",
        file=FOLLOWING,
        text="        return replace(fired, is_followed=True), [message]\n",
        replacement="        return fired, [message]\n",
        test=f"{ON_FOLLOWING}::test_what_starts_is_followed_whatever_its_schedule_says_by_now[sqlite]",
        why="Of a backfill all jobs start within seconds, and not one after the other.",
    ),
    Guard(
        name="a-broker-that-is-away-delays-no-schedule",
        file=FOLLOWING,
        text="            self._cancelling.start()\n",
        replacement="            self._cancel(jobs)\n",
        test=f"{ON_FOLLOWING}::test_a_broker_that_is_away_keeps_nobody_waiting[sqlite]",
        why="While Redis is away, every schedule waits for one that wants to cancel a job.",
    ),
    # -- failures and pauses --------------------------------------------------------------------------------------
    Guard(
        name="a-success-ends-a-row-of-failures",
        file=FOLLOWING,
        text="                failures = 0\n",
        replacement="                pass\n",
        test=f"{ON_FOLLOWING}::test_failures_in_a_row_are_counted[sqlite-outcomes1-0]",
        why="A schedule that fails now and then pauses itself some day.",
    ),
    Guard(
        name="a-pause-keeps-its-note",
        file=FOLLOWING,
        text="        if error and row.paused_at is None and self._is_too_much(row, failures):\n",
        replacement="        if error and self._is_too_much(row, failures):\n",
        test=f"{ON_FOLLOWING}::test_a_pause_by_somebody_else_keeps_its_note[sqlite]",
        why="Whoever has paused a schedule finds a note there that is not theirs.",
    ),
    Guard(
        name="a-pause-counts-to-its-end",
        file=CHANGES,
        text="            settle(connection, self._app, known.row, known.schedule, now)\n",
        replacement="",
        test=f"{ON_CHANGES}::test_what_was_planned_in_a_pause_stays_skipped_though_nobody_was_up[sqlite]",
        why="What was planned in a pause starts when it ends, if no scheduler was up.",
    ),
    # -- declarations and changes -----------------------------------------------------------------------------------
    Guard(
        name="declarations-leave-others-alone",
        file=SCHEDULES,
        text="    these = or_(schedules.c.declared_by == application, among(",
        replacement="    these = or_(schedules.c.name != application, among(",
        test=f"{ON_DECLARATIONS}::test_what_was_added_by_hand_is_left_alone[sqlite]",
        why="The start of a beat takes away what people have added.",
    ),
    Guard(
        name="what-was-due-ends-as-it-was",
        file=DECLARATIONS,
        text="        settle(connection, app, row, old, now)\n",
        replacement="",
        test=f"{ON_DECLARATIONS}::test_what_was_due_before_ends_by_the_old_definition[sqlite]",
        why="What was due when a timetable was changed never fires, and nobody knows of it.",
    ),
    Guard(
        name="a-change-is-another-version",
        file=DECLARATIONS,
        text='        "version": row.version + 1,\n',
        replacement='        "version": row.version,\n',
        test=f"{ON_DECLARATIONS}::test_a_change_that_moves_no_time_leaves_the_next_one_where_it_is[sqlite]",
        why="Schedulers that are up go on with the old definition for ever.",
    ),
    Guard(
        name="what-nobody-publishes-is-not-published",
        file=DECLARATIONS,
        text="        write(connection, [decide(app, found, schedule, standing, now)], now, outbox.put)\n",
        replacement="        write(connection, [decide(app, found, schedule, standing, now)], now)\n",
        test=f"{ON_DECLARATIONS}::test_its_messages_are_left_to_the_relay[sqlite]",
        why="Jobs of what was due at a change wait until somebody looks for lost messages.",
    ),
    Guard(
        name="two-triggers-are-two-jobs",
        file=CHANGES,
        text="            while not fires.insert(connection, [fire]):\n",
        replacement="            if not fires.insert(connection, [fire]):\n",
        test=f"{ON_CHANGES}::test_two_triggers_at_one_moment_are_two_fires[sqlite]",
        why="A job runs of which no fire tells.",
    ),
    Guard(
        name="backfills-leave-what-is-still-to-come",
        file=CHANGES,
        text=" or (planned_at is not None and planned >= planned_at)",
        replacement="",
        test=f"{ON_CHANGES}::test_what_is_still_to_be_decided_on_is_left_to_the_schedulers[sqlite]",
        why="A backfill decides on times whose rules nobody has asked.",
    ),
    # -- timetables of somebody else's ------------------------------------------------------------------------------
    Guard(
        name="foreign-times-are-known-before-anything-is-decided",
        file=FIRING,
        text="[row for row in rows if self._foresight.knows(row, now)]",
        replacement="rows",
        test=f"{ON_FORESIGHT}::test_one_that_somebody_else_has_moved_to_a_time_that_is_not_known_waits[sqlite]",
        why="A schedule that another scheduler has moved on is refused for a minute.",
    ),
    Guard(
        name="foreign-times-are-those-of-the-ledger",
        file=FORESIGHT,
        text="            if row is None or not _is_ours(row, asked.schedule):\n",
        replacement="            if row is None or row.kind != Foreign.kind:\n",
        test=f"{ON_FORESIGHT}::test_a_timetable_that_another_release_has_declared_is_left_to_it[sqlite]",
        why="While two releases are up, a schedule fires by a timetable that nobody has declared.",
    ),
    Guard(
        name="foreign-steps-are-of-time-that-passes",
        file=FOREIGN,
        text="        last, now = instant.astimezone(zone), instant.astimezone(UTC)\n",
        replacement="        last, now = instant.astimezone(zone), instant.astimezone(zone)\n",
        test=f"{ON_FOREIGN}::test_hours_that_an_object_names_are_hours_when_clocks_are_shifted[10]",
        why="In the night in which clocks are put back, a fire comes an hour late.",
    ),
    # -- what it costs ----------------------------------------------------------------------------------------------
    Guard(
        name="nothing-to-do-is-nothing-to-hurry-for",
        file=TURNING,
        text="        if due_at is None:\n            return POLL_SECONDS\n",
        replacement="        if due_at is None:\n            return 0.0\n",
        test=f"{ON_TURNING}::test_a_ledger_without_schedules_keeps_nobody_busy[sqlite]",
        why="A scheduler without schedules takes a whole processor.",
    ),
    Guard(
        name="what-is-followed-is-found-by-its-index",
        file="penstock/ledger/migrations/versions/0005_schedules.py",
        text='        sqlite_where=sa.text("is_followed = 1"),\n',
        replacement='        sqlite_where=sa.text("is_followed"),\n',
        test=f"{ON_FIRES}::test_questions_of_every_turn_read_no_fires_that_are_over[sqlite]",
        why="On SQLite every look reads all fires that there ever were, with everybody else waiting.",
    ),
    Guard(
        name="fires-that-somebody-waits-for-stay",
        file="penstock/ledger/retention.py",
        text="and_(fires.c.decided_at < before, settled)",
        replacement="fires.c.decided_at < before",
        test="tests/ledger/test_retention.py::test_a_fire_that_waits_or_whose_job_is_waited_for_stays[sqlite]",
        why="A fire that waits for a job of months is gone before it starts.",
    ),
)
