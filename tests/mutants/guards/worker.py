"""Guards of a whole worker under Celery's own pool: what it starts again, does not run or puts aside."""

from tests.mutants.guard import Guard

CONSUMER, REQUEST = "penstock/engine/consumer.py", "penstock/engine/request.py"
PUTTING_AWAY = "penstock/engine/putting_away.py"
ON_WORKER = "tests/broker/test_guards_worker.py"

GUARDS = (
    Guard(
        name="revoked-jobs-are-remembered",
        file=CONSUMER,
        text="        self.revocations.remind(id)\n",
        replacement="",
        test=f"{ON_WORKER}::test_a_job_that_only_redis_knows_to_be_revoked_does_not_run",
        why="A worker that was down when a job was revoked runs it.",
    ),
    Guard(
        name="requests-are-ours",
        file=CONSUMER,
        text="                if task.Request == request.CELERYS:\n",
        replacement="                if False:\n",
        test=f"{ON_WORKER}::test_a_job_that_kills_its_process_is_tried_again_up_to_the_limit",
        why="A job whose process is killed, as for its memory, fails at once.",
    ),
    Guard(
        name="lost-children-are-noticed",
        file=REQUEST,
        text="        if self._process_died(exc_info.exception) and self._has_claim():\n",
        replacement="        if False:\n",
        test=f"{ON_WORKER}::test_a_job_that_kills_its_process_is_tried_again_up_to_the_limit",
        why="A job whose process is killed, as for its memory, fails at once.",
    ),
    Guard(
        name="unknown-tasks-are-put-aside",
        file=PUTTING_AWAY,
        text="        if not self.keeps_claims:\n            super().on_unknown_task(",
        replacement="        if True:\n            super().on_unknown_task(",
        test=f"{ON_WORKER}::test_a_job_of_an_unknown_task_waits_for_a_worker_that_knows_it",
        why="A rolling deploy drops the jobs of new tasks that old workers claim.",
    ),
    Guard(
        name="forbidden-bodies-are-kept",
        file=PUTTING_AWAY,
        text='            self.end_claim(message, "bury", reason, id)\n',
        replacement="            message.ack()\n",
        test=f"{ON_WORKER}::test_a_body_of_a_forbidden_kind_is_buried_with_its_payload",
        why="A message that a producer wrote in another format is dropped, with all that it said.",
    ),
    Guard(
        name="nonsense-ends-no-worker",
        file=PUTTING_AWAY,
        text="        except NONSENSE as exc:\n",
        replacement="        except ZeroDivisionError as exc:\n",
        test=f"{ON_WORKER}::test_a_message_that_no_job_can_be_made_of_is_buried_with_its_payload",
        why="One JSON message with an odd body ends one worker after the other.",
    ),
)
