"""One run at a time in a var folder, and an end to what a killed one left behind."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from penstock.embedded import marked
from penstock.errors import EmbeddedServerError

LOCK_FILE = "embedded.lock"


@contextmanager
def run_in(folder: Path) -> Iterator[str]:
    """Makes the folder this process's alone and gives the new run's id; leftovers of the run before are gone then.

    The lock is held by the open file, which no started program inherits: it ends with this process, however that
    ends, and no leftover can hold it.

    Raises:
        EmbeddedServerError: another run is alive in this folder, or the folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedServerError(
            f"the folder {folder} cannot be used ({error.strerror}); make it writable or set PENSTOCK_VAR to another"
        ) from error
    try:
        _lock(descriptor, folder)
        former = _run_of(descriptor)
        if former:
            marked.end_run(former)
        # Only now: until every process of the former run is gone, the file must name it, or the next start after
        # a kill right here would not know them.
        yield _write_new_run(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = _read(descriptor)
        raise EmbeddedServerError(
            f"a system already runs in {folder} (process {owner.get('pid', '?')}, since {owner.get('since', '?')}); "
            "use that one, stop it, or set PENSTOCK_VAR to another folder"
        ) from None


def _run_of(descriptor: int) -> str | None:
    """The run that had the folder before. A copied folder has none: the run in it lives on where it was copied from."""
    content = _read(descriptor)
    return content.get("run") if content.get("file") == _identity(descriptor) else None


def _read(descriptor: int) -> dict[str, str]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # just made, or its first owner has not written yet
    return content if isinstance(content, dict) else {}


def _write_new_run(descriptor: int) -> str:
    run = secrets.token_hex(16)
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    content = {"run": run, "pid": str(os.getpid()), "since": since, "file": _identity(descriptor)}
    text = json.dumps(content).encode()
    # In one call and before it is cut to length: the file names a run at every moment.
    os.pwrite(descriptor, text.ljust(len(os.pread(descriptor, 4096, 0))), 0)
    os.ftruncate(descriptor, len(text))
    return run


def _identity(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev}:{status.st_ino}"
