"""Guards of the balance sheet: what counts once, what counts not, and what is not called lost."""

from tests.mutants.guard import Guard

LUA, RECORDING = "penstock/broker/lua", "penstock/ledger/recording"
CENSUS, AMQP, TRANSPORT = "penstock/broker/census.py", "penstock/engine/amqp.py", "penstock/broker/transport.py"
BOOKS = "penstock/operations/books"
AUDITING, CLOSING, ACCOUNT, EXAMINATION = (
    f"{BOOKS}/{name}.py" for name in ("auditing", "closing", "account", "examination")
)
ON_TALLIES, ON_COUNTING = "tests/broker/test_tallies.py", "tests/engine/test_counting.py"
ON_BALANCE, ON_AUDIT = "tests/ledger/test_balance.py", "tests/cli/test_audit.py"
LOOK_AT_REDIS = "    counts = census.take(scripts, served_queues(app))\n"
LOOK_AT_THE_LEDGER = "    books = balance.read(connection)\n"

COUNTING = (
    Guard(
        name="known-id-is-accepted-once",
        file=f"{LUA}/publish.lua",
        text="tally('accepted', queue, indexed)",
        replacement="tally('accepted', queue, count)",
        test=f"{ON_TALLIES}::test_an_id_that_waits_already_is_one_job_however_often_it_is_sent[valkey]",
        why="Whoever names jobs by hand, and sends one twice, has books that are never balanced again.",
    ),
    Guard(
        name="retry-is-not-accepted-again",
        file=f"{LUA}/publish.lua",
        text="if ARGV[7] == '1' and indexed > 0 then",
        replacement="if indexed > 0 then",
        test=f"{ON_TALLIES}::test_a_job_that_goes_on_is_not_counted_again[valkey]",
        why="Each retry makes a job more that never ends.",
    ),
    Guard(
        name="sweeping-counts",
        file=f"{LUA}/sweep.lua",
        text="if swept > 0 then tally('elsewhere', ARGV[2], swept) end\n",
        replacement="",
        test=f"{ON_TALLIES}::test_what_is_swept_off_the_index_was_taken_elsewhere[valkey]",
        why="What stock workers take beside ours looks lost for ever.",
    ),
    Guard(
        name="retry-of-stock-is-not-indexed",
        file=AMQP,
        text='        id = headers["id"] if headers.get(ENQUEUED_AT) else ""\n',
        replacement='        id = headers["id"]\n',
        test=f"{ON_COUNTING}::test_a_retry_of_a_stock_producers_job_is_not_taken_for_ours",
        why="Jobs that were never counted are taken for ours when they wait, and swept as taken elsewhere.",
    ),
    Guard(
        name="replaced-job-stays-one",
        file=AMQP,
        text="    goes_on = id is not None and id in (headers.get(GOES_ON), running.job_id if running else None)\n",
        replacement="    goes_on = False\n",
        test=f"{ON_COUNTING}::test_the_last_of_a_chain_that_has_replaced_a_job_is_that_job",
        why="A job that a chain has replaced is accepted twice and ends once.",
    ),
    Guard(
        name="celerys-purge-counts",
        file=TRANSPORT,
        text='                self.scripts.tally("purged", queue, accepted)\n',
        replacement="                pass\n",
        test=f"{ON_AUDIT}::test_celerys_own_purge_is_counted",
        why="Whoever purges by Celery's own command is told that all of these jobs are lost.",
    ),
    Guard(
        name="unseen-end-counts-when-seen",
        file=f"{RECORDING}/tallies.py",
        text="    elif judgement.verdict is Verdict.ENDED and found and found.queue is None",
        replacement="    elif False and found and found.queue is None",
        test=f"{ON_BALANCE}::test_a_job_that_was_cancelled_unseen_counts_when_its_message_is_seen[sqlite]",
        why="A job that was cancelled while it waited is on no side of the books once its message is gone.",
    ),
    Guard(
        name="end-counts-once",
        file=f"{RECORDING}/tallies.py",
        text=" and not judgement.is_repeated:",
        replacement=":",
        test=f"{ON_BALANCE}::test_an_end_counts_once_however_often_it_is_told[sqlite]",
        why="A COMMIT whose answer was lost makes of one end two.",
    ),
    Guard(
        name="end-counts-where-it-was-accepted",
        file=f"{RECORDING}/tallies.py",
        text="    queue = fit((found.queue if found else None) or record.delivery.queue)\n",
        replacement="    queue = fit(record.delivery.queue)\n",
        test=f"{ON_BALANCE}::test_a_job_counts_on_the_queue_on_which_it_was_accepted[sqlite]",
        why="A retry on another queue leaves both queues uneven for ever.",
    ),
    Guard(
        name="stock-ends-count-apart",
        file=f"{RECORDING}/tallies.py",
        text='    return End(queue, state.value if is_accepted else f"{OF_STOCK}{state.value}")\n',
        replacement="    return End(queue, state.value)\n",
        test=f"{ON_BALANCE}::test_ends_are_counted_by_queue_and_state_and_by_who_sent_the_job[sqlite]",
        why="With a stock producer beside ours more jobs end than were accepted, and hide those that are lost.",
    ),
)

