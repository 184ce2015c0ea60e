"""Tasks that hold a secret in every place where a job can hold one."""

from __future__ import annotations

from penstock import task
from tests.flower.live.tasks import wait_at_gate

SECRET = "open-sesame"


@task(queue="default")
def log_in(password: str, settings: dict[str, str]) -> dict[str, str]:
    """Succeeds."""
    return {"user": "vera", "session_token": password + settings["api_key"]}


@task(queue="default")
def be_refused(password: str) -> None:
    """Fails with the secret in its message, and so in its traceback."""
    raise ValueError(f"password={password} is not known at db://penstock:{password}@host/sales")


@task(queue="default")
def log_in_slowly(password: str) -> str:
    """Runs until the test opens the gate."""
    return wait_at_gate() if password else ""
