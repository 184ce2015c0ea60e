"""Guards of the test kit: what it must never touch, and what makes its workers true."""

from tests.mutants.guard import Guard

SERVERS, STEPS, BENCH = "penstock/testing/servers.py", "penstock/testing/steps.py", "penstock/testing/bench.py"
KILLS, WATCHING, CLOCK = "penstock/testing/kills.py", "penstock/testing/watching.py", "penstock/testing/clock.py"
DRAINING = "penstock/testing/draining.py"
SANDBOX, PLUGIN = "penstock/testing/sandbox.py", "penstock/testing/plugin.py"
ON_PLUGIN, ON_SHOP = "tests/testing/test_plugin.py", "tests/testing/test_example.py::test_the_shop"

GUARDS = (
    Guard(
        name="a-named-redis-is-never-flushed",
        file=SERVERS,
        text="            if self.owns_redis:\n",
        replacement="            if True:\n",
        test=f"{ON_PLUGIN}::test_a_server_of_the_projects_keeps_its_keys",
        why="A test run with REDIS_URL set deletes the queues of a deployment.",
    ),
    Guard(
        name="a-ledger-with-jobs-is-not-emptied",
        file=SERVERS,
        text="        if database_url and not may_empty:\n",
        replacement="        if False:\n",
        test=f"{ON_PLUGIN}::test_a_ledger_with_jobs_is_not_emptied_unless_the_project_says_so",
        why="A test run with DATABASE_URL set deletes the history of a deployment.",
    ),
    Guard(
        name="a-ledger-of-tests-has-one-process",
        file=PLUGIN,
        text='    if is_shared and "PYTEST_XDIST_WORKER" in os.environ:\n',
        replacement="    if False:\n",
        test=f"{ON_PLUGIN}::test_processes_of_xdist_do_not_share_a_ledger",
        why="Processes of pytest-xdist delete each other's rows.",
    ),
    Guard(
        name="killers-lead-their-process-group",
        file=STEPS,
        text="    if os.getpgrp() != os.getpid():\n",
        replacement="    if False:\n",
        test=f"{ON_PLUGIN}::test_a_worker_does_not_arm_itself_in_somebody_elses_process_group",
        why="A worker that is started in another way kills the tests with itself.",
    ),
    Guard(
        name="an-eager-app-is-not-eager-in-tests",
        file=SANDBOX,
        text="        task_always_eager=False,\n",
        replacement="",
        test=f"{ON_SHOP}[test_every_way_to_enqueue_is_seen]",
        why="What an app whose settings are for tests enqueues is never seen.",
    ),
    Guard(
        name="drains-take-their-start-rows",
        file=BENCH,
        text="                if not is_known or not self._gate.holds_up(message, self._receive):\n",
        replacement="                if True:\n",
        test=f"{ON_SHOP}[test_what_follows_from_a_commit_is_not_lost]",
        why="A drain after a crash runs bodies again whose end is committed, which no worker does.",
    ),
    Guard(
        name="crashes-lose-no-follow-ups",
        file=KILLS,
        text="        jobs.bench.put_back_lost()\n",
        replacement="",
        test=f"{ON_SHOP}[test_what_follows_from_a_commit_is_not_lost]",
        why="After a crash between commit and publication a chain seems to be broken.",
    ),
    Guard(
        name="rolled-back-jobs-are-none",
        file=WATCHING,
        text="        waiting = {id for id in kept.keys() - committed if _is_open(kept[id])}\n",
        replacement="        waiting = kept.keys() - committed\n",
        test=f"{ON_SHOP}[test_a_job_of_a_transaction_that_was_rolled_back_is_none]",
        why="An assertion passes for a job that does not exist.",
    ),
    Guard(
        name="deadlines-go-by-one-clock",
        file=CLOCK,
        text="    readers = (one, bulk, amqp, transport, twins, retrying, retry_after, expiry, request)\n",
        replacement="    readers = (one, bulk, retrying, retry_after, expiry, request)\n",
        test=f"{ON_SHOP}[test_a_deadline_counts_from_the_time_of_the_test]",
        why="Once a test has moved its clock by a day, every deadline has passed.",
    ),
    Guard(
        name="any-time-is-a-time-under-the-tests-clock",
        file=CLOCK,
        text="        return isinstance(instance, datetime)\n",
        replacement="        return type.__instancecheck__(cls, instance)\n",
        test=f"{ON_SHOP}[test_what_names_a_time_waits_until_that_time_of_the_test]",
        why="Once a test has moved its clock, a Snooze until a time fails its job.",
    ),
    Guard(
        name="a-drain-knows-its-queues",
        file=DRAINING,
        text="    _insist_on_known(bench, watch, queues)\n",
        replacement="",
        test=f"{ON_SHOP}[test_a_queue_that_nobody_knows_is_refused]",
        why="A test that drains a misspelt queue passes with nothing done.",
    ),
    Guard(
        name="a-thread-takes-what-it-has-claimed",
        file="penstock/testing/claiming.py",
        text="        with self._lock:\n            self.claims.at_once = id\n",
        replacement="        if True:\n            self.claims.at_once = id\n",
        test=f"{ON_SHOP}[test_threads_may_enqueue_at_once]",
        why="Of two threads that enqueue inline at once one goes on before its job has run.",
    ),
    Guard(
        name="an-inline-error-is-of-its-own-job",
        file="penstock/testing/inline.py",
        text="        return [_send(parcel) for parcel in parcels]\n",
        replacement="        return sending.carry_out(parcels)\n",
        test=f"{ON_SHOP}[test_an_error_is_raised_to_the_coroutine_whose_job_has_failed]",
        why="Coroutines whose jobs have succeeded get the error of another one.",
    ),
    Guard(
        name="a-body-that-exits-keeps-nobody-waiting",
        file="penstock/testing/inline.py",
        text="    except BaseException as raised:\n",
        replacement="    except Exception as raised:\n",
        test=f"{ON_SHOP}[test_a_body_that_exits_leaves_nobody_waiting]",
        why="A coroutine waits for good for a job whose body has exited.",
    ),
)
