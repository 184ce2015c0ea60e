"""The fixture ``jobs``: what a test enqueues, seen and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from penstock.task import Task
from penstock.testing.attempts import Attempt, Drained
from penstock.testing.clock import Clock
from penstock.testing.enqueued import AnyTask, Enqueued, enqueued_of, name_of
from penstock.testing.kills import KILL_POINTS, Crash, KillPoint
from penstock.testing.matching import Wanted, table

if TYPE_CHECKING:
    from celery import Celery

    from penstock.testing.bench import Bench
    from penstock.testing.servers import Servers

R = TypeVar("R")


class Jobs:
    """Of one test. Servers are real, and empty at its beginning."""

    def __init__(self, app: Celery, where: str, servers: Servers) -> None:
        """Args:
        where: the app's name for processes of its own; empty: the kit has made it.
        """
        from penstock.testing.watching import Watch

        self.app = app
        """The Celery app, pointed at the servers of the tests."""
        self._where, self._servers = where, servers
        self._stack = ExitStack()
        self.watch = Watch(servers.settings.database_url)
        """What was sent."""
        self.clock = Clock(self)
        """The time that schedules, delays and retries go by in this test."""

    def __enter__(self) -> Self:
        from penstock import client
        from penstock.testing.watching import watching

        client.configure(self._servers.settings)  # Another app may have been made since.
        self._servers.empty()
        self._stack.enter_context(watching(self.watch))
        self._stack.callback(self.clock.stop)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def redis_url(self) -> str:
        """Address of the tests' Redis."""
        return self._servers.settings.redis_url

    @property
    def database_url(self) -> str:
        """Address of the tests' ledger, for engines of sessions that enqueue; as SQLAlchemy has it."""
        return self._servers.settings.database_url

    @property
    def servers(self) -> Servers:
        """Both, with the environment for processes of the test's own."""
        return self._servers

    # -- what was enqueued ----------------------------------------------------------------------------------------

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

    # -- running --------------------------------------------------------------------------------------------------

    @cached_property
    def bench(self) -> Bench:
        """The worker in this process."""
        from penstock.testing.bench import Bench

        made = Bench(self.app, self._servers.settings, lambda: self.clock.ahead)
        self._stack.callback(made.end)
        return made

    @property
    def attempts(self) -> list[Attempt]:
        """Every start of a job in this process, in order; each with the pause that it has asked for."""
        return list(self.bench.attempts)

    @contextmanager
    def inline(self, *, raises: bool = True) -> Iterator[None]:
        """Inside of the block jobs run in this process as soon as they are enqueued.

        They get their arguments as JSON, are tried again as their task says, without the pauses, which are noted in
        ``jobs.attempts``, and are in the ledger: ``job.result(0)`` has the result. Delays are not waited for. Jobs in
        a transaction run when the block ends, if that has committed.

        Args:
            raises: has ``enqueue`` raise the error of a body that has failed for good; False: it is kept, as with a
                worker, and ``job.result(0)`` raises ``JobFailed``.
        """
        from penstock.testing.inline import Inline

        runner = Inline(self.bench, raises=raises)
        self.watch.listeners.append(runner.take)
        try:
            with runner.open():
                yield
                runner.finish()
        finally:
            self.watch.listeners.remove(runner.take)

    def drain(self, *queues: str, raises: bool = False, timeout: float = 30.0) -> Drained:
        """Runs everything that waits and is due, what follows from that as well, until nothing is left.

        Jobs run in this process one after the other, as a worker of these queues would run them. What has a delay, or
        waits for its next attempt, is due by ``jobs.clock``.

        Args:
            queues: from these only; none: from all.
            raises: raises the errors of bodies that have failed for good, several as an ``ExceptionGroup``.
            timeout: seconds after which no further job is started.

        Returns:
            What was done and what is left.

        Raises:
            StillWaiting: the time was over before; it says what still waits, and why.
            ValueError: nothing was sent to a queue of this name, and no task declares it.
        """
        from penstock.testing.draining import drain

        drained = drain(self.bench, self.watch, queues, timeout, self.clock.now)
        if raises:
            drained.raise_errors()
        return drained

    # -- crashes --------------------------------------------------------------------------------------------------

    @contextmanager
    def kill(
        self, step: KillPoint, *, after_call: str = "", by_process: bool = False, timeout: float = 30.0
    ) -> Iterator[Crash]:
        """Has a worker die at a step of the first job that is enqueued inside of the block, and another one finish.

        At the end of the block a real worker process of the app runs what waits. When that job comes to the step, all
        processes of the worker are killed (SIGKILL), as with their host. Its claims go back, counted as a crash, at
        once instead of a lease later; and what waits then is drained in this process.

        Args:
            step: one of :data:`~penstock.testing.KILL_POINTS`. ``in body`` is when the body begins.
            after_call: ``module:function``, for ``in body``: right after the body's first call of that function, as it
                is found in that module.
            by_process: another worker process finishes, and the drain has only what that leaves: for bodies that need
                what your worker opens when it starts.
            timeout: seconds that the worker may take to come to the step, and whoever finishes after it.

        Raises:
            AssertionError: the worker did not come to the step; its log says more.
            StillWaiting: whoever finishes was not done in time.
            ValueError: there is no such step, or no such function; before the block begins.
        """
        from penstock.testing.kills import killing

        with killing(self, self._where, step, after_call, timeout, by_process=by_process) as crash:
            yield crash

    def crash_everywhere(
        self,
        enqueue: Callable[[], object],
        check: Callable[[Crash], object],
        *,
        steps: Sequence[KillPoint] = KILL_POINTS,
        timeout: float = 30.0,
    ) -> list[Crash]:
        """Has a worker die at each step in turn, each time of a new job, and prints a table of what came of it.

        Args:
            enqueue: enqueues one job.
            check: asserts what a crash has to leave; called after each.
            steps: at which.
            timeout: seconds, for each; see :meth:`kill`.

        Raises:
            AssertionError: with the table, if ``check`` has failed after any crash.
        """
        from penstock.testing.kills import crash_everywhere

        return crash_everywhere(enqueue, check, steps, lambda step: self.kill(step, timeout=timeout))


def _jobs(count: int) -> str:
    return "1 job was" if count == 1 else f"{count} jobs were"
