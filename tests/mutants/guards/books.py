"""Guards of what is read from the books, what is counted in them, and what leaves them."""

from tests.mutants.guard import Guard

SEARCH, ON_SEARCH = "penstock/ledger/search.py", "tests/ledger/test_search.py"
RETENTION, ON_RETENTION = "penstock/ledger/retention.py", "tests/ledger/test_retention.py"
FAILURES, ON_FAILURES = "penstock/ledger/recording/failures.py", "tests/ledger/test_failure_hours.py"
FAILED, ON_FAILED = "penstock/ledger/failed.py", "tests/ledger/test_failed.py"
PRINTS, ON_PRINTS = "penstock/ledger/failure.py", "tests/ledger/test_failure.py"

GUARDS = (
    Guard(
        name="retention-of-ended-jobs-only",
        file=RETENTION,
        text="    states = sorted(FINAL)\n",
        replacement="    states = sorted(State)\n",
        test=f"{ON_RETENTION}::test_what_has_not_ended_stays_whatever_the_rules_say[sqlite]",
        why="A rule for a task deletes its jobs that still wait or run.",
    ),
    Guard(
        name="retention-waits-for-chords",
        file=RETENTION,
        text=", ~awaited, ~sent)",
        replacement=", ~sent)",
        test=f"{ON_RETENTION}::test_jobs_of_a_chord_stay_until_its_body_has_been_on_its_way_for_long_enough[sqlite]",
        why="A result that the body of a chord is to get has gone before the last part has ended.",
    ),
    Guard(
        name="retention-waits-for-the-outbox",
        file=RETENTION,
        text=", ~awaited, ~sent)",
        replacement=", ~awaited)",
        test=f"{ON_RETENTION}::test_a_job_stays_while_the_outbox_has_a_message_of_it[sqlite]",
        why="The message of a job whose row has gone is put back into Redis and runs again.",
    ),
    Guard(
        name="retention-waits-for-nobody",
        file=RETENTION,
        text=".limit(limit).with_for_update(skip_locked=True, of=table)",
        replacement=".limit(limit)",
        test=f"{ON_RETENTION}::test_a_sweep_waits_for_nobody",
        why="A sweep waits for rows that are being recorded, and those who record wait for the sweep.",
        red="LedgerUnavailable",
    ),
    Guard(
        name="retention-by-task-and-state",
        file=RETENTION,
        text="        if age is not None and oldest < now - age:\n",
        replacement="        if age is not None:\n",
        test=f"{ON_RETENTION}::test_nothing_to_delete_costs_a_few_looks_at_indexes[sqlite]",
        why="Each sweep has a statement for every task of the ledger.",
    ),
    Guard(
        name="short-transactions-of-retention",
        file=RETENTION,
        text=".limit(limit).with_for_update(skip_locked=True, of=table)",
        replacement=".with_for_update(skip_locked=True, of=table)",
        test=f"{ON_RETENTION}::test_the_parts_of_a_chord_count_as_rows_of_a_batch[sqlite]",
        why="A chord of a hundred thousand parts is deleted in one transaction, and everybody waits for it.",
    ),
    Guard(
        name="each-job-on-one-page",
        file=SEARCH,
        text="_place(row) < _bound(after)",
        replacement="_place(row) <= _bound(after)",
        test=f"{ON_SEARCH}::test_jobs_that_change_at_the_same_time_are_on_one_page_each[sqlite]",
        why="Each page begins with the last job of the page before.",
    ),
    Guard(
        name="list-that-was-cut-says-so",
        file=SEARCH,
        text="    return Page(found, frontier, is_cut_short=frontier is not None)\n",
        replacement="    return Page(found, None)\n",
        test=f"{ON_SEARCH}::test_what_no_index_knows_is_looked_for_so_far_and_the_page_says_so[sqlite]",
        why="Whoever looks for an error is told that there is none, though nobody has looked.",
    ),
    Guard(
        name="count-that-was-cut-says-so",
        file=SEARCH,
        text="if frontier or count > COUNTED)",
        replacement="if count > COUNTED)",
        test=f"{ON_SEARCH}::test_counts_of_what_was_not_looked_at_to_the_end_are_at_least[sqlite]",
        why="A number that is too small is shown as all there are.",
    ),
    Guard(
        name="counts-in-the-order-of-an-index",
        file=SEARCH,
        text="        return _sorted(_rows(_KEYS, range_, window))\n",
        replacement="        return _rows(_KEYS, range_, window)\n",
        test=f"{ON_SEARCH}::test_no_list_and_no_count_reads_or_sorts_the_whole_table",
        why="Counting a frequent state reads the table from its beginning.",
    ),
    Guard(
        name="short-beginning-of-an-id",
        file=SEARCH,
        text=".scalar_one() > LOOKED_AT:\n",
        replacement=".scalar_one() > 10**9:\n",
        test=f"{ON_SEARCH}::test_a_beginning_that_too_many_ids_have_is_refused[sqlite]",
        why="One digit of an id reads and sorts a sixteenth of all jobs.",
        red="Failed",
    ),
    Guard(
        name="failure-counted-once",
        file=FAILURES,
        text=" or judgement.is_repeated or ",
        replacement=" or ",
        test=f"{ON_FAILURES}::test_an_end_that_is_told_again_is_counted_once[sqlite]",
        why="A lost answer of SQL counts a batch of failures twice.",
    ),
    Guard(
        name="values-split-no-error",
        file=PRINTS,
        text="_VALUES.sub(VALUE, ",
        replacement="(str)(",
        test=f"{ON_PRINTS}::test_the_same_error_with_other_values_is_one_group",
        why="Errors that differ in a list of values are as many groups as there are lengths.",
    ),
    Guard(
        name="failed-job-is-judged-after-its-lock",
        file=FAILED,
        text="    connection.execute(select(jobs.c.id).where(those).order_by(jobs.c.id).with_for_update()).all()\n",
        replacement="",
        test=f"{ON_FAILED}::test_whoever_waits_for_one_that_is_being_retried_does_not_discard_it",
        why="A job that is just being retried is discarded as well, and two who replay an error run each job twice.",
    ),
    Guard(
        name="retried-job-is-not-open",
        file=FAILED,
        text=", _retry(row).is_(None))\n",
        replacement=")\n",
        test=f"{ON_FAILED}::test_a_job_that_was_retried_is_not_open[sqlite]",
        why="Each replay of an error runs all that the ones before have run already.",
    ),
    Guard(
        name="dead-letter-is-not-retried-as-well",
        file=FAILED,
        text=", _letter(row).is_(None), ",
        replacement=", ",
        test=f"{ON_FAILED}::test_a_job_whose_message_is_a_dead_letter_is_not_open[sqlite]",
        why="A buried job runs twice: from its message, and from its row.",
    ),
)
