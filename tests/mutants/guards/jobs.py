"""Guards of what people do to one job, and of what its page asks."""

from tests.mutants.guard import Guard

ARGUMENTS, ON_ARGUMENTS = "penstock/operations/jobs/arguments.py", "tests/operations/jobs/test_arguments.py"
WHY, ON_WHY = "penstock/operations/jobs/why.py", "tests/operations/jobs/test_why.py"

GUARDS = (
    Guard(
        name="a-hidden-value-stays-in-its-place",
        file=ARGUMENTS,
        text="    if new == HIDDEN or (isinstance(new, str) and HIDDEN in new and not _is_same(old, own)):\n",
        replacement="    if False:\n",
        test=f"{ON_ARGUMENTS}::test_a_secret_that_was_moved_is_refused",
        why="A job is retried with three stars for a password.",
        red="Failed",
    ),
    Guard(
        name="hidden-values-are-not-guessed-by-their-place",
        file=ARGUMENTS,
        text="    if len(new) != len(known):\n",
        replacement="    known, mine = known[: len(new)], mine[: len(new)]\n    if False:\n",
        test=f"{ON_ARGUMENTS}::test_in_a_list_of_another_length_nobody_guesses_which_secret_is_which",
        why="Of a list that was shortened, one customer's job gets another's token.",
        red="Failed",
    ),
    Guard(
        name="nobody-s-log-is-no-empty-log",
        file="penstock/cli/job_log.py",
        text="            require_known(job)\n",
        replacement="            pass\n",
        test="tests/cli/test_jobs_logs.py::test_a_job_that_nobody_knows_is_refused",
        why="Who mistypes an id is told that the job has logged nothing.",
    ),
    Guard(
        name="a-whole-id-is-its-own-job",
        file=WHY,
        text="""    if "unknown" not in found.names:\n""",
        replacement="    if False:\n",
        test=f"{ON_WHY}::test_a_whole_id_is_not_the_beginning_of_another[sqlite]",
        why="Who asks for a job that waits is told about another, whose id begins like it.",
    ),
    Guard(
        name="a-message-that-names-a-job-is-not-its-own",
        file="penstock/broker/whereabouts.py",
        text="    return payload if envelope.job_id(payload) == id else None\n",
        replacement="    return payload\n",
        test="tests/broker/test_whereabouts.py::test_a_message_whose_body_looks_like_a_job_s_own_is_another_s",
        why="Who asks for a step of a chain is told of the step before it.",
    ),
    Guard(
        name="the-looks-of-a-question-are-bounded",
        file="penstock/broker/lua/where.lua",
        text="  if left >= wanted and bytes > 0 then return false end\n",
        replacement="  if true then return false end\n",
        test="tests/broker/test_whereabouts.py::test_it_looks_at_so_many_messages_and_no_more",
        why="A person who asks for a job stops Redis for as long as it takes to read all that is claimed.",
    ),
)
