"""The stock Celery commands that make up a system."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable

from penstock.config import Settings
from penstock.embedded.process import Process, Service
from penstock.errors import DeclarationError
from penstock.profile import Profile

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104
LOOPBACK = "127.0.0.1"
FLOWER_CONFIG = "flowerconfig.py"


def system_processes(app: str, profiles: Iterable[Profile], settings: Settings) -> list[Process]:
    """A worker for each profile that is not started by hand, beat and Flower.

    Args:
        app: what to pass to `celery -A`; it has these profiles.
        profiles: the kinds of workers.
        settings: how long a worker may finish its jobs.

    Raises:
        DeclarationError: the current folder's flowerconfig.py does not say where Flower listens; by default it is open
            to the whole network, without a password.
    """
    workers = [_worker(app, profile, settings.drain_seconds) for profile in profiles if not profile.by_hand]
    return [*workers, Process("beat", _celery(app, "beat", "--loglevel=INFO")), _flower(app)]


def _worker(app: str, profile: Profile, drain_seconds: float) -> Process:
    command = _celery(
        app,
        "worker",
        "--loglevel=INFO",
        f"--profile={profile.name}",
        # Celery's soft shutdown sleeps for its whole time even when the last job has ended. The supervisor bounds
        # the drain itself, by SIGTERM and then SIGQUIT, which must not sleep again.
        "worker.soft_shutdown_timeout=0",
    )
    return Process(f"worker-{profile.name}", command, patience=drain_seconds)


def _flower(app: str) -> Process:
    try:
        options = runpy.run_path(FLOWER_CONFIG)  # as Flower reads it
        address, port, credentials = options["address"], options["port"], options.get("credentials_file")
    except (FileNotFoundError, KeyError) as error:
        raise DeclarationError(
            f"Flower has no address ({error}); write a {FLOWER_CONFIG} here that takes its options from penstock.flower"
        ) from error
    host = LOOPBACK if address in ANYWHERE else address
    shown = f"[{host}]" if ":" in host else host
    where = f"; user and password are in {credentials}" if credentials else ""
    service = Service(address, port, "FLOWER_PORT", f"Flower is at http://{shown}:{port}/{where}")
    return Process("flower", _celery(app, "flower"), service=service)


def _celery(app: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", app, *arguments)
