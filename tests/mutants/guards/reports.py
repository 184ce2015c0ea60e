"""Guards of what jobs say of themselves: bounded, harmless, and never in the way of outcomes."""

from tests.mutants.guard import Guard

ATTEMPT, ON_ATTEMPT = "penstock/engine/reporting/attempt.py", "tests/engine/running/test_reporting.py"
KEEPING, ON_KEEPING = "penstock/engine/keeping/reports.py", "tests/engine/test_keeping_reports.py"
LEDGER, ON_LEDGER = "penstock/ledger/reports.py", "tests/ledger/test_reports.py"
ON_WORKERS = "tests/engine/test_reports.py"

GUARDS = (
    Guard(
        name="said-is-taken-before-ended",
        file="penstock/engine/keeper.py",
        text="        self._read_reports()\n        self._take_unread()\n",
        replacement="        self._take_unread()\n",
        test="tests/engine/test_keeper_turns.py::test_what_a_body_has_said_is_taken_before_the_word_of_its_end",
        why="Whoever reads the log of a job that has just ended finds nothing of it, in Celery's own pools.",
    ),
    Guard(
        name="a-forked-process-does-not-speak-for-its-job",
        file="penstock/engine/reporting/reporter.py",
        text="        collection.report = _Silent()\n",
        replacement="        pass\n",
        test=f"{ON_WORKERS}::test_a_process_that_a_body_has_forked_says_nothing[single]",
        why="What a process logs that a body has forked overwrites the job's log, and two write into one ring.",
    ),
    Guard(
        name="behind-schedule-warnings-come-first",
        file=ATTEMPT,
        text="        return not (self._channel.is_full or (self._channel.is_behind and level < logging.WARNING))\n",
        replacement="        return not self._channel.is_full\n",
        test=f"{ON_ATTEMPT}::test_behind_schedule_only_warnings_are_kept_and_all_are_counted",
        why="While SQL is away, chatter takes the room of warnings and errors.",
    ),
    Guard(
        name="a-process-holds-so-much",
        file=ATTEMPT,
        text="        return not (self._channel.is_full or (self._channel.is_behind and level < logging.WARNING))\n",
        replacement="        return not (self._channel.is_behind and level < logging.WARNING)\n",
        test=f"{ON_ATTEMPT}::test_a_process_holds_so_much_and_no_more",
        why="While SQL is away, logs take all memory of the children.",
    ),
    Guard(
        name="an-endless-log-is-cut-where-it-is-made",
        file=ATTEMPT,
        text="            if self._chunk - TAIL >= HEAD:\n",
        replacement="            if False:\n",
        test=f"{ON_ATTEMPT}::test_of_many_lines_the_first_chunks_and_the_last_ones_wait",
        why="A body that logs without end has its process grow while the keeper is busy.",
    ),
    Guard(
        name="outcomes-do-not-wait-for-a-log-twice",
        file=KEEPING,
        text="                self._impatient_until = time.monotonic() + IMPATIENT_SECONDS\n",
        replacement="                pass\n",
        test=f"{ON_KEEPING}::test_outcomes_wait_a_moment_for_a_log_that_takes_long_and_then_not_at_all[sqlite]",
        why="A lock on the table of logs slows down every outcome of the worker.",
    ),
    Guard(
        name="secrets-do-not-get-into-the-log",
        file=KEEPING,
        text="plain(self._redaction.text(line[4]))",
        replacement="plain(line[4])",
        test=f"{ON_KEEPING}::test_what_was_taken_is_written_when_outcomes_have_caught_up[sqlite]",
        why="A password that a body logs is in the ledger, its backups and its replicas.",
    ),
    Guard(
        name="what-is-put-back-does-not-overwrite-what-is-newer",
        file=KEEPING,
        text="            for each in (*batch, *newer.values()):\n",
        replacement="            for each in (*newer.values(), *batch):\n",
        test=f"{ON_KEEPING}::test_what_could_not_be_written_lies_under_what_has_come_meanwhile",
        why="After an outage of SQL a job shows the progress that it had at its beginning.",
    ),
    Guard(
        name="the-end-of-a-log-lies-in-places-used-in-turn",
        file=LEDGER,
        text="    return chunk if chunk < HEAD else HEAD + (chunk - HEAD) % TAIL\n",
        replacement="    return chunk\n",
        test=f"{ON_LEDGER}::test_the_last_chunks_take_the_places_of_those_before_them[sqlite]",
        why="A job that logs for days fills the ledger.",
    ),
    Guard(
        name="what-jobs-have-said-goes-with-them",
        file="penstock/ledger/retention.py",
        text="        for said in SAID:\n",
        replacement="        for said in ():\n",
        test="tests/ledger/test_retention.py::"
        "test_what_jobs_have_said_goes_with_them_in_batches_before_their_rows[sqlite]",
        why="Logs of jobs that retention has deleted stay for ever, or keep their jobs.",
    ),
    Guard(
        name="a-log-does-not-operate-a-terminal",
        file="penstock/cli/job_log.py",
        text="printable(line.text)",
        replacement="line.text",
        test="tests/cli/test_jobs_watch.py::test_a_terminal_shows_a_bar_and_obeys_no_text_of_the_job[sqlite]",
        why="A text that a job was given and logs clears the operator's screen, or worse.",
    ),
    Guard(
        name="progress-that-makes-no-sense-changes-nothing",
        file="penstock/task.py",
        text="        if problem := problem_of(*told):\n",
        replacement="        if (problem := problem_of(*told)) and False:\n",
        test="tests/test_progress.py::test_a_report_that_makes_no_sense_is_a_warning_and_reaches_nobody[nan-None-None]",
        why="NaN or a text gets into the ledger's numbers, and whoever reads the job fails.",
    ),
    Guard(
        name="progress-of-an-attempt-that-has-said-so",
        file=LEDGER,
        text="others.c.done.is_not(None)",
        replacement="True",
        test=f"{ON_LEDGER}::test_the_progress_stands_when_a_later_attempt_only_logs[sqlite]",
        why="How far a job is gets lost as soon as its next attempt logs a line.",
    ),
)
