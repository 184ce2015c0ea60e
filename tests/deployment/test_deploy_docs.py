"""docs/deploy.md against the code and the compose file."""

import re
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from penstock.config import Settings
from tasks.config import TaskSettings
from tests.deployment import compose as reading
from tests.deployment.dockerfile import image_environment

PAGE = (reading.ROOT / "docs" / "deploy.md").read_text()


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first heading this is."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[1].splitlines()]


def test_the_table_of_settings_is_what_the_code_says() -> None:
    """When it is not: the rows that this test expects are the ones to write there."""
    expected = [_row(field) for settings in (Settings, TaskSettings) for field in fields(settings)]
    assert _rows("variable") == expected, "\n" + "\n".join(f"| {' | '.join(row)} |" for row in expected)


def _row(field: Field[Any]) -> list[str]:
    variable = field.metadata["variable"]
    return [f"`{variable}`", _default(field.metadata["default"]), _place(variable), field.metadata["doc"]]


def _default(default: Any) -> str:
    try:
        value = default({"var": Path("var")}) if callable(default) else default
    except ValueError:
        return "embedded"
    if isinstance(value, Path) and value.is_absolute():
        value = value.relative_to(Path.cwd())
    if isinstance(value, tuple):
        value = ",".join(value)
    return f"`{value}`" if value or value == 0 else "none"


def _place(variable: str) -> str:
    declared = reading.read()["services"]["worker-cpu"]["environment"]
    if variable in image_environment():
        return "`Dockerfile`"
    return "`.env`" if declared[variable] is None else "`docker-compose.yml`"


def test_the_table_of_services_names_each_service() -> None:
    assert [row[0] for row in _rows("service")] == [f"`{name}`" for name in reading.read()["services"]]


def test_the_seconds_of_a_stop_are_those_of_the_compose_file() -> None:
    worker = reading.read()["services"]["worker-cpu"]
    assert f"`PENSTOCK_DRAIN_SECONDS` ({worker['environment']['PENSTOCK_DRAIN_SECONDS']} here)" in PAGE
    assert f"`stop_grace_period` ({worker['stop_grace_period'].removesuffix('s')} s)" in PAGE


def test_the_services_that_commands_name_exist() -> None:
    named = re.findall(r"docker compose (?:exec -T|run --rm) (\S+)|--scale (\S+)=\d", PAGE)
    assert named
    assert {first or second for first, second in named} <= set(reading.read()["services"])
