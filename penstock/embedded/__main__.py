"""`python -m penstock.embedded`: a whole system in the foreground, or, after `--`, a command beside its servers."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from celery.app.utils import find_app

from penstock.embedded import signals
from penstock.embedded.commands import system_processes
from penstock.embedded.supervisor import Supervisor
from penstock.embedded.system import System, prepared_system
from penstock.errors import DeclarationError, PenstockError
from penstock.profile import Profile

NOT_FOUND = 127
SIGNALLED = 128
INTERRUPTED = SIGNALLED + 2


def main(arguments: Sequence[str]) -> int:
    """Runs it and returns the exit code."""
    options, command = _parsed(arguments)
    try:
        with signals.handled(signals.interrupt), prepared_system() as system:
            if system.announcement:
                print(system.announcement, file=sys.stderr, flush=True)
            return _run_command(command, system.environment) if command else _run_system(options.app, system)
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parsed(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m penstock.embedded",
        usage="%(prog)s [-A APP] [-- COMMAND ...]",
        description="Runs workers, beat and Flower in the foreground, or COMMAND instead of them. A Valkey of its own "
        "stands in for an absent REDIS_URL, SQLite for an absent DATABASE_URL.",
    )
    parser.add_argument("-A", "--app", default="workers", help="the Celery app (default: %(default)s)")
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    command = list(arguments[end + 1 :])
    if end < len(arguments) and not command:
        parser.error("give a command after --")
    return options, command


def _run_system(app: str, system: System) -> int:
    # The app reads the environment when it is imported, here as in the processes that are started from it.
    os.environ.update(system.environment)
    processes = system_processes(app, _profiles(app), system.settings)
    return Supervisor(processes, system.environment, trouble=system.trouble).run()


def _profiles(name: str) -> Sequence[Profile]:
    try:
        profiles: Sequence[Profile] = getattr(find_app(name), "profiles", ())
    except (ImportError, AttributeError) as error:
        raise DeclarationError(
            f"the app {name!r} cannot be loaded ({error}); run this in the project's folder, or name the app with -A"
        ) from error
    if not profiles:
        raise DeclarationError(f"the app {name!r} has no profiles; pass them to penstock.app.make_app")
    return profiles


def _run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        print(f"penstock: {command[0]}: {error.strerror}", file=sys.stderr)
        return NOT_FOUND

    def forward(number: int, _: object) -> None:
        if number != signal.SIGINT:  # which the terminal has sent to the command as well
            process.send_signal(number)

    with signals.handled(forward):
        code = process.wait()
    return code if code >= 0 else SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
