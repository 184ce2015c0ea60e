"""How the commands sit in Celery's command line: light, quiet in other projects, errors as one sentence."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from celery import Celery

from penstock.cli.audit import audit
from penstock.cli.check import check
from penstock.cli.command import Command, Group
from penstock.cli.failures import failures
from penstock.cli.jobs import jobs
from penstock.cli.ledger import ledger as ledger_group
from penstock.cli.queues import queues
from penstock.cli.release import release
from penstock.cli.schedules import schedules
from penstock.cli.why import why
from penstock.cli.workers import workers
from penstock.errors import PenstockError
from tests.cli.conftest import Ledger, run_with
from tests.conftest import deployment

ROOT = Path(__file__).parent.parent.parent
COMMANDS: tuple[click.Command, ...] = (
    audit,
    check,
    failures,
    jobs,
    ledger_group,
    queues,
    release,
    schedules,
    why,
    workers,
)
HEAVY = {"celery", "kombu", "redis", "sqlalchemy", "alembic", "rich"}


def verbs() -> Iterator[click.Command]:
    """Every command that does something."""
    for command in COMMANDS:
        yield from command.commands.values() if isinstance(command, click.Group) else [command]


def celery(variables: dict[str, str], *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs `celery` as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "celery", *arguments],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def quick_deployment(quick_ledger: Ledger, redis_server: str, tmp_path: Path) -> dict[str, str]:
    """The variables of a deployment with one job."""
    quick_ledger.fail("one")
    return deployment(redis_server, quick_ledger.url, tmp_path)


@pytest.mark.parametrize(
    "module", ["audit", "check", "failures", "jobs", "ledger", "queues", "release", "why", "workers"]
)
def test_importing_a_command_loads_nothing_heavy(module: str) -> None:
    code = f"import penstock.cli.{module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "click" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_in_another_project_celery_loads_the_commands_and_nothing_that_changes_it(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("from celery import Celery\napp = Celery('other', broker='memory://')\n")
    (tmp_path / "run.py").write_text(
        "import sys\nfrom celery.bin.celery import celery\n"
        "celery(['-A', 'other', 'report'], standalone_mode=False)\n"
        "print(sorted(name for name in sys.modules if name in ('penstock.cli.jobs', 'penstock.app')))\n"
    )
    result = subprocess.run(
        [sys.executable, "run.py"],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "transport:memory" in result.stdout
    assert result.stdout.splitlines()[-1] == "['penstock.cli.jobs']"


@pytest.mark.parametrize(
    "command", [check, failures.commands["list"], jobs.commands["list"], ledger_group.commands["status"]]
)
def test_an_app_that_is_not_ours_is_told_what_to_do(command: click.Command) -> None:
    result = run_with(Celery("other", set_as_current=False), command)
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: ")
    assert "celery -A workers" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_project_finds_its_commands_through_celery(quick_deployment: dict[str, str]) -> None:
    result = celery(quick_deployment, "-A", "workers", "jobs", "list", "--state", "failed")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\t")[0] == "one"
    assert result.stderr == ""


def test_a_refusal_is_one_sentence_without_a_traceback(quick_deployment: dict[str, str]) -> None:
    result = celery(quick_deployment, "-A", "workers", "jobs", "show", "nothing")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("penstock: the ledger has no job nothing")
    assert "Traceback" not in result.stderr


def test_the_project_s_own_check_passes(quick_deployment: dict[str, str]) -> None:
    result = celery(quick_deployment, "-A", "workers", "check")
    assert result.returncode == 0, result.stdout + result.stderr


def test_broken_settings_are_all_named_by_check(quick_deployment: dict[str, str]) -> None:
    broken = {**quick_deployment, "REDIS_URL": "amqp://here", "PENSTOCK_RETENTION": "many"}
    result = celery(broken, "-A", "workers", "check")
    assert result.returncode == 1
    assert "REDIS_URL" in result.stderr
    assert "PENSTOCK_RETENTION" in result.stderr
    assert "Traceback" not in result.stderr


def on_a_terminal(variables: dict[str, str], *arguments: str) -> str:
    """What `celery` writes to a terminal of 80 columns."""
    outer, inner = pty.openpty()
    shape = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", *arguments], env=variables | shape, cwd=ROOT, stdin=inner, stdout=inner
    )
    os.close(inner)
    written = b""
    while chunk := _read(outer):
        written += chunk
    os.close(outer)
    assert process.wait(20) == 0
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # The other end is closed: the process has ended.
        return b""


def test_a_terminal_gets_a_table_in_colour(quick_deployment: dict[str, str]) -> None:
    text = on_a_terminal(quick_deployment, "-A", "workers", "jobs", "list")
    assert "1 job: " in text
    assert "\x1b[1;31m" in text


def test_no_color_is_respected(quick_deployment: dict[str, str]) -> None:
    text = on_a_terminal(quick_deployment | {"NO_COLOR": "1"}, "-A", "workers", "jobs", "list")
    assert "1 job: " in text
    assert "\x1b[1;31m" not in text
    assert "31m" not in text


def test_every_error_of_ours_is_caught_at_one_place() -> None:
    @click.group(cls=Group)
    def noun() -> None:
        """A noun."""

    @noun.command("verb")
    def verb() -> None:
        raise PenstockError("this happened; do that")

    @click.command(cls=Command)
    def bare() -> None:
        raise PenstockError("this happened; do that")

    for command, arguments in ((noun, ["verb"]), (bare, [])):
        result = run_with(None, command, *arguments)
        assert result.exit_code == 1
        assert result.stderr == "penstock: this happened; do that\n"


@pytest.mark.parametrize("command", list(verbs()), ids=lambda command: command.name)
def test_every_verb_has_an_example_in_its_help(command: click.Command) -> None:
    assert "celery -A workers " in run_with(None, command, "--help").stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_documents_its_exit_codes(command: click.Command) -> None:
    assert "Exit code: 0" in run_with(None, command, "--help").stdout


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_page_of_commands_knows_every_verb_and_option(command: click.Command) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    for verb in command.commands.values() if isinstance(command, click.Group) else [command]:
        path = verb.name if verb is command else f"{command.name} {verb.name}"
        assert f"celery -A workers {path}" in page
        for option in (name for parameter in verb.params for name in parameter.opts if name.startswith("--")):
            assert option in page
