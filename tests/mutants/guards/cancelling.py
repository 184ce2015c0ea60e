"""Guards of cancelled jobs: what waits ends once and never starts, what runs is its worker's, and is asked first."""

from tests.mutants.guard import Guard

DUTY, CLIENT = "penstock/engine/keeping/cancelling.py", "penstock/ledger/cancellations.py"
CHILD, LIMITS = "penstock/engine/child.py", "penstock/engine/running/limits.py"
FENCE, OUTCOMES = "penstock/ledger/recording/fence.py", "penstock/engine/keeping/outcomes.py"
SCRIPT = "penstock/broker/lua/revoke.lua"
ON_FENCE, ON_SCRIPTS = "tests/ledger/recording/test_fence.py", "tests/broker/test_cancel.py"
ON_RUNNING, ON_WAITING = "tests/engine/test_cancelling.py", "tests/engine/test_cancelling_waiting.py"

GUARDS = (
    Guard(
        name="what-runs-is-not-ended-as-waiting",
        file=FENCE,
        text="    if record.only_if_waiting and found.state is State.RUNNING:\n",
        replacement="    if False:\n",
        test=f"{ON_FENCE}::test_a_job_that_runs_is_not_ended_as_one_that_waits",
        why="A job that has just begun is recorded as cancelled while its body goes on, and its result is lost.",
    ),
    Guard(
        name="a-grace-is-never-lengthened",
        file=SCRIPT,
        text="if known and known ~= '' and not (stop and stop < tonumber(known)) then",
        replacement="if false then",
        test=f"{ON_SCRIPTS}::test_whoever_asks_again_may_shorten_the_grace_and_never_lengthen_it",
        why="Whoever asks often enough keeps a body alive that will not stop.",
    ),
    Guard(
        name="jobs-of-the-outbox-end-in-the-transaction",
        file=CLIENT,
        text="    tasks |= {id: sent[id] for id in ids if id not in rows and id in sent}\n",
        replacement="",
        test="tests/test_cancelling.py::test_a_job_of_the_outbox_is_cancelled_without_redis[sqlite]",
        why="While Redis is away a job of the outbox cannot be cancelled, and starts when Redis is back.",
        red="BrokerUnavailable",
    ),
    Guard(
        name="requests-are-noted-again-before-lost-jobs-are-published",
        file="penstock/engine/keeping/relay.py",
        text="                self._scripts.cancel([id], grace)\n",
        replacement="                pass\n",
        test=f"{ON_WAITING}::test_a_request_outlives_a_redis_that_has_lost_it_and_the_worker_that_knew_of_it[sqlite]",
        why="A Redis that has lost its data has lost the request, and the job runs again.",
    ),
    Guard(
        name="parked-messages-of-cancelled-jobs-are-dropped",
        file=DUTY,
        text="        seeking.remove(scripts, [message for message in messages if message.job_id in ended])\n",
        replacement="",
        test=f"{ON_WAITING}::test_a_job_for_next_week_is_cancelled_now_and_its_message_is_dropped[sqlite]",
        why="The message of a cancelled job lies in Redis until it is due.",
    ),
    Guard(
        name="a-job-that-somebody-holds-is-not-ended",
        file=DUTY,
        text="        return [id for id in ids if id not in held]\n",
        replacement="        return ids\n",
        test="tests/engine/test_cancelling_duty.py::test_a_job_that_somebody_holds_is_left_to_him[sqlite]",
        why="A job that has just been claimed is recorded as cancelled while its body runs.",
    ),
    Guard(
        name="outcomes-in-the-spool-come-first",
        file=DUTY,
        text="        if scripts.client.exists(scripts.keys.spool):\n            return []\n",
        replacement="",
        test="tests/engine/test_cancelling_duty.py::test_nothing_is_ended_while_outcomes_wait_in_the_spool[sqlite]",
        why="A job that has succeeded while SQL was away is recorded as cancelled.",
    ),
    Guard(
        name="a-revoked-delivery-takes-no-start",
        file=CHILD,
        text='                or self._revocations.knows(job.headers.get("id"))\n',
        replacement="",
        test=f"{ON_RUNNING}::test_a_job_whose_worker_dies_within_the_grace_is_cancelled_and_does_not_run_again",
        why="A cancelled job that comes again shows an attempt that never was.",
    ),
    Guard(
        name="a-cancellation-is-taken-when-it-is-heard",
        file="penstock/engine/running/threaded.py",
        text=" and errand.strike(JobCancelled()):\n",
        replacement=" and (errand.strike(JobCancelled()) or True):\n",
        test="tests/engine/running/test_threads.py"
        "::test_a_cancellation_before_the_body_begins_is_heard_when_it_is_asked_again",
        why="A job of a thread that is cancelled just before its body begins runs to its end, or is killed.",
    ),
    Guard(
        name="cancellations-are-raised-in-bodies-only",
        file=LIMITS,
        text='        if slot.get("is_running") != IN_BODY or not is_in_body(frame):\n            return',
        replacement="        if False:\n            return",
        test="tests/engine/running/test_limits.py::test_a_cancellation_outside_of_a_body_is_not_raised",
        why="A cancellation costs the outcome of a body that has just ended, or the child.",
    ),
    Guard(
        name="a-body-is-asked-again-until-it-has-heard",
        file="penstock/engine/stopping.py",
        text="            elif now >= open.asked + AGAIN_SECONDS:\n",
        replacement="            elif not open.asked:\n",
        test="tests/engine/test_stopping.py::test_a_body_is_asked_again_until_it_ends",
        why="A signal that comes between two bodies is lost, and the body is ended without having been asked.",
    ),
    Guard(
        name="a-job-that-has-ended-leaves-the-index",
        file=OUTCOMES,
        text="        settlement = settlement._replace(second=record.delivery.id)\n",
        replacement="        pass\n",
        test="tests/engine/test_keeping.py::"
        "test_a_job_that_has_ended_is_waiting_no_more_whenever_its_claim_ends[with its outcome]",
        why="A job that fails within a second counts as waiting, and then as taken by a stock worker.",
    ),
    Guard(
        name="written-before-its-claim-ends-waits-no-more",
        file=OUTCOMES,
        text="        if not held and _is_over(record, verdict) and record.delivery.queue is not None:\n",
        replacement="        if False:\n",
        test="tests/engine/test_keeping.py::"
        "test_a_job_that_has_ended_is_waiting_no_more_whenever_its_claim_ends[when that is written]",
        why="The same where the books are quicker than the child: nothing tells the settlement what it settles.",
    ),
    Guard(
        name="only-somebodys-cancel-counts",
        file="penstock/cancelling.py",
        text="for row in over.values() if row.reason is not Reason.REVOKED]",
        replacement="for row in over.values() if row.state is not State.CANCELLED]",
        test="tests/test_cancelling.py::"
        "test_a_job_that_nobody_has_cancelled_is_refused_though_it_is_cancelled[sqlite-expired]",
        why="Whoever cancels a job that has expired before is told that it is cancelled by that.",
        red="KeyError",
    ),
    Guard(
        name="grace-that-no-clock-counts",
        file="penstock/cancelling.py",
        text="    if grace is not None and not are_seconds(grace):\n",
        replacement="    if grace is not None and not 0 <= grace:\n",
        test="tests/test_cancelling.py::test_a_grace_that_is_none_is_refused_before_anything_is_noted[sqlite-1e+306]",
        why="The audit says that a job was to be cancelled, and no worker hears of it.",
        red="OverflowError",
    ),
)
