"""What the task modules read from the environment."""

from pathlib import Path

import pytest

from penstock.errors import SettingsError
from tasks.config import TaskSettings


def load(**variables: str) -> TaskSettings:
    return TaskSettings.load({f"TASKS_{name}": value for name, value in variables.items()})


def test_by_default_nothing_is_allowed() -> None:
    settings = load()
    assert (settings.egress_allow, settings.shell_allow, settings.databases) == ((), {}, {})
    assert settings.shell_environment == frozenset()


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(
            EGRESS_ALLOW="10.0.0.1/8",
            DATABASES="sales=mysql://x",
            SHELL_ALLOW="no-such-program",
            SHEL_ALLOW="ls",
        )
    assert len(caught.value.problems) == 4
    assert "did you mean TASKS_SHELL_ALLOW?" in str(caught.value)


def test_a_database_url_with_a_password_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="the database 'sales' is not") as caught:
        load(DATABASES="sales=mysql://me:hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def test_postgresql_is_reached_by_its_own_driver() -> None:
    assert load(DATABASES="a=postgres://h/x,b=sqlite:////x.db").databases == {
        "a": "postgresql+psycopg://h/x",
        "b": "sqlite:////x.db",
    }


def test_a_webhook_address_is_checked_at_the_start() -> None:
    with pytest.raises(SettingsError, match="credentials"):
        load(SALES_WEBHOOK="https://user:password@example.com/hook")


def test_an_allowed_command_becomes_a_path(tmp_path: Path) -> None:
    program = tmp_path / "backup"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    settings = load(SHELL_ALLOW=f"sh,{program}")
    assert settings.shell_allow["backup"] == program
    assert settings.shell_allow["sh"].is_absolute()


def test_two_commands_of_one_name_are_refused(tmp_path: Path) -> None:
    program = tmp_path / "sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(SettingsError, match="have the same name"):
        load(SHELL_ALLOW=f"sh,{program}")


def test_variables_of_commands_are_named_one_by_one() -> None:
    assert load(SHELL_ENVIRONMENT="PGDATABASE, BACKUP_TARGET").shell_environment == {"PGDATABASE", "BACKUP_TARGET"}


@pytest.mark.parametrize(
    "name",
    [
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PATH",
        "HOME",
        "BASH_ENV",
        "ENV",
        "IFS",
        "PYTHONPATH",
        "PERL5OPT",
        "GIT_SSH",
    ],
)
def test_a_variable_that_makes_a_command_run_other_code_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"TASKS_SHELL_ENVIRONMENT: {name} can make a command run other code"):
        load(SHELL_ENVIRONMENT=f"PGDATABASE,{name}")


@pytest.mark.parametrize(
    "name", ["PATHS", "ENVIRONMENT", "BACKUP_PATH", "RSYNC_PASSWORD", "TZ", "PGPASSFILE", "http_proxy"]
)
def test_a_variable_that_only_looks_alike_is_allowed(name: str) -> None:
    assert load(SHELL_ENVIRONMENT=name).shell_environment == {name}


@pytest.mark.parametrize("name", ["TARGET=x", "1ST", "A B", "Ä", "-"])
def test_what_is_no_name_of_a_variable_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="is no name of a variable"):
        load(SHELL_ENVIRONMENT=name)
