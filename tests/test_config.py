"""Settings: read as a whole, every problem at once, each with its remedy."""

import dataclasses
import json
from pathlib import Path

import pytest

from penstock import Settings, load
from penstock.errors import SettingsError
from tasks.config import TaskSettings

REDIS = {"REDIS_URL": "redis://localhost:6379/0"}


def problems(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.load(environ)
    return str(raised.value)


def test_every_problem_is_reported_at_once() -> None:
    text = problems({"REDIS_URL": "amqp://host", "DATABASE_URL": "oracle://x", "PENSTOCK_DRAIN_SECONDS": "soon"})
    assert text.startswith("3 problems")
    assert all(name in text for name in ("REDIS_URL", "DATABASE_URL", "PENSTOCK_DRAIN_SECONDS"))


def test_the_problems_of_several_classes_come_in_one_error() -> None:
    with pytest.raises(SettingsError) as raised:
        load(Settings, TaskSettings, environ={"REDIS_URL": "amqp://host", "TASKS_EGRESS_ALLOW": "everything"})
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["REDIS_URL", "TASKS_EGRESS_ALLOW"]


def test_a_misspelt_setting_is_an_error_that_suggests_the_right_name() -> None:
    assert "did you mean PENSTOCK_DRAIN_SECONDS?" in problems(REDIS | {"PENSTOCK_DRAIN_SECOND": "5"})


def test_a_number_out_of_bounds_names_the_bounds() -> None:
    assert "from 1 to 3600" in problems(REDIS | {"PENSTOCK_DRAIN_SECONDS": "0"})


def test_an_unknown_time_zone_suggests_the_nearest() -> None:
    assert "did you mean Europe/Berlin?" in problems(REDIS | {"PENSTOCK_TIMEZONE": "Europe/Berlim"})


def test_a_password_in_a_refused_address_is_not_shown() -> None:
    assert "geheim" not in problems(REDIS | {"DATABASE_URL": "oracle://user:geheim@host/db"})
    assert "geheim" not in problems({"REDIS_URL": "amqp://user:geheim@host"})


@pytest.mark.parametrize(
    ("variable", "address", "complaint"),
    [
        ("REDIS_URL", "redis://localhost:abc/0", "the port is not a number"),
        ("REDIS_URL", "redis://localhost/abc", "the database is not a number"),
        ("DATABASE_URL", "postgresql://host:abc/db", "the port is not a number"),
        ("DATABASE_URL", "sqlite://", "name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "name a file"),
    ],
)
def test_an_address_that_cannot_work_is_refused(variable: str, address: str, complaint: str) -> None:
    assert complaint in problems(REDIS | {variable: address})


def test_without_a_broker_the_remedy_is_named(tmp_path: Path) -> None:
    text = problems({"PENSTOCK_VAR": str(tmp_path)})
    assert "REDIS_URL: is not set" in text
    assert "make up" in text


def test_the_embedded_server_is_found_through_its_file(tmp_path: Path) -> None:
    (tmp_path / "embedded.json").write_text(json.dumps({"redis_url": "redis://127.0.0.1:4711/0"}))
    assert Settings.load({"PENSTOCK_VAR": str(tmp_path)}).redis_url == "redis://127.0.0.1:4711/0"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"redis_url"'])
def test_a_broken_file_of_the_embedded_server_is_a_problem_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "embedded.json").write_text(content)
    assert "run `make up` again" in problems({"PENSTOCK_VAR": str(tmp_path)})


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    settings = Settings.load(REDIS | {"DATABASE_URL": "", "PENSTOCK_VAR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_common_spelling_of_postgresql_gets_the_right_driver(scheme: str) -> None:
    settings = Settings.load(REDIS | {"DATABASE_URL": f"{scheme}://u:p@h/db"})
    assert settings.database_url == "postgresql+psycopg://u:p@h/db"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    assert "is a file; name a folder" in problems(REDIS | {"PENSTOCK_VAR": str(tmp_path / "var")})


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.load(REDIS).timezone = "Europe/Berlin"  # type: ignore[misc]
