"""What the deployed commands mean to the code, asked once for all tests of this folder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deployment import compose as reading
from tests.deployment.dockerfile import ROOT, instructions

WRONG_COMMANDS = ("celery -A workers worker --nme x", "celery -A workers ledger upgarde", "celery -A workers beat web")


@dataclass(frozen=True)
class Understood:
    """What `celery` makes of the command lines, and what the app is made of.

    Attributes:
        commands: the parameters of each command line, or its error.
        profiles: name, queues and children of each that is not started by hand.
        modules: the project's top-level modules that the app imports.
    """

    commands: dict[str, dict[str, Any]]
    profiles: list[tuple[str, list[str], int]]
    modules: set[str]


@pytest.fixture(scope="session")
def understood() -> Understood:
    """The commands of the compose file and of the image, and some wrong ones."""
    compose = reading.read()
    lines = [*_celery_lines(compose), *WRONG_COMMANDS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.deployment.celery_words"],
        input=json.dumps([line.split() for line in lines]),
        env=reading.environment(compose["services"]["worker-cpu"], reading.complete()) | {"PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Understood(
        commands=dict(zip(lines, answer["commands"], strict=True)),
        profiles=[(name, queues, children) for name, queues, children in answer["profiles"]],
        modules=set(answer["modules"]),
    )


def _celery_lines(compose: reading.Compose) -> Iterator[str]:
    for _, service in reading.services(compose, ours=True):
        yield service["command"]
        test = service.get("healthcheck", {}).get("test", [""])
        if test[0] == "CMD-SHELL":
            yield test[1].replace('"', "").replace("$$HOSTNAME", "host")
    (default,) = (rest for word, rest in instructions() if word == "CMD")
    yield " ".join(json.loads(default))
