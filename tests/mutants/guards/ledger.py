"""Guards of the books: the state machine, the fence between attempts, and what must not cost a row."""

from tests.mutants.guard import Guard

QUERIES, SESSION = "penstock/ledger/queries.py", "penstock/ledger/session.py"
RECORDER, BACKEND = "penstock/ledger/recorder.py", "penstock/ledger/backend.py"
ON_QUERIES, ON_BACKEND = "tests/ledger/test_queries.py", "tests/ledger/test_backend.py"
LETTERS = "penstock/ledger/letters.py"
ON_LETTERS = "tests/ledger/test_letters.py"
ON_RECORDER, ON_SCHEMA = "tests/ledger/recording/test_recorder.py", "tests/ledger/test_schema.py"

GUARDS = (
    Guard(
        name="over-long-text-is-cut",
        file="penstock/ledger/rows.py",
        text="    return plain(value)[:ID_LENGTH]\n",
        replacement="    return plain(value)\n",
        test="tests/ledger/recording/test_fence.py::"
        "test_text_that_is_too_long_or_that_no_database_stores_costs_no_row[sqlite]",
        why="PostgreSQL refuses the row of a job whose name or worker is too long, and the outcome is lost.",
    ),
    Guard(
        name="times-have-a-zone",
        file="penstock/ledger/tables.py",
        text="        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)\n",
        replacement="        return value\n",
        test=f"{ON_QUERIES}::test_times_come_back_aware_and_in_utc[sqlite]",
        why="Times of SQLite come back without a zone and are compared with those of another.",
    ),
    Guard(
        name="no-nan-in-the-ledger",
        file=SESSION,
        text="dumps(value, allow_nan=False)",
        replacement="dumps(value)",
        test=f"{ON_RECORDER}::test_arguments_that_are_not_json_are_kept_as_text[sqlite]",
        why="PostgreSQL refuses a row with NaN, and the start or the outcome is lost.",
    ),
    Guard(
        name="newer-ledger-is-recognised",
        file="penstock/ledger/schema.py",
        text="    if found and found not in _known_revisions():\n",
        replacement="    if False:\n",
        test=f"{ON_SCHEMA}::test_a_ledger_of_a_newer_version_is_not_told_to_upgrade[sqlite]",
        why="An old worker tells the operator to upgrade a ledger that is newer than itself.",
    ),
    Guard(
        name="file-that-is-no-database",
        file=SESSION,
        text="    return type(error) is exc.DatabaseError or ",
        replacement="    return ",
        test=f"{ON_SCHEMA}::test_a_file_that_is_no_database_gives_one_clear_error",
        why="A damaged file ends workers with a driver's traceback, and their outcomes are not kept.",
        red="DatabaseError",
    ),
    Guard(
        name="outcome-outlives-a-time-limit",
        file=RECORDER,
        text="            except SoftTimeLimitExceeded:\n",
        replacement="            except ZeroDivisionError:\n",
        test=f"{ON_RECORDER}::test_a_time_limit_that_is_meant_for_the_body_does_not_cost_the_outcome",
        why="A time limit that hits while an outcome is written loses that outcome.",
        red="SoftTimeLimitExceeded",
    ),
    Guard(
        name="outcome-waits-for-sql",
        file=RECORDER,
        text="            except (LedgerUnavailable, LedgerOutdated) as error:\n",
        replacement="            except LedgerUnavailable as error:\n",
        test=f"{ON_RECORDER}::test_an_outcome_waits_for_a_ledger_that_has_no_tables_yet",
        why="An outcome that comes while the ledger is being made is lost.",
    ),
    Guard(
        name="connections-end-before-a-fork",
        file=SESSION,
        text="os.register_at_fork(before=close_all, after_in_child=_forget_engines)\n",
        replacement="",
        test=f"{ON_BACKEND}::test_a_producer_that_forks_shares_no_ledger_connection_with_its_child[sqlite]",
        why="Parent and child talk to SQL through one socket and read each other's answers.",
    ),
    Guard(
        name="ended-job-does-not-run",
        file="penstock/app.py",
        text="        if getattr(self.request, VERDICT, Verdict.WON) is not Verdict.WON:\n",
        replacement="        if False:\n",
        test="tests/ledger/test_without_keeper.py::test_a_job_that_has_ended_does_not_run[sqlite]",
        why="A job that was cancelled, or has succeeded already, runs.",
    ),
    Guard(
        name="strange-exception-keeps-its-row",
        file=BACKEND,
        text='            exception["exc_message"] = [repr(error)]\n',
        replacement="            pass\n",
        test=f"{ON_BACKEND}::test_an_exception_that_no_database_stores_as_it_is_keeps_its_row[sqlite]",
        why="A failure whose arguments are not JSON is never recorded.",
    ),
    Guard(
        name="nonsense-time-costs-no-row",
        file="penstock/ledger/values.py",
        text="    except (ValueError, OverflowError, AttributeError):\n",
        replacement="    except ValueError:\n",
        test=f"{ON_BACKEND}::test_a_header_of_the_wrong_kind_costs_no_row[sqlite-time that is a number]",
        why="A header that anyone may have written costs a job its row.",
    ),
    Guard(
        name="database-keeps-the-states",
        file="penstock/ledger/migrations/versions/0001_jobs_attempts_and_audit.py",
        text="(finished_at IS NOT NULL)",
        replacement="(finished_at IS NOT NULL) OR TRUE",
        test=f"{ON_SCHEMA}::test_the_database_itself_refuses_a_row_that_breaks_the_state_machine"
        "[sqlite-final without an end]",
        why="A program that bypasses the library leaves final rows without an end, which no clean-up finds.",
    ),
    Guard(
        name="bury-once",
        file=LETTERS,
        text="(insert.returning(dead_letters.c.id)).one_or_none() is not None\n",
        replacement="(insert.returning(dead_letters.c.id)).one_or_none() != 0\n",
        test=f"{ON_LETTERS}::test_burying_again_changes_nothing[sqlite]",
        why="A keeper that repeats a burial fails a job that somebody has replayed meanwhile.",
    ),
    Guard(
        name="resolve-once",
        file=LETTERS,
        text="letter_id(id), dead_letters.c.resolution.is_(None))",
        replacement="letter_id(id))",
        test=f"{ON_LETTERS}::test_of_several_who_resolve_a_letter_at_once_one_is_first[sqlite]",
        why="Two people who replay a dead letter at once start its job twice.",
    ),
    Guard(
        name="odd-arguments-keep-no-batch",
        file="penstock/ledger/recording/columns.py",
        text="    except UnserialisableResult:\n",
        replacement="    except ZeroDivisionError:\n",
        test=f"{ON_LETTERS}::test_arguments_that_are_not_json_keep_no_batch_out_of_the_ledger[sqlite]",
        why="One message with NaN keeps all dead letters after it out of the ledger, for ever.",
        red="UnserialisableResult",
    ),
)
