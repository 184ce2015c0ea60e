"""What `schedules import` prints and writes."""

import json
from pathlib import Path

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from penstock.cli.crontab_import import allowed
from penstock.cli.schedule_import import import_crontab_command
from tests.cli.conftest import run_with

BACKUP = "/usr/local/bin/backup"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_SHELL_ALLOW", f"tar, {BACKUP}")
    monkeypatch.setenv("TASKS_SHELL_ENVIRONMENT", "TARGET,PGDATABASE")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def crontab(tmp_path: Path) -> Path:
    """With one line that is carried over, one with a loss, and one that is lost."""
    path = tmp_path / "crontab"
    path.write_text(f"TARGET=x\n0 2 * * * {BACKUP} --all\n@hourly tar czf a.tgz >/dev/null\n@daily rm -rf /\n")
    return path


def imported(*arguments: str | Path) -> Result:
    app = Celery("other", set_as_current=False)
    app.conf.timezone = "Europe/Berlin"
    return run_with(app, import_crontab_command, *map(str, arguments))


def test_the_module_goes_to_stdout_and_the_remarks_to_stderr(crontab: Path) -> None:
    result = imported(crontab)
    assert result.exit_code == 3
    compile(result.stdout, "made.py", "exec")
    assert 'shell.run.bind("backup", ["--all"], timeout_seconds=3600, environment={"TARGET": "x"})' in result.stdout
    assert result.stderr.splitlines() == [
        "line 3: @hourly tar czf a.tgz >/dev/null",
        "  carried over with a loss: cron throws output away or merges it (>/dev/null); here it is kept, as stdout and"
        " stderr",
        "line 4: @daily rm -rf /",
        "  not carried over: rm is not allowed; add it to TASKS_SHELL_ALLOW",
    ]


def test_a_crontab_of_which_all_is_carried_over_is_a_success(tmp_path: Path) -> None:
    (tmp_path / "crontab").write_text("@daily tar --version 2>&1\n")
    assert imported(tmp_path / "crontab").exit_code == 0


def test_a_file_is_written_and_the_table_tells_what_is_in_it(crontab: Path, tmp_path: Path) -> None:
    result = imported(crontab, "--output", tmp_path / "moved.py", "--prefix", "db1 ")
    assert (result.exit_code, result.stderr) == (3, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["db1 backup  0 2 * * *  backup --all", "db1 tar     @hourly    tar czf a.tgz"]
    assert lines[-2].startswith(f"2 schedules in {tmp_path}/moved.py, 1 line not carried over; times without CRON_TZ")
    assert "are read in Europe/Berlin" in lines[-2]
    assert '"db1 backup"' in (tmp_path / "moved.py").read_text()


def test_a_file_that_is_there_is_overwritten_only_with_force(crontab: Path, tmp_path: Path) -> None:
    module = tmp_path / "moved.py"
    module.write_text("mine")
    result = imported(crontab, "--output", module)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"penstock: {module} is there already; name another file, or overwrite it with --force\n"
    assert module.read_text() == "mine"
    assert imported(crontab, "--output", module, "--force").exit_code == 3
    assert "SCHEDULES" in module.read_text()


def test_a_file_that_cannot_be_written_is_one_sentence(crontab: Path, tmp_path: Path) -> None:
    result = imported(crontab, "--output", tmp_path / "none" / "moved.py")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"penstock: {tmp_path}/none/moved.py cannot be written (No such file")


def test_json_has_entries_remarks_and_the_module(crontab: Path) -> None:
    result = imported(crontab, "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (3, "")
    assert [entry["name"] for entry in said["entries"]] == ["backup", "tar"]
    assert [(remark["number"], remark["is_lost"]) for remark in said["remarks"]] == [(3, False), (4, True)]
    assert said["module"] == imported(crontab).stdout
    assert said["output"] is None


def test_a_system_crontab_names_users(tmp_path: Path) -> None:
    (tmp_path / "crontab").write_text("@daily root backup\n")
    result = imported(tmp_path / "crontab", "--system")
    assert result.exit_code == 0
    assert "it runs as the workers' user, and not as root" in result.stderr


def test_options_replace_what_the_environment_allows(crontab: Path) -> None:
    result = imported(crontab, "--allow", "/usr/bin/rm", "--allow", "cron-is-not-here", "--environment", "OTHER")
    assert "line 1: TARGET=x\n  carried over with a loss" in result.stderr
    assert "backup is not allowed" in result.stderr
    assert 'shell.run.bind("rm", ["-rf", "/"], timeout_seconds=3600)' in result.stdout


def test_standard_input_is_read_and_what_is_not_utf8_is_remarked() -> None:
    context = CLIContext(app=Celery("other", set_as_current=False), no_color=False, workdir=None)
    given = b"@daily tar --version\n@daily tar \xff\n"
    result = CliRunner().invoke(import_crontab_command, ["-"], input=given, obj=context)
    assert result.exit_code == 3
    assert "# From standard input.\n" in result.stdout
    assert "line 2: @daily tar ?\n  not carried over: it holds '\\udcff'" in result.stderr


def test_a_crontab_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert imported(tmp_path / "none").exit_code == 2


def test_a_file_that_is_no_crontab_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(2_000_000)
    result = imported(tmp_path / "disk")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is longer than 1,048,576 bytes" in result.stderr


def test_lines_of_other_people_do_not_operate_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "crontab").write_text("@daily \x1b[31mrm\n")
    assert "\x1b" not in imported(tmp_path / "crontab").output


def test_a_long_line_is_cut_where_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "crontab").write_text(f"@daily rm {'x' * 5000}\n")
    assert imported(tmp_path / "crontab").stderr.splitlines()[0] == f"line 1: @daily rm {'x' * 190}…"


def test_where_two_folders_are_one_a_command_is_known_by_both_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usr = tmp_path / "usr"
    usr.mkdir()
    (tmp_path / "bin").symlink_to(usr)
    monkeypatch.setattr("penstock.cli.crontab_import.FOLDERS", (tmp_path / "bin", usr, tmp_path / "none"))
    found = allowed([f"{usr}/backup", "/opt/other", "known-by-name-only"], ["TARGET"])
    assert found.commands["backup"] == {f"{usr}/backup", f"{tmp_path}/bin/backup"}
    assert found.commands["other"] == {"/opt/other"}
    assert found.commands["known-by-name-only"] == frozenset()
    assert found.variables == {"TARGET"}
