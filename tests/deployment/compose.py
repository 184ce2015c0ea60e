"""docker-compose.yml as Compose reads it: anchors merged, variables filled in."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Compose = dict[str, Any]
Service = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / "ops" / "example.env"
IMAGE = "penstock"

VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?:(?P<sign>:[-?])(?P<word>[^}]*))?\})")
UNITS = {"s": 1, "m": 60, "h": 3600}
SIZES = {"k": 2**10, "m": 2**20, "g": 2**30}


class Missing(Exception):
    """A variable without a value; the message says what to do, as the file does."""


def read() -> Compose:
    """The file, with its variables as they stand there."""
    loaded: Compose = yaml.safe_load(FILE.read_text())
    return loaded


def filled_in(node: Any, variables: Mapping[str, str]) -> Any:
    """The same with every variable replaced; raises Missing for a required one that is absent or empty."""
    if isinstance(node, dict):
        return {key: filled_in(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [filled_in(value, variables) for value in node]
    return VARIABLE.sub(lambda match: _value(match, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    value = variables.get(match["name"], "")
    if not value and match["sign"] == ":-":
        return match["word"]
    if not value:
        raise Missing(f"{match['name']}: {match['word'] or 'no remedy is given'}")
    return value


def texts(node: Any) -> Iterator[str]:
    """Every string in it that is a value."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from texts(value)


def environment(service: Service, variables: Mapping[str, str]) -> dict[str, str]:
    """What the service's process finds, beside its image's own variables."""
    declared = filled_in(service.get("environment", {}), variables)
    handed_on = {name: variables.get(name) for name, value in declared.items() if value is None}
    found = {**declared, **handed_on}
    return {name: str(value) for name, value in found.items() if value is not None}


def services(compose: Compose, *, ours: bool | None = None) -> Iterator[tuple[str, Service]]:
    """All services by name; with ``ours``, only those of this project's image, or only the others."""
    for name, service in compose["services"].items():
        if ours is None or ours == ("build" in service):
            yield name, service


def workers(compose: Compose) -> Iterator[tuple[str, Service]]:
    """The worker services."""
    for name, service in services(compose, ours=True):
        if command(service)[3:4] == ["worker"]:
            yield name, service


def command(service: Service) -> list[str]:
    """The command's words; in this file, commands of our image are plain strings."""
    declared = service.get("command", "")
    return declared.split() if isinstance(declared, str) else list(declared)


def runs_once(compose: Compose, name: str) -> bool:
    """Whether others wait for the end of this service, and not for its start."""
    waiting = (service.get("depends_on", {}).get(name, {}) for _, service in services(compose))
    return any(wait.get("condition") == "service_completed_successfully" for wait in waiting)


def seconds(text: str) -> int:
    """A duration such as 90s or 2m."""
    return int(text[:-1]) * UNITS[text[-1]]


def size(text: str) -> int:
    """Bytes of 512M, 1G or 512mb."""
    number, unit = re.fullmatch(r"(\d+)([kmg])b?", text.lower()).groups()  # type: ignore[union-attr]
    return int(number) * SIZES[unit]


def example() -> dict[str, str]:
    """Every variable of the example environment, the commented ones included, with its value there."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def complete() -> dict[str, str]:
    """The example environment, filled in."""
    return example() | {
        "REDIS_PASSWORD": "0a1b2c",
        "POSTGRES_PASSWORD": "3d4e5f",
        "FLOWER_BASIC_AUTH": "operator:6a7b8c",
        "TASKS_WEBHOOK_SECRETS": "sales=whsec_" + base64.b64encode(bytes(32)).decode(),
    }
