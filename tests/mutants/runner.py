"""Removes guards one by one, each in a copy of the project, and looks whether its test turns red."""

from __future__ import annotations

import compileall
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from py_compile import PycInvalidationMode

from tests.mutants.guard import ASSERTION, Guard, Moved
from tests.mutants.pytest_run import Ended, Run, run_tests

PROCESSES = 2
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "var", "docs", "benchmarks", "ops")
BASELINE_SECONDS, MUTANT_SECONDS = 300.0, 60.0
"""Bounds on the run of all tests with their guards, and on the run of one test without its guard."""
PATIENCE_SECONDS = 4.0
"""How long a test waits for a condition when its guard is gone; the suite's own patience is meant for slow machines."""
TRIES = 2
"""How often a guard is tried when something else than its test goes wrong: a port was taken, a worker was slow."""
TESTS_FAILED = 1
"""Exit code of pytest; the higher ones mean that it could not run them."""
FAILURES = (ASSERTION, "Failed")
"""Kinds of failed assertions: ``assert``, and ``pytest.raises`` or ``pytest.fail``."""


class Verdict(StrEnum):
    """What came of a guard; anything but RED fails the run."""

    RED = "red"
    GREEN = "stays green"
    MOVED = "has moved"
    UNSOUND = "not green before"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """A guard and what came of it; ``says`` is the first line of the test's failure, or what is wrong."""

    guard: Guard
    verdict: Verdict
    says: str
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether the test has noticed that its guard was gone."""
        return self.verdict is Verdict.RED


def run(root: Path, guards: Sequence[Guard], tell: Callable[[Finding], None]) -> list[Finding]:
    """Tries every guard of the project at ``root``, which is read and never written.

    Args:
        root: the project.
        guards: what to remove, one at a time.
        tell: called with each finding as it comes.

    Returns:
        one finding for each guard, in their order.
    """
    found: dict[str, Finding] = {}

    def note(finding: Finding) -> None:
        found[finding.guard.name] = finding
        tell(finding)

    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), root)
        for guard in guards:
            if finding := bench.moved(guard):
                note(finding)
        standing = [guard for guard in guards if guard.name not in found]
        problems = bench.not_green(standing)
        for guard in standing:
            if problem := problems.get(guard.test):
                note(Finding(guard, Verdict.UNSOUND, problem))
        bench.try_all([guard for guard in standing if guard.name not in found], note)
    return [found[guard.name] for guard in guards]


class Bench:
    """A folder with the unchanged copy of the project, and beside it one copy for each guard."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._base = folder / "base"
        self._green_at_last: set[str] = set()
        shutil.copytree(root, self._base, ignore=LEFT_OUT, symlinks=True)
        # Compiled once for all copies, and told apart by content: a guard and its replacement can have the same length
        # and be written within the same second.
        compileall.compile_dir(self._base, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)

    def moved(self, guard: Guard) -> Finding | None:
        """A finding when the guard's text is not where the table says."""
        try:
            guard.locate(self._base)
        except Moved as error:
            return Finding(guard, Verdict.MOVED, str(error))
        return None

    def not_green(self, guards: Sequence[Guard]) -> dict[str, str]:
        """What is wrong with each test that is not green while all guards stand, not even at a second try."""
        problems = self._problems({guard.test for guard in guards}, "unchanged")
        self._green_at_last = set(problems)
        return self._problems(set(problems), "unchanged-again") if problems else {}

    def _problems(self, of: set[str], room: str) -> dict[str, str]:
        tests = sorted(of)
        files = sorted({_file(test) for test in tests})
        # A module stays in one process, where its tests share their servers.
        shares = [[test for test in tests if _file(test) in files[at::PROCESSES]] for at in range(PROCESSES)]
        with ThreadPoolExecutor(PROCESSES) as pool:
            runs = [
                (share, pool.submit(self._run_unchanged, f"{room}-{place}", share))
                for place, share in enumerate(shares)
            ]
            return {
                test: problem for share, run in runs for test in share if (problem := why_not_green(run.result(), test))
            }

    def try_all(self, guards: Sequence[Guard], note: Callable[[Finding], None]) -> None:
        """Removes each guard in a copy of its own, some at the same time."""
        with ThreadPoolExecutor(PROCESSES) as pool:
            for done in as_completed([pool.submit(self._try, place, guard) for place, guard in enumerate(guards)]):
                note(done.result())

    def _run_unchanged(self, name: str, tests: Sequence[str]) -> Run:
        return run_tests(self._base, _made(self._folder / name), tests, BASELINE_SECONDS)

    def _try(self, place: int, guard: Guard) -> Finding:
        started = time.monotonic()
        room = self._folder / str(place)
        tree = room / "tree"
        shutil.copytree(self._base, tree, symlinks=True)
        guard.apply(tree)
        for attempt in range(1, TRIES + 1):
            run = run_tests(tree, _made(room / f"try-{attempt}"), [guard.test], MUTANT_SECONDS, PATIENCE_SECONDS)
            verdict, says = judge(guard, run)
            if verdict is not Verdict.BROKEN:
                break
        shutil.rmtree(room, ignore_errors=True)
        if attempt > 1 or guard.test in self._green_at_last:
            says = f"(second try) {says}"
        return Finding(guard, verdict, says, time.monotonic() - started)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def why_not_green(run: Run, test: str) -> str | None:
    """What is wrong with a test whose guard stands; None when it ran and passed."""
    ended = run.of(test)
    if wrong := [one for one in ended if one.outcome != "passed"]:
        return _described(wrong[0])
    return None if ended else f"the test did not run ({run.last_line})"


def judge(guard: Guard, run: Run) -> tuple[Verdict, str]:
    """What a run without the guard says of its test, and why."""
    failed = [one for one in run.tests if one.outcome == "failed"]
    if not failed:
        return _without_failure(guard, run)
    first = failed[0]
    if guard.red == ASSERTION:
        is_red = run.code == TESTS_FAILED and first.when == "call" and first.kind in FAILURES
    else:
        is_red = first.kind == guard.red
    return (Verdict.RED, first.message) if is_red else (Verdict.BROKEN, f"not {guard.red}, but {_described(first)}")


def _without_failure(guard: Guard, run: Run) -> tuple[Verdict, str]:
    if run.code == 0 and any(one.outcome == "passed" for one in run.tests):
        return Verdict.GREEN, "no test notices that it is gone"
    if run.code is None:
        is_red = guard.red == "Timeout"
        return Verdict.RED if is_red else Verdict.BROKEN, f"took more than {MUTANT_SECONDS:.0f} s"
    return Verdict.BROKEN, f"the test did not run: {run.last_line}"


def _file(test: str) -> str:
    return test.partition("::")[0]


def _described(ended: Ended) -> str:
    return f"{ended.kind or ended.outcome} in {ended.when}: {ended.message}"
