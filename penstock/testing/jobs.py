"""The fixture ``jobs``: what a test enqueues, seen and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Self

from penstock.testing.asserting import Assertions
from penstock.testing.attempts import Attempt, Drained
from penstock.testing.clock import Clock
from penstock.testing.kills import KILL_POINTS, Crash, KillPoint

if TYPE_CHECKING:
    from celery import Celery

    from penstock.testing.bench import Bench
    from penstock.testing.servers import Servers


class Jobs(Assertions):
    """Of one test. Servers are real, and empty at its beginning."""

    def __init__(self, app: Celery, where: str, servers: Servers) -> None:
        """Args:
        where: the app's name for processes of its own; empty: the kit has made it.
        """
        from penstock.testing.watching import Watch

        self.app = app
        self._where, self._servers = where, servers
        self._stack = ExitStack()
        self.watch = Watch(servers.settings.database_url)
        self.clock = Clock(self)

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
        return list(self.bench.notes.attempts)

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

        runner = Inline(self.bench, self.watch, raises=raises)
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
