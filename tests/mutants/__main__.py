"""``python -m tests.mutants``: removes every guard of the table in turn; each must turn its test red."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.mutants.guard import Guard
from tests.mutants.runner import Finding, run
from tests.mutants.table import GUARDS
from tests.share import Share

ROOT = Path(__file__).parent.parent.parent
NOT_WELL, MISUSED = 1, 2
LOG_WIDTH = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every guard has turned its test red, 1 when one has not, 2 when no guard has the given name."""
    asked = _parser().parse_args(arguments)
    # The machine reads standard output, so people read the other one.
    console = Console(stderr=asked.json, highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    share = Share.of_commit(ROOT, asked.share)
    if asked.share > 1:
        console.print(f"{share} of the guards, by the hash of this commit")
    chosen = [guard for guard in GUARDS if share.has(guard.name) and _is_asked_for(guard, asked.only)]
    if not chosen:
        console.print(f"no guard is called {' or '.join(asked.only or ['so'])}; --list shows them all")
        return MISUSED
    if asked.list:
        _list(chosen, console, asked.json)
        return 0
    findings = _tried(chosen, console)
    if asked.json:
        print(json.dumps([_plain(finding) for finding in findings], indent=2))
    return 0 if all(finding.is_well for finding in findings) else NOT_WELL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.mutants", description="Removes guards; their tests must notice.")
    parser.add_argument("--only", metavar="NAME", action="append", help="only this guard, or those of a pattern")
    parser.add_argument("--share", metavar="N", type=int, default=1, help="one of N parts, by the commit's hash")
    parser.add_argument("--list", action="store_true", help="show the guards and remove none")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    return parser


def _is_asked_for(guard: Guard, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(guard.name, pattern) for pattern in patterns)


def _list(guards: Sequence[Guard], console: Console, as_json: bool) -> None:
    if as_json:
        print(json.dumps([vars(guard) for guard in guards], indent=2))
        return
    table = Table("guard", "file", "without it", box=None, pad_edge=False)
    for guard in guards:
        table.add_row(Text(guard.name), Text(guard.file), Text(guard.why))
    console.print(table)
    console.print(f"{len(guards)} guards")


def _tried(guards: Sequence[Guard], console: Console) -> list[Finding]:
    """Shows a row as soon as a guard has been tried."""
    started = time.monotonic()
    width = max(len(guard.name) for guard in guards)
    count = 0

    def show(finding: Finding) -> None:
        nonlocal count
        count += 1
        colour = "green" if finding.is_well else "bold red"
        row = Text(f"{count:3}/{len(guards)}  {finding.guard.name:{width}}  ")
        row.append(f"{finding.verdict:11}", colour).append(f" {finding.seconds:5.1f} s  {finding.says}", "dim")
        console.print(row, overflow="ellipsis", no_wrap=True)

    console.print(f"{len(guards)} guards; first their tests as they are …")
    findings = run(ROOT, guards, show)
    _summarise(findings, time.monotonic() - started, console)
    return findings


def _summarise(findings: Sequence[Finding], seconds: float, console: Console) -> None:
    unwell = [finding for finding in findings if not finding.is_well]
    if unwell:
        table = Table("guard", "is", "test", "because", title="not as they must be", box=None, pad_edge=False)
        for finding in unwell:
            guard = finding.guard
            table.add_row(Text(guard.name), Text(finding.verdict), Text(guard.test), Text(finding.says))
        console.print(table)
    console.print(f"{len(findings) - len(unwell)} of {len(findings)} guards turn their test red ({seconds:.0f} s)")


def _plain(finding: Finding) -> dict[str, object]:
    told = {"verdict": finding.verdict.value, "says": finding.says, "seconds": round(finding.seconds, 2)}
    return vars(finding.guard) | told


if __name__ == "__main__":
    sys.exit(main())