JUDGING = (
    Guard(
        name="redis-is-read-before-the-ledger",
        file=AUDITING,
        text=f"{LOOK_AT_REDIS}{LOOK_AT_THE_LEDGER}",
        replacement=f"{LOOK_AT_THE_LEDGER}{LOOK_AT_REDIS}",
        test=f"{ON_AUDIT}::test_what_ends_between_the_two_looks_is_never_missing",
        why="A job that ends while the audit looks is on neither side, and is called lost.",
    ),
    Guard(
        name="late-messages-are-taken-off",
        file=EXAMINATION,
        text="        of.late += 1\n",
        replacement="",
        test=f"{ON_AUDIT}::test_a_message_of_a_job_that_has_ended_is_told_and_taken_off",
        why="A job that was cancelled while it waits counts twice, and hides one that is lost.",
    ),
    Guard(
        name="foreign-messages-are-taken-off",
        file=EXAMINATION,
        text="        of.foreign += 1\n",
        replacement="        pass\n",
        test=f"{ON_AUDIT}::test_jobs_of_stock_producers_are_counted_beside",
        why="Each waiting message of a stock producer makes the books uneven.",
    ),
    Guard(
        name="outbox-keeps-a-job-from-being-lost",
        file=EXAMINATION,
        text="    if is_published is not None:\n",
        replacement="    if False:\n",
        test=f"{ON_AUDIT}::test_a_job_that_redis_has_lost_and_the_outbox_has_is_no_fault",
        why="A job that comes back within seconds is called lost, and failed by whoever believes it.",
    ),
    Guard(
        name="replaced-job-is-not-lost",
        file=EXAMINATION,
        text="    elif job.is_replaced:\n",
        replacement="    elif False:\n",
        test=f"{ON_AUDIT}::test_a_job_that_was_replaced_by_a_chain_is_not_lost",
        why="A job that waits for the chain in its place is called lost, and failed by whoever believes it.",
    ),
    Guard(
        name="changed-row-is-not-lost",
        file=EXAMINATION,
        text="            if job.id in kept:\n",
        replacement="            if True:\n",
        test=f"{ON_AUDIT}::test_a_job_that_goes_on_while_the_audit_looks_is_not_lost",
        why="A job that has started or ended between two looks is called lost.",
    ),
    Guard(
        name="second-look-goes-upstream",
        file=EXAMINATION,
        text="            rows.pop(message.job_id, None)\n",
        replacement="            pass\n",
        test=f"{ON_AUDIT}::test_a_message_that_goes_back_while_the_audit_looks_is_found",
        why="A job that a worker gives back while the audit looks is called lost.",
    ),
    Guard(
        name="fresh-row-is-not-given-up",
        file=CLOSING,
        text=" if job.updated_at < now - SILENT]",
        replacement="]",
        test=f"{ON_AUDIT}::test_a_job_that_is_lost_for_less_than_a_minute_is_not_given_up",
        why="A job whose retry is just being published is recorded as failed.",
    ),
    Guard(
        name="rebase-waits-for-quiet",
        file=CLOSING,
        text="        if differences != _differences(app, scripts, connection):\n",
        replacement="        if False:\n",
        test=f"{ON_AUDIT}::test_a_new_beginning_waits_until_nothing_moves",
        why="What was moving at that moment is a difference for ever.",
    ),
    Guard(
        name="rebase-forgives-no-lost-job",
        file=CLOSING,
        text="account.difference + account.found.lost for account",
        replacement="account.difference for account",
        test=f"{ON_AUDIT}::test_a_new_beginning_does_not_forgive_a_lost_job",
        why="A lost job that is failed afterwards makes one end more than was accepted.",
    ),
    Guard(
        name="forgotten-counts-are-no-verdict",
        file=ACCOUNT,
        text="    if is_forgotten:\n",
        replacement="    if False:\n",
        test=f"{ON_AUDIT}::test_a_redis_that_has_forgotten_its_counts_is_told_from_one_that_has_lost_jobs",
        why="After FLUSHALL the audit accuses the ledger of jobs that nobody accepted.",
    ),
)

GUARDS = (*COUNTING, *JUDGING)
