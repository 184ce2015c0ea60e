"""Assertions on what a test has enqueued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from penstock.task import Task
from penstock.testing.clock import Clock
from penstock.testing.enqueued import AnyTask, Enqueued, enqueued_of, name_of
from penstock.testing.matching import Wanted, table

if TYPE_CHECKING:
    from celery import Celery

    from penstock.testing.watching import Watch

R = TypeVar("R")


class Assertions:
    """Of one test."""

    app: Celery
    """The Celery app, pointed at the servers of the tests."""
    watch: Watch
    """What was sent."""
    clock: Clock
    """The time that schedules, delays and retries go by in this test."""

    @overload
    def enqueued(self, task: Task[..., R]) -> list[Enqueued[R]]: ...

    @overload
    def enqueued(self, task: AnyTask | None = None) -> list[Enqueued[Any]]: ...

    def enqueued(self, task: Any = None) -> list[Enqueued[Any]]:
        """Jobs that were submitted in this test so far, in their order, whether they have run or not.

        Those of a transaction that was rolled back are not among them: they do not exist.

        Args:
            task: of this task, or of the one of this name; None: all.
        """
        there, _ = self._seen()
        return [job for job in there if task is None or job.task == name_of(task)]

    def assert_enqueued(
        self,
        task: AnyTask,
        /,
        *args: Any,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        within: float | None = None,
        committed: bool | None = None,
        count: int | None = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Enqueued[Any]:
        """Asserts that a job was submitted in this test; what was submitted instead is shown when it was not.

        Arguments are compared by the names of the task's parameters, however they were given, and those that are not
        named may be anything. Each is a value, ``unittest.mock.ANY``, a class that it is an instance of, or a function
        that says whether it is right.

        Args:
            task: the task, or its name.
            args: its first arguments by position.
            queue: where it waits.
            priority: 0 (first) to 9 (last).
            tags: words that it has, among others.
            delay: seconds from now until it may start, give or take one.
            at: time at which it may start, give or take a second.
            within: seconds from now within which it may start; a job without a delay may at once.
            committed: False: it is in a transaction that nobody has committed so far; True: it is in none.
            count: how many such jobs there are, exactly; None: one or more.
            arguments: by name, for parameters that are called as one of these words.
            kwargs: by name.

        Returns:
            The first such job.

        Raises:
            AssertionError: there is none, or another number of them.
        """
        __tracebackhide__ = True
        wanted = Wanted(
            task=name_of(task),
            args=args,
            arguments={**kwargs, **(arguments or {})},
            queue=queue,
            priority=priority,
            tags=tags,
            delay=delay,
            at=at,
            within=within,
            committed=committed,
        )
        there, gone = self._seen()
        now = self.clock.now()
        found = [job for job in there if not wanted.differences(job, now)]
        if count == 0:
            raise ValueError("count=0: use assert_not_enqueued")
        if count is None and not found:
            raise AssertionError(f"No job was enqueued like {wanted}.\n{table(there, gone, now, wanted)}")
        if count is not None and len(found) != count:
            raise AssertionError(
                f"Wanted {count} jobs like {wanted}, and there are {len(found)}.\n{table(there, gone, now, wanted)}"
            )
        return found[0]

    def assert_not_enqueued(
        self,
        task: AnyTask,
        /,
        *args: Any,
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        within: float | None = None,
        committed: bool | None = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Asserts that no such job was submitted in this test.

        Args:
            task, args, kwargs and options: as of :meth:`assert_enqueued`; without any: no job of the task.

        Raises:
            AssertionError: there is one; all are shown.
            ValueError: the task has no such parameter.
        """
        __tracebackhide__ = True
        wanted = Wanted(
            task=name_of(task),
            args=args,
            arguments={**kwargs, **(arguments or {})},
            queue=queue,
            priority=priority,
            tags=tags,
            delay=delay,
            at=at,
            within=within,
            committed=committed,
        )
        wanted.require_parameters()
        there, gone = self._seen()
        now = self.clock.now()
        if found := [job for job in there if not wanted.differences(job, now)]:
            raise AssertionError(
                f"{_jobs(len(found))} enqueued like {wanted}, and none should be.\n{table(there, gone, now, wanted)}"
            )

    def assert_enqueued_nothing(self) -> None:
        """Asserts that no job at all was submitted in this test.

        Raises:
            AssertionError: there is one; all are shown.
        """
        __tracebackhide__ = True
        there, gone = self._seen()
        if there:
            raise AssertionError(
                f"{_jobs(len(there))} enqueued, and none should be.\n{table(there, gone, self.clock.now())}"
            )

    def _seen(self) -> tuple[list[Enqueued[Any]], list[Enqueued[Any]]]:
        """Jobs that exist, and those whose transaction was rolled back."""
        waiting, gone = self.watch.standing()
        made = [
            enqueued_of(sent, self.app.tasks, is_committed=sent.id not in waiting) for sent in self.watch.sent.values()
        ]
        return [job for job in made if job.id not in gone], [job for job in made if job.id in gone]


def _jobs(count: int) -> str:
    return "1 job was" if count == 1 else f"{count} jobs were"
