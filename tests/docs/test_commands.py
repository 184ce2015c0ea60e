"""docs/commands.md: its table has every command, and what it shows of this deployment is what it is."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from penstock.ledger.schema import newest_revision
from tests.cli.test_commands import COMMANDS
from tests.conftest import NewLedger, deployment
from tests.live import ROOT

PAGE = (ROOT / "docs" / "commands.md").read_text()
TABLE = PAGE.partition("What they have in common")[0]
ROWS = re.findall(r"^\| `celery -A workers ([^`]+)` \|", TABLE, re.MULTILINE)
VERBS = {
    f"{command.name} {verb.name}": verb
    for command in COMMANDS
    if isinstance(command, click.Group)
    for verb in command.commands.values()
} | {str(command.name): command for command in COMMANDS if not isinstance(command, click.Group)}


def rows_of(name: str) -> list[str]:
    return [row for row in ROWS if re.match(rf"{name}(?![\w-])", row)]


@pytest.mark.parametrize("name", VERBS)
def test_every_command_has_its_row_with_options_that_it_has(name: str) -> None:
    rows = rows_of(name)
    assert rows, f"docs/commands.md has no row of {name}"
    options = {option for parameter in VERBS[name].params for option in parameter.opts + parameter.secondary_opts}
    assert set(re.findall(r"--[a-z-]+", " ".join(rows))) <= options


def test_every_row_is_of_a_command() -> None:
    assert [row for row in ROWS if not any(row in rows_of(name) for name in VERBS)] == []


def test_the_check_that_it_shows_is_that_of_this_deployment(
    broker_url: str, new_ledger: NewLedger, tmp_path: Path
) -> None:
    with new_ledger("sqlite") as url:
        command = [sys.executable, "-m", "celery", "-A", "workers", "check", "--json"]
        variables = deployment(broker_url, url, tmp_path)
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True, timeout=60)
    found = {each["name"]: each["text"] for each in json.loads(done.stdout)["findings"]}
    sample = re.search(r"```console\n\$ celery -A workers check\n(.*?)```", PAGE, re.DOTALL)
    assert sample is not None
    shown = {line[3:].split()[0]: line[3:].split(maxsplit=1)[1] for line in sample[1].splitlines() if line[0] in "✔✘"}
    assert list(shown) == list(found)
    assert {name: shown[name] for name in ("schema", "queues")} == {name: found[name] for name in ("schema", "queues")}


def test_every_revision_that_it_shows_is_the_newest() -> None:
    assert set(re.findall(r"revision +(\d{4})", PAGE)) == {newest_revision()}


def test_the_help_of_queues_says_all_that_blocked_counts() -> None:
    told = " ".join((VERBS["queues list"].help or "").split())
    for text in (told, PAGE):
        assert re.search(r"blocked.{0,90}no worker so far knew.{0,60}behind an open.{0,80}failures breakers", text)


def test_the_help_and_the_page_of_watching_agree_on_the_exit_code() -> None:
    told = " ".join((VERBS["jobs watch"].help or "").split())
    assert "1 one has failed or was cancelled, or nobody knows it" in told
    assert "1 one has failed or was cancelled, or nobody knows it" in " ".join(PAGE.split())
