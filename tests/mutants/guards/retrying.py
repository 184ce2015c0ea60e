"""Guards of starting again: what counts as an attempt, what a body has decided, and until when a job may start."""

from tests.mutants.guard import Guard

RETRYING, FOLLOWING, DECIDING = "penstock/retrying.py", "penstock/engine/following.py", "penstock/engine/deciding.py"
APP, BACKEND, EXPIRY = "penstock/app.py", "penstock/ledger/backend.py", "penstock/expiry.py"
ON_RETRYING, ON_DECIDING = "tests/test_retrying.py", "tests/engine/test_deciding.py"
ON_ATTEMPTS = "tests/ledger/recording/test_attempts.py"
CELERYS = f"{ON_DECIDING}::test_a_task_of_celerys_decides_as_well[asyncio]"

GUARDS = (
    Guard(
        name="decision-is-not-retried",
        file=APP,
        text="                if (decision := decision_in(error)) is not None:\n",
        replacement="                if (decision := error if error is None else None) is not None:\n",
        test=f"{ON_DECIDING}::test_a_job_that_is_discarded_fails_for_good[asyncio-async]",
        why="What a body decides within a task group is tried again like an error.",
    ),
    Guard(
        name="autoretry-leaves-decisions",
        file=FOLLOWING,
        text='        if isinstance(given.arguments.get("exc"), Decision):\n',
        replacement="        if False:\n",
        test=CELERYS,
        why="autoretry_for=(Exception,) takes a snooze for an error.",
    ),
    Guard(
        name="snooze-is-no-try-of-celerys",
        file=FOLLOWING,
        text="        if not snoozes or most is None:\n",
        replacement="        if True:\n",
        test=CELERYS,
        why="A job of Celery's that has snoozed often fails at its first error.",
    ),
    Guard(
        name="limit-of-a-snooze-is-its-own",
        file=DECIDING,
        text="        with keeping_limit(task):\n",
        replacement="        if True:\n",
        test=CELERYS,
        why="A snooze raises the limit of all later jobs of its task.",
    ),
    Guard(
        name="snooze-is-no-attempt",
        file=RETRYING,
        text="        attempt = retries - snoozes + 1\n",
        replacement="        attempt = retries + 1\n",
        test=f"{ON_DECIDING}::test_a_snooze_costs_no_attempt[asyncio-def]",
        why="A job that has snoozed fails before its attempts are used.",
    ),
    Guard(
        name="snoozes-are-no-more-than-retries",
        file=RETRYING,
        text="type(told) is int and 0 <= told <= retries else 0",
        replacement="type(told) is int else 0",
        test=f"{ON_RETRYING}::test_what_a_message_says_of_its_past_grants_no_endless_attempts",
        why="A message that claims a million snoozes is tried a million times.",
    ),
    Guard(
        name="counts-of-rules-are-no-more-than-attempts",
        file=RETRYING,
        text="    return sum(told.values()) <= most\n",
        replacement="    return True\n",
        test=f"{ON_RETRYING}::test_what_a_message_says_of_its_past_grants_no_endless_attempts",
        why="A message that claims attempts under some rule gets as many more under all others.",
    ),
    Guard(
        name="backoff-of-an-application-may-fail",
        file=RETRYING,
        text='    except Exception:\n        logger.warning("backoff',
        replacement='    except ZeroDivisionError:\n        logger.warning("backoff',
        test=f"{ON_RETRYING}::test_a_function_that_says_no_pause_is_logged_and_costs_nothing[failing]",
        why="A mistake in a backoff takes the place of the job's own error, and nothing is tried again.",
        red="KeyError",
    ),
    Guard(
        name="no-error-asks-beyond-the-cap",
        file=RETRYING,
        text="            return min(asked, self.cap)\n",
        replacement="            return asked\n",
        test=f"{ON_RETRYING}::test_no_error_has_a_job_wait_beyond_the_cap",
        why="A server that says Retry-After: 99999999 parks a job for years.",
    ),
    Guard(
        name="deadline-is-kept",
        file=APP,
        text="                if again is None or self._is_too_late(again):\n",
        replacement="                if again is None:\n",
        test=f"{ON_DECIDING}::test_no_attempt_starts_after_the_deadline[asyncio-ours-0.5]",
        why="A job is tried again after the time at which its outcome was wanted.",
    ),
    Guard(
        name="deadline-counts-from-the-first-start",
        file=APP,
        text="            headers[FIRST_DUE] = first_due\n",
        replacement="            pass\n",
        test=f"{ON_DECIDING}::test_no_attempt_starts_after_the_deadline[asyncio-stock-0]",
        why="The clock of a stock producer's job starts anew with each attempt, and never ends.",
    ),
    Guard(
        name="reason-comes-from-no-header",
        file=BACKEND,
        text="    return reason if isinstance(reason, Reason) else None\n",
        replacement="    return reason\n",
        test=f"{ON_DECIDING}::test_a_header_does_not_say_why_a_job_has_failed[asyncio]",
        why="A header that anyone may write costs a job its outcome.",
    ),
    Guard(
        name="unsent-snooze-is-no-end",
        file=DECIDING,
        text="Reject(refused.reason, requeue=True)",
        replacement="Reject(refused.reason, requeue=False)",
        test="tests/engine/test_deciding_without_ledger.py::"
        "test_a_snooze_that_the_broker_does_not_take_goes_back_to_its_queue",
        why="Without a ledger a job that snoozes while Redis is away is lost.",
    ),
    Guard(
        name="old-snoozes-are-forgotten",
        file="penstock/ledger/recording/attempts.py",
        text="        _forget_snoozes(connection, rows)\n",
        replacement="",
        test=f"{ON_ATTEMPTS}::test_a_job_that_snoozes_for_months_keeps_its_newest_attempts[sqlite]",
        why="A job that looks every minute fills the ledger with attempts.",
    ),
    Guard(
        name="retries-are-counted-beyond-a-small-column",
        file="penstock/ledger/delivery.py",
        text="0 <= value <= MAX_INTEGER else 0",
        replacement="0 <= value <= MAX_SMALL_INTEGER else 0",
        test=f"{ON_ATTEMPTS}::test_a_job_that_has_snoozed_more_often_than_a_small_column_counts_goes_on[sqlite]",
        why="After 32,767 snoozes the fence takes a job for its own first attempt, and it never starts again.",
    ),
    Guard(
        name="discarded-is-dealt-with",
        file="penstock/ledger/recording/failures.py",
        text="    if record.outcome is not None and record.outcome.reason is Reason.DISCARDED:\n",
        replacement="    if False:\n",
        test="tests/ledger/test_failure_hours.py::test_a_job_that_its_body_has_discarded_is_nobodys_failure[sqlite]",
        why="Failures that nobody has to look at hide those that somebody has to.",
    ),
    Guard(
        name="retry-waits-anew",
        file=EXPIRY,
        text="    final = headers.get(FINAL_EXPIRES) if goes_on else options",
        replacement="    final = options",
        test="tests/test_expiry.py::test_a_retry_of_a_job_that_expires_for_good_expires_then",
        why="A retry expires when the attempt before might have, before it is due.",
    ),
    Guard(
        name="replay-has-no-past",
        file="penstock/operations/failures/letters.py",
        text="        headers.pop(name, None)\n",
        replacement="        pass\n",
        test="tests/cli/test_failures.py::test_a_replay_starts_with_nothing_behind_it",
        why="A job that is replayed finds its deadline over.",
    ),
)
