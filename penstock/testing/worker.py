"""A worker of the tests, in a process group of its own: ``python -m penstock.testing.worker FILE``.

The file says which app, which servers, and at which step of which job the worker is to die; the test kit writes it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from penstock.config import Settings
from penstock.engine.processes import tie_to_parent
from penstock.testing import steps
from penstock.testing.sandbox import application
from penstock.testing.servers import KitSettings
from penstock.testing.watching import Sent, Watch, watching


@dataclass(frozen=True)
class Plan:
    """What such a worker is told."""

    app: str
    modules: list[tuple[str, str]]
    """Names and files of modules that declare tasks, beside those that the app imports."""
    key_prefix: str
    queues: list[str]
    starts: str
    """The file into which ids of jobs are written whose body begins."""
    sent: str
    """The file into which first messages of jobs are written that are sent here."""
    step: str
    """Empty: at none."""
    job: str
    after_call: str

    def write(self, path: Path) -> None:
        """Into a file for nobody else."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))


def main(path: str) -> None:
    """Until it dies, or is asked to end."""
    tie_to_parent()
    plan = Plan(**json.loads(Path(path).read_text()))
    base = Settings.load()
    values = {field.name: getattr(base, field.name) for field in fields(Settings)}
    app = application(plan.app, KitSettings(**values, key_prefix=plan.key_prefix))
    for name, file in plan.modules:
        _import(name, file)
    if plan.step:
        steps.arm(app, plan.step, plan.job, plan.after_call)
    steps.count_starts(app, plan.starts)  # Around all else: a body that dies at once has begun.
    watch = Watch(base.database_url)
    watch.listeners.append(partial(_write, os.open(plan.sent, os.O_WRONLY | os.O_APPEND | os.O_CREAT)))
    options = ["-c", "1", "-l", "WARNING", "-Q", ",".join(plan.queues), "-n", f"testing-{os.getpid()}@%h"]
    with watching(watch):  # In all processes that are forked from this one.
        app.worker_main(["worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat"])


def _write(file: int, sent: list[Sent]) -> None:
    for each in sent:
        line = json.dumps({"queue": each.queue, "due_ms": each.due_ms, "payload": each.payload})
        os.write(file, f"{line}\n".encode())


def _import(name: str, file: str) -> None:
    """By its name, or where that is known to pytest alone, from its file."""
    try:
        import_module(name)
    except ImportError:
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "__main__":
    main(sys.argv[1])
