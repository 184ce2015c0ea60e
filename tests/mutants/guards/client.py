"""Guards of submitting: arguments and options are checked before anything is sent, and only JSON travels."""

from tests.mutants.guard import Guard

TASK, MESSAGE, APP, CONFIG = "penstock/task.py", "penstock/message.py", "penstock/app.py", "celeryconfig.py"
ON_TASK, ON_MESSAGE, ON_APP = "tests/test_task.py", "tests/test_message.py", "tests/test_app.py"
ON_CONFIG = "tests/test_celeryconfig.py"

GUARDS = (
    Guard(
        name="enqueue-checks-arguments",
        file=TASK,
        text="    declared.check_arguments(args, kwargs)\n    return _senders\n",
        replacement="    return _senders\n",
        test=f"{ON_TASK}::test_arguments_that_do_not_fit_are_refused_before_anything_is_sent[few]",
        why="A call that cannot work is accepted and fails in a worker, where nobody sees who made it.",
        red="SettingsError",
    ),
    Guard(
        name="delay-checks-arguments",
        file=APP,
        text="        self.declared.check_arguments(args, kwargs)\n",
        replacement="",
        test=f"{ON_APP}::test_celerys_delay_refuses_arguments_that_do_not_fit[sqlite]",
        why="Celery's own calls accept what our enqueue refuses.",
    ),
    Guard(
        name="worker-checks-arguments",
        file=APP,
        text="        args, kwargs = self.declared.read(args, kwargs)\n",
        replacement="",
        test="tests/ledger/test_backend.py::"
        "test_arguments_that_do_not_fit_are_recorded_though_the_producer_knew_no_better[sqlite]",
        why="A wrong call of a foreign producer is retried like an outage.",
    ),
    Guard(
        name="nan-is-not-sent",
        file=MESSAGE,
        text='        if value != value or value in (float("inf"), float("-inf")):\n',
        replacement="        if False:\n",
        test=f"{ON_MESSAGE}::test_what_is_not_json_is_refused_by_name[nan-is nan, which JSON has no word for]",
        why="NaN travels as a word that only Python reads.",
    ),
    Guard(
        name="json-keys-are-strings",
        file=MESSAGE,
        text="            if not isinstance(key, str):\n",
        replacement="            if False:\n",
        test=f"{ON_MESSAGE}::test_what_is_not_json_is_refused_by_name[value8-has the key 1, and JSON keys are strings]",
        why="The key 1 arrives in the worker as '1', in silence.",
    ),
    Guard(
        name="arguments-have-a-depth",
        file=MESSAGE,
        text="    if depth >= MAX_DEPTH:\n",
        replacement="    if False:\n",
        test=f"{ON_MESSAGE}::test_arguments_nested_too_deeply_are_refused",
        why="Arguments that no reader can unfold are accepted.",
    ),
    Guard(
        name="arguments-have-a-size",
        file=MESSAGE,
        text="    if len(text) > max_bytes:\n",
        replacement="    if False:\n",
        test=f"{ON_MESSAGE}::test_arguments_that_are_too_large_are_refused_with_both_sizes",
        why="One careless call fills Redis.",
    ),
    Guard(
        name="message-accepts-json-only",
        file=CONFIG,
        text='\naccept_content = ["json"]\n',
        replacement='\naccept_content = ["json", "pickle"]\n',
        test=f"{ON_CONFIG}::test_nothing_but_json_is_accepted",
        why="Whoever can write to Redis runs code in every worker.",
    ),
    Guard(
        name="result-accepts-json-only",
        file=CONFIG,
        text='result_accept_content = ["json"]\n',
        replacement='result_accept_content = ["json", "pickle"]\n',
        test=f"{ON_CONFIG}::test_nothing_but_json_is_accepted",
        why="Whoever can write to the ledger runs code in every reader.",
    ),
    Guard(
        name="one-name-one-task",
        file=TASK,
        text="    if known is not None and _place(known) != _place(declared):\n",
        replacement="    if False:\n",
        test=f"{ON_TASK}::test_two_tasks_cannot_have_one_name",
        why="The task that is imported last runs the jobs of both.",
    ),
    Guard(
        name="nested-function-is-no-task",
        file=TASK,
        text="""    if "<locals>" in function.__qualname__ or function.__name__ == "<lambda>":\n""",
        replacement="    if False:\n",
        test=f"{ON_TASK}::test_a_nested_function_is_refused_because_no_worker_could_import_it",
        why="A job is accepted that no worker can run.",
    ),
    Guard(
        name="priority-has-bounds",
        file=TASK,
        text="        if isinstance(self.priority, bool) or self.priority not in PRIORITIES:\n",
        replacement="        if False:\n",
        test=f"{ON_TASK}::test_options_of_one_call_are_checked_as_well[options4-from 0]",
        why="A job waits on a list that no worker reads.",
    ),
    Guard(
        name="due-time-has-a-zone",
        file=TASK,
        text="        if self.at is not None and self.at.tzinfo is None:\n",
        replacement="        if False:\n",
        test=f"{ON_TASK}::test_options_of_one_call_are_checked_as_well[options3-give it a time zone]",
        why="A job starts hours early or late, depending on where its producer stands.",
    ),
    Guard(
        name="sent-by-name-waits-where-declared",
        file=APP,
        text="""    return {"queue": declared.defaults.queue} if declared else None\n""",
        replacement="    return None\n",
        test=f"{ON_APP}::test_a_task_that_is_sent_by_its_name_waits_on_its_declared_queue[sqlite]",
        why="A job that is sent by its name waits where no worker of its profile looks.",
    ),
)
