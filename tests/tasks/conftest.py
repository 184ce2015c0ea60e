"""What the tests of task modules share."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import http
from tests.tasks.site import Site

#: Of the scheme's own form; signs nothing outside of these tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwbm9yZGVy"


@pytest.fixture(autouse=True)
def task_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Task settings of the test's own: loopback may be reached, and reports go to a folder of the test."""
    monkeypatch.setenv("TASKS_EGRESS_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("TASKS_WEBHOOK_SECRETS", f"default={SECRET}")
    monkeypatch.setenv("TASKS_REPORTS_FOLDER", str(tmp_path / "reports"))


@pytest.fixture(autouse=True)
def _fresh_pool() -> Iterator[None]:
    yield
    http.close_pool()


@pytest.fixture
def site() -> Iterator[Site]:
    """A web site on 127.0.0.1."""
    with Site().running() as made:
        yield made


class Names:
    """A stand-in for DNS, which no test can have on loopback: addresses by name, one list per look-up."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self._real: Callable[..., Any] = socket.getaddrinfo

    def look_up(self, host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in self.answers:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(host)
        answers = self.answers[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in self._real(address, port, *args, **kwargs)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names that resolve as the test says."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    return made
