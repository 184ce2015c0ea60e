"""A pytest plugin for the runs of the mutants: writes to a file what came of each test, and whose code was tested."""

import importlib
import importlib.util
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

REPORT = "MUTANTS_REPORT"
"""Variable with the path of the report."""
PATIENCE = "MUTANTS_PATIENCE"
"""Variable with the seconds after which ``wait_for`` gives up: without its guard a test waits for nothing."""
CHOSEN = "MUTANTS_CHOSEN"
"""Variable with the node ids of the tests to run, one a line. As arguments, one that is not there would stop all."""
_tests: list[dict[str, Any]] = []


def pytest_configure() -> None:
    """Shortens the waiting for conditions, where that is asked for."""
    if seconds := os.environ.get(PATIENCE):
        with suppress(ImportError):
            live: Any = importlib.import_module("tests.live")
            live.wait_for.__defaults__ = (float(seconds),)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the chosen tests, with all their parameters where a node id names none."""
    chosen = set(os.environ[CHOSEN].splitlines())
    items[:] = [item for item in items if not chosen.isdisjoint({item.nodeid, item.nodeid.partition("[")[0]})]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Any:
    """Notes the outcome of each test; of its set-up and tear-down only what is not well."""
    report = yield
    if report.when == "call" or not report.passed:
        _tests.append({"id": item.nodeid, "when": report.when, "outcome": report.outcome} | _described(call))
    return report


def _described(call: "pytest.CallInfo[None]") -> dict[str, str]:
    if call.excinfo is None:
        return {"kind": "", "message": ""}
    lines = str(call.excinfo.value).strip().splitlines()
    message = lines[0] if lines else ""
    # The plugin that bounds a test's time fails it like any other.
    late = call.excinfo.typename == "Failed" and message.startswith("Timeout")
    return {"kind": "Timeout" if late else call.excinfo.typename, "message": message}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Notes a module that cannot be imported."""
    if report.failed:
        message = str(report.longrepr).strip().splitlines()[-1]
        failure = {"id": report.nodeid, "when": "collect", "outcome": "failed", "kind": "Collection"}
        _tests.append(failure | {"message": message})


def pytest_sessionfinish() -> None:
    """Writes the report."""
    found = importlib.util.find_spec("penstock")  # not imported: without its guard it may be unable to load
    package = found.origin if found else ""
    Path(os.environ[REPORT]).write_text(json.dumps({"package": package, "tests": _tests}))
