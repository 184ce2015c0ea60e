"""Plays scenarios on sides, several at a time, and sums up what became of the jobs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

from rich.console import Console

from penstock.ledger import schema, session
from tests.faults import report
from tests.faults.ground import Ground, Skipped, Templates, Unplayed
from tests.faults.judge import Verdict
from tests.faults.postgres import make_template
from tests.faults.scenario import CHILD_BOUND, POSTGRESQL, Scenario
from tests.faults.sides import LATE, SIDES, STOCK, Side

TURNS = 3
"""Runs that do something at the same time: the bounds must not be missed for want of a core."""
AT_ONCE = 10
"""Runs at the same time, those among them that only wait for time to pass."""
TRIES = 2
"""How often a run is tried whose fault did not take place or which was late, which on a busy machine happens."""
MOST_RUNS = 4


@dataclass
class Campaign:
    """All chosen scenarios on all chosen sides."""

    scenarios: Sequence[Scenario]
    sides: Sequence[Side]
    folder: Path
    quick: bool
    console: Console
    portraits: dict[str, dict[str, Any]] = field(default_factory=dict)
    turns: Semaphore = field(default_factory=lambda: Semaphore(TURNS))
    alone: Lock = field(default_factory=Lock)

    def play(self) -> list[report.Row]:
        """Plays everything, a few runs at a time, and sums up by row."""
        templates = self._templates()
        # What is played once takes longest, so it begins first.
        longest_first = sorted(self.scenarios, key=lambda scenario: scenario.runs)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            played = {
                (scenario.name, side.name): [
                    pool.submit(self._run, scenario, side, templates, number) for number in range(self._runs(scenario))
                ]
                for scenario in longest_first
                for side in self._sides_of(scenario)
            }
            rows = [
                report.Row(
                    scenario,
                    {
                        side.name: _tally([run.result() for run in played[scenario.name, side.name]], scenario.bound)
                        for side in self._sides_of(scenario)
                    },
                )
                for scenario in self.scenarios
            ]
        for row in rows:
            self._insist(row, templates)
        return rows

    def _insist(self, row: report.Row, templates: Templates) -> None:
        """Some of stock's damages need luck: a row that shows none yet gets a few runs more, which count as well."""
        side = next((side for side in (LATE, STOCK) if side.name in row.tallies), None)
        if side is None or row.scenario.not_reproducible:
            return
        tally = row.tallies[side.name]
        while tally.runs and not tally.damages and not tally.errors and tally.runs < MOST_RUNS:
            _count(self._run(row.scenario, side, templates, tally.runs), tally, row.scenario.bound)

    def _sides_of(self, scenario: Scenario) -> list[Side]:
        """A quick run plays one of stock's two ways: the better one, where both are declared."""
        chosen = [side for side in scenario.sides if side in self.sides]
        return [side for side in chosen if not (self.quick and side is STOCK and LATE in chosen)]

    def _runs(self, scenario: Scenario) -> int:
        return 1 if self.quick else scenario.runs

    def _templates(self) -> Templates:
        # PostgreSQL runs as a user of its own, which must be able to reach its data.
        self.folder.chmod(0o755)
        path = self.folder / "ledger.db"
        schema.upgrade(f"sqlite:///{path}")
        session.close_all()
        needs_server = any(scenario.store == POSTGRESQL for scenario in self.scenarios)
        return Templates(path, make_template(self.folder / "template") if needs_server else None)

    def _run(self, scenario: Scenario, side: Side, templates: Templates, number: int) -> Run:
        for attempt in range(TRIES):
            folder = self.folder / f"{scenario.name}-{SIDES.index(side)}-{number}-{attempt}"
            run = self._play_once(scenario, side, templates, folder)
            if not run.error and not run.is_only_late(scenario.bound):
                break
        self._say(scenario, side, run)
        return run

    def _play_once(self, scenario: Scenario, side: Side, templates: Templates, folder: Path) -> Run:
        begun, run = time.monotonic(), Run()
        try:
            with (
                self._turn(scenario) as turns,
                Ground(scenario, side, folder, templates, quick=self.quick, turns=turns) as ground,
            ):
                scenario.act(ground)
                run.verdict, run.jobs, run.remarks = ground.judge(), ground.jobs, ground.remarks
                self._note(side, ground.portraits)
        except Skipped as why:
            run.skipped = str(why)
        except Unplayed as error:
            run.error = str(error)
        except Exception:
            run.error = traceback.format_exc(limit=-3)
        run.seconds = time.monotonic() - begun
        return run

    @contextmanager
    def _turn(self, scenario: Scenario) -> Iterator[Semaphore]:
        """A turn, or all of them for a run whose bound leaves no time to wait for a core."""
        if scenario.bound > CHILD_BOUND:
            with self.turns:
                yield self.turns
            return
        with ExitStack() as all_turns:
            # One such run at a time gathers turns, so that two cannot wait for each other's.
            all_turns.enter_context(self.alone)
            for _ in range(TURNS):
                all_turns.enter_context(self.turns)
            yield Semaphore()

    def _note(self, side: Side, portraits: list[dict[str, Any]]) -> None:
        """The first worker of each side, and of each of its result stores, is introduced."""
        for portrait in portraits[:1]:
            if self.portraits.setdefault(f"{side.name} on {portrait['store']}", portrait) is portrait:
                parts = ", ".join(f"{part} {portrait[part]}" for part in report.PARTS)
                self.console.print(f"[bold]{side.name}[/]: {parts}", highlight=False)

    def _say(self, scenario: Scenario, side: Side, run: Run) -> None:
        tally = _tally([run], scenario.bound)
        recovery = "" if tally.recovery is None else f", again after {tally.recovery:.1f} s"
        head = f"{scenario.window:7}{scenario.name:35}{side.name:18}"
        self.console.print(
            f"{head}{run.error or run.skipped or tally.cell + recovery}  ({run.seconds:.0f} s)",
            highlight=False,
            markup=False,
        )


@dataclass
class Run:
    """What one run gave: a verdict, or an error."""

    verdict: Verdict = field(default_factory=Verdict)
    jobs: int = 0
    remarks: list[str] = field(default_factory=list)
    error: str = ""
    skipped: str = ""
    seconds: float = 0.0

    def is_only_late(self, bound: float) -> bool:
        """Whether the bound was missed and nothing else is wrong."""
        return not self.verdict.damaged and (self.verdict.recovery or 0.0) > bound


def _tally(runs: Sequence[Run], bound: float) -> report.Tally:
    tally = report.Tally()
    for run in runs:
        _count(run, tally, bound)
    return tally


def _count(run: Run, tally: report.Tally, bound: float) -> None:
    if run.error:
        tally.errors.append(run.error)
    elif run.skipped:
        tally.skipped = run.skipped
    else:
        tally.add(run.verdict, run.jobs, run.remarks, bound)
