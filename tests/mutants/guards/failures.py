"""Guards of what is found out about failures and done about them."""

from tests.mutants.guard import Guard

FAILED, ON_FAILED = "penstock/operations/failures/failed.py", "tests/operations/failures/test_failed.py"
ON_SEARCH = "tests/operations/failures/test_search.py"
ON_SELECTED = "tests/cli/test_failures_selected.py"
PAGE, ON_PAGE = "penstock/flower/pages/failure.py", "tests/flower/live/test_failures.py"

GUARDS = (
    Guard(
        name="discards-noted-for-open-jobs-only",
        file=FAILED,
        text="        for id in still:\n",
        replacement="        for id in ids:\n",
        test=f"{ON_FAILED}::test_what_is_given_up_already_or_did_not_fail_is_left_alone[sqlite]",
        why="The audit says that somebody has given up a job that somebody else had given up, or that went well.",
    ),
    Guard(
        name="open-jobs-counted-with-a-bound",
        file=FAILED,
        text="        is_enough = count > COUNTED or (looked_at is not None and looked >= looked_at)\n",
        replacement="        is_enough = count > COUNTED\n",
        test=f"{ON_FAILED}::test_whoever_looks_at_a_part_is_told_that_there_may_be_more[sqlite]",
        why="The page of an error walks through all its jobs, of which there may be a million.",
    ),
    Guard(
        name="trends-of-a-month",
        file="penstock/operations/failures/search.py",
        text="    since = max(min(chosen.since, until - WINDOW), until - MOST_SHOWN)\n",
        replacement="    since = min(chosen.since, until - WINDOW)\n",
        test=f"{ON_SEARCH}::test_a_time_that_begins_long_ago_is_counted_as_a_whole_and_drawn_for_a_month[sqlite]",
        why="Whoever asks since the year 1 has Flower draw seventeen million bars.",
    ),
    Guard(
        name="trends-by-the-time-that-has-passed",
        file="penstock/operations/failures/trends.py",
        text="(late / max((until - border) / HOUR, 1))",
        replacement="(late / ((hour_of(until) - border) / HOUR + 1))",
        test="tests/operations/failures/test_trends.py::test_an_hour_that_has_just_begun_makes_no_error_fall",
        why="An error seems to fall at the beginning of each hour.",
    ),
    Guard(
        name="no-value-without-a-name-is-dropped",
        file="penstock/operations/jobs/edits.py",
        text="    if len(positional) > len(parameters):\n",
        replacement="    if False:\n",
        test=f"{ON_SELECTED}::test_what_stands_before_a_value_without_a_name_cannot_be_left_out[sqlite---yes]",
        why="Who leaves an argument out of many calls loses others of them as well, and nobody is told.",
    ),
    Guard(
        name="speeds-have-bounds",
        file="penstock/operations/failures/pace.py",
        text="    if not SLOWEST <= rate <= FASTEST:\n",
        replacement="    if not rate > 0:\n",
        test="tests/operations/failures/test_pace.py::test_what_is_no_rate_is_refused_with_the_way_to_write_one[0.01/h]",
        why="A speed that no clock can count ends in a traceback.",
        red="Failed",
    ),
    Guard(
        name="secrets-by-position-in-kept-messages",
        file=PAGE,
        text='            return self.application.masking.call(message.task, {"args": args, "kwargs": kwargs})\n',
        replacement='            return {"args": args, "kwargs": kwargs}\n',
        test=f"{ON_PAGE}::test_arguments_by_position_are_hidden_by_the_names_of_the_tasks_parameters",
        why="Everybody who looks on reads the password that a kept message gives by position.",
    ),
    Guard(
        name="secrets-in-repeated-arguments",
        file=PAGE,
        text=" if name not in REPEATED_HEADERS}",
        replacement="}",
        test=f"{ON_PAGE}::test_arguments_by_position_are_hidden_by_the_names_of_the_tasks_parameters",
        why="The same password stands in the message's headers once more, as text.",
    ),
    Guard(
        name="bytes-that-nobody-can-redact",
        file="penstock/flower/templates/penstock/failure_entry.html",
        text='  {% if may("replay") %}<pre',
        replacement="  {% if True %}<pre",
        test=f"{ON_PAGE}::test_whoever_looks_on_sees_no_button_and_may_do_nothing",
        why="What cannot be opened may hold secrets that cannot be told, and everybody who looks on reads them.",
    ),
)
