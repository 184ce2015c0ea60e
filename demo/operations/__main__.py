"""`python -m demo.operations`: makes the bad day and asks the questions; with pictures and a table of answers."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.operations.day import bad_day
from demo.operations.questions import MOST_CLICKS, MOST_SECONDS, Answer, ask_all
from demo.pictures import QUIET, QUIET_TOO, Unpictured, browser_path
from penstock.errors import PenstockError


def main() -> int:
    """Exit code 0 only when each question was answered in time and with few clicks."""
    asked = argparse.ArgumentParser(prog="python -m demo.operations", description=__doc__)
    asked.add_argument("--pictures", type=Path, metavar="FOLDER", help="save what the browser shows at each answer")
    asked.add_argument("--json", action="store_true", help="the answers, for machines")
    options = asked.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    try:
        answers = _answers(options.pictures)
    except (PenstockError, Unpictured) as error:
        print(f"operations: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps([_plain(answer) for answer in answers]))
    else:
        _print(answers)
    return 0 if all(answer.is_good for answer in answers) else 1


def _answers(pictures: Path | None) -> Sequence[Answer]:
    from playwright.sync_api import sync_playwright

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="penstock-operations-") as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=[*QUIET, *QUIET_TOO])
        try:
            with bad_day(Path(folder), tell) as day:
                return ask_all(day, browser, pictures, tell)
        finally:
            browser.close()


def _plain(answer: Answer) -> dict[str, object]:
    asked = {"name": answer.question.name, "question": answer.question.text, "answer": answer.text}
    return {**asked, "seconds": round(answer.seconds, 2), "clicks": answer.clicks}


def _print(answers: Sequence[Answer]) -> None:
    table = Table(caption=f"each within {MOST_SECONDS:g} s and {MOST_CLICKS} clicks", box=None)
    for heading in ("question", "answer", "seconds", "clicks"):
        table.add_column(heading, overflow="fold")
    for answer in answers:
        style = "" if answer.is_good else "bold red"
        table.add_row(answer.question.text, answer.text, f"{answer.seconds:.1f}", str(answer.clicks), style=style)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
