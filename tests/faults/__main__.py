"""`python -m tests.faults`: plays each fault on each side, shows what became of the jobs, and writes docs/faults.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.faults import (  # noqa: F401  importing a group declares its scenarios
    claims,
    clocks,
    connections,
    drains,
    endings,
    kills,
    long_jobs,
    messages,
    poison,
    redis_faults,
    report,
    schedules,
    sql_faults,
    steps,
    waiting,
)
from tests.faults.campaign import Campaign
from tests.faults.deaths import CAMPAIGN, marked
from tests.faults.scenario import SCENARIOS, WINDOWS, Scenario
from tests.faults.servers import Server
from tests.faults.sides import SIDES, Side
from tests.live import ROOT

PAGE = ROOT / "docs" / "faults.md"
WIDTH = 160


def main() -> int:
    """The exit code: 0 when every row passes."""
    options = _options()
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else WIDTH, markup=True)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    os.environ[CAMPAIGN] = folder.name
    for ending in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ending, _end_at_once)
    campaign = Campaign(_chosen(options.only), _sides(options.side), folder, options.quick, console)
    begun = time.monotonic()
    rows = campaign.play()
    found = report.problems(rows, complete=not options.only)
    if options.json:
        print(json.dumps(report.as_json(rows), indent=1))
    else:
        report.show(rows, console)
    if not options.only and not options.side:
        report.write(rows, campaign.portraits, PAGE, quick=options.quick, server=_server_version(folder))
    for problem in found:
        console.print(f"✘ {problem}", markup=False, highlight=False)
    console.print(f"{len(rows)} rows, {len(found)} problems, {time.monotonic() - begun:.0f} s")
    if found or options.keep:
        console.print(f"logs and effects: {folder}")
    else:
        shutil.rmtree(folder)
    return bool(found)


def _end_at_once(number: int, _: object) -> None:
    """Leaves no process behind: every one that this call started carries its mark."""
    for pid in (*marked(f"{CAMPAIGN}={os.environ[CAMPAIGN]}"), *_postmasters()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(128 + number)


def _postmasters() -> Iterator[int]:
    """PostgreSQL writes its title over its environment, and so over the mark; but its process id into its data."""
    for file in (Path(tempfile.gettempdir()) / os.environ[CAMPAIGN]).rglob("postmaster.pid"):
        with suppress(OSError, ValueError):
            yield int(file.read_text().splitlines()[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer jobs, shorter silences, one run of each")
    parser.add_argument("--only", action="append", default=[], metavar="W1", help="this window or scenario; repeatable")
    parser.add_argument("--side", choices=[side.name for side in SIDES], help="this side alone")
    parser.add_argument("--json", action="store_true", help="every figure and every reason on standard output")
    parser.add_argument("--keep", action="store_true", help="keep the logs and effect files of runs that passed")
    return parser.parse_args()


def _chosen(only: Sequence[str]) -> list[Scenario]:
    chosen = [each for each in SCENARIOS if not only or each.window in only or each.name in only]
    return sorted(chosen, key=lambda each: WINDOWS.index(each.window))


def _sides(only: str | None) -> list[Side]:
    return [side for side in SIDES if only in (None, side.name)]


def _server_version(folder: Path) -> str:
    with Server(folder / "version") as server, server.client() as client:
        info: dict[str, Any] = client.info("server")
    with_name = info.get("server_name", "redis")
    return f"{with_name} {info.get(f'{with_name}_version', info['redis_version'])}"


if __name__ == "__main__":
    sys.exit(main())
