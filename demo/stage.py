"""The demo's system: the one that `make up` runs, on data of its own and with its output in a file."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from demo.accounts import Accounts, write_note_command
from demo.plan import FAILS
from demo.reconcile import FOLDER
from demo.sales_data import make_sales_database
from demo.site import Site, running_site
from penstock import Settings
from penstock.embedded import Supervisor, prepared_system, system_processes
from penstock.embedded.system import System
from penstock.errors import EmbeddedServerError, SettingsError
from penstock.flower import Access

ROWS = 100_000
START_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """A running system.

    Attributes:
        folder: everything that this run leaves behind.
        flower: address of Flower.
    """

    settings: Settings
    folder: Path
    accounts: Accounts
    site: Site
    flower: str
    supervisor: Supervisor


@contextmanager
def running_system() -> Iterator[Stage]:
    """Servers, workers, beat, Flower and the local site; at the end nothing of them is left running.

    Raises:
        PenstockError: the environment is broken, a server does not answer, or a process ended at once.
    """
    with ExitStack() as stack:
        system = stack.enter_context(prepared_system())
        if system.announcement:
            print(system.announcement, flush=True)
        folder = _empty_folder(system.settings.var)
        accounts = Accounts(folder)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        site = stack.enter_context(running_site(accounts, secret))
        environment = (
            system.environment | _task_settings(folder, accounts, site, secret) | _flower_port(system.settings)
        )
        print(f"making a sales database of {ROWS:,} rows …", flush=True)
        make_sales_database(folder / "sales.db", ROWS)
        # This process submits, and loads the same app: from here on it sees what the workers see.
        os.environ.update(environment)
        log = stack.enter_context((folder / "processes.log").open("w"))
        supervisor = stack.enter_context(_supervisor(system, environment, log))
        flower = Access.load(system.settings).url
        stage = Stage(system.settings, folder, accounts, site, flower, supervisor)
        _wait_until_ready(stage)
        yield stage


def _supervisor(system: System, environment: Mapping[str, str], log: TextIO) -> Supervisor:
    from workers import app  # reads the environment that was just made

    processes = system_processes("workers", app.profiles, system.settings)
    return Supervisor(processes, environment, output=log, trouble=system.trouble)


def _empty_folder(var: Path) -> Path:
    folder = var / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _task_settings(folder: Path, accounts: Accounts, site: Site, secret: str) -> dict[str, str]:
    """What the demo's tasks may reach: the local site, the generated database, two harmless commands.

    Raises:
        SettingsError: a comma in the folder's path would end an entry of a list.
    """
    # Relative, as the workers run in this process's folder: what stands above it may contain anything.
    near = os.path.relpath(folder)
    if "," in near:
        raise SettingsError(
            [f"PENSTOCK_VAR: the demo cannot use {near} because of the comma; set it to another folder"]
        )
    return {
        "TASKS_EGRESS_ALLOW": "127.0.0.0/8",
        "TASKS_WEBHOOK_SECRETS": f"default={secret}",
        "TASKS_DATABASES": f"sales=sqlite:///{near}/sales.db",
        "TASKS_REPORTS_FOLDER": str(accounts.reports),
        "TASKS_SALES_WEBHOOK": f"{site.address}/hooks",
        "TASKS_SHELL_ALLOW": f"{os.path.relpath(write_note_command(folder))},{FAILS}",
    }


def _flower_port(settings: Settings) -> dict[str, str]:
    """Flower's port, or a free one where that is taken: the demo must not fail because `make up` runs.

    Raises:
        SettingsError: Flower's variables cannot be used.
    """
    access = Access.load(settings)
    family = socket.AF_INET6 if ":" in access.address else socket.AF_INET
    for port in (access.port, 0):
        with suppress(OSError), socket.create_server((access.address, port), family=family) as attempt:
            return {"FLOWER_PORT": str(attempt.getsockname()[1])}
    raise SettingsError([f"FLOWER_ADDRESS: nothing can listen on {access.address}; correct it, or leave it out"])


def _wait_until_ready(stage: Stage) -> None:
    """Returns when every worker answers and Flower listens."""
    from workers import app

    deadline = time.monotonic() + START_SECONDS
    missing = {profile.name for profile in app.profiles if not profile.by_hand}
    while missing or not _listens(stage.flower):
        if trouble := stage.supervisor.trouble():
            raise EmbeddedServerError(f"{trouble}; its output is in {stage.folder / 'processes.log'}")
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"not ready after {START_SECONDS:g} s (no answer from: {', '.join(sorted(missing)) or 'Flower'}); "
                f"see {stage.folder / 'processes.log'}"
            )
        for answer in app.control.ping(timeout=0.5):
            missing -= {name.partition("@")[0] for name in answer}


def _listens(address: str) -> bool:
    at = urlsplit(address)
    with suppress(OSError), socket.create_connection((at.hostname, at.port), timeout=1):
        return True
    return False
