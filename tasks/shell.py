"""Commands of this machine, from a list that the deployment allows. No shell reads them."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from penstock import task
from tasks.config import TaskSettings

LONGEST_SECONDS = 3600.0
#: Between SIGTERM and SIGKILL; well within the five seconds that a worker leaves a body after its time limit.
LAST_WORDS_SECONDS = 2.0
KEPT_BYTES = 64 * 1024
MOST_IN_A_PIPE = 1024 * 1024
SHOWN_CHARACTERS = 2000
#: All that a command finds in its environment, beside HOME. The worker's own holds addresses and passwords.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class CommandNotAllowed(Exception):
    """The deployment does not allow this command; add it to TASKS_SHELL_ALLOW. Nothing was started."""


class CommandFailed(Exception):
    """The command could not be started, was ended by a signal, or its exit code is not among those accepted."""


class CommandTimedOut(Exception):
    """The command took too long; it and every process of its group were ended."""


@task(timeout=LONGEST_SECONDS + 30)
def run(
    command: str, arguments: list[str] | None = None, timeout_seconds: float = 60, accept: list[int] | None = None
) -> dict[str, Any]:
    """Runs an allowed command and waits for it.

    It gets its arguments as they are, a closed standard input, ``/`` as its folder and an environment of PATH, LANG
    and HOME only. It is the head of a process group of its own, and when it ends, or its time is up, or the job is
    stopped, whatever is left of the group is ended with it.

    Args:
        command: a name in TASKS_SHELL_ALLOW.
        arguments: one text for each; no shell reads them.
        timeout_seconds: up to an hour.
        accept: exit codes that are right; ``[0]`` if absent.

    Returns:
        ``exit_code``, ``stdout`` and ``stderr`` (the last 64 KiB of each, bytes that are not UTF-8 replaced),
        ``stdout_cut`` and ``stderr_cut`` (bytes left out before them), and ``seconds``.

    Raises:
        CommandNotAllowed, ValueError: before anything is started.
        CommandFailed: its exit code is not accepted; carries the end of what it said on standard error.
        CommandTimedOut: it took longer than ``timeout_seconds``.
    """
    path = _allowed(TaskSettings.load(), command)
    words = _checked_arguments(arguments or [])
    accepted = _checked_codes([0] if accept is None else accept)
    started = time.monotonic()
    deadline = started + _checked_seconds(timeout_seconds)
    out, err = _Tail(), _Tail()
    with _started([str(path), *words]) as process:
        exit_code = _watch(process, deadline, out, err)
    seconds = round(time.monotonic() - started, 3)
    if exit_code is None:
        raise CommandTimedOut(f"{command} took longer than {timeout_seconds:g} s and was ended{err.quoted()}")
    if exit_code not in accepted:
        raise CommandFailed(f"{command} {_how_it_ended(exit_code)} after {seconds:g} s{err.quoted()}")
    return {
        "exit_code": exit_code,
        "stdout": out.text,
        "stderr": err.text,
        "stdout_cut": out.cut,
        "stderr_cut": err.cut,
        "seconds": seconds,
    }


def _allowed(settings: TaskSettings, command: object) -> Path:
    if not settings.shell_allow:
        raise CommandNotAllowed("shell tasks are off here; name the commands that jobs may run in TASKS_SHELL_ALLOW")
    if not isinstance(command, str) or command not in settings.shell_allow:
        allowed = ", ".join(sorted(settings.shell_allow))
        raise CommandNotAllowed(f"{command!r} is not allowed (allowed: {allowed}); add it to TASKS_SHELL_ALLOW")
    return settings.shell_allow[command]


def _checked_arguments(arguments: object) -> list[str]:
    if not isinstance(arguments, list) or not all(_is_argument(word) for word in arguments):
        raise ValueError(f"arguments={arguments!r}: a list of texts without NUL, one for each argument")
    return arguments


def _is_argument(word: object) -> bool:
    # A lone surrogate has no bytes.
    return isinstance(word, str) and "\x00" not in word and word == word.encode("utf-8", "replace").decode()


def _checked_codes(accept: object) -> list[int]:
    if not isinstance(accept, list) or not accept or not all(type(code) is int and 0 <= code < 256 for code in accept):
        raise ValueError(f"accept={accept!r}: a list of exit codes from 0 to 255, such as [0, 1]")
    return accept


def _checked_seconds(seconds: object) -> float:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"timeout_seconds={seconds!r}: seconds, more than 0 and at most {LONGEST_SECONDS:g}")
    return float(seconds)


@contextmanager
def _started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, and the end of its whole group however the block is left: a time limit, too, is an exception."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**ENVIRONMENT, "HOME": str(Path.home())},
            start_new_session=True,
        )
    except OSError as error:
        raise CommandFailed(
            f"{words[0]} cannot be started ({error.strerror}); is it a program, and short enough?"
        ) from error
    try:
        yield process
    finally:
        _end_group(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _watch(process: subprocess.Popen[bytes], deadline: float, out: _Tail, err: _Tail) -> int | None:
    """Reads until the command ends and returns its exit code; None when its time is up.

    A process that the command leaves behind may hold the pipes open for ever, so that their end is not waited for:
    what counts is the end of the command itself.
    """
    with selectors.DefaultSelector() as selector:
        for pipe, tail in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, tail)
        while time.monotonic() < deadline:
            ended = _has_ended(process)
            _read_available(selector, 0 if ended else min(0.05, max(0.0, deadline - time.monotonic())))
            if ended:
                return _reaped(process)
    return None


def _read_available(selector: selectors.BaseSelector, patience: float) -> None:
    """Takes what the pipes hold, after waiting up to ``patience`` seconds for the first of it."""
    if not selector.get_map():
        time.sleep(patience)
        return
    for key, _ in selector.select(patience):
        # One read takes all that a pipe holds, and no more than that: what is written without end waits its turn.
        data = os.read(key.fd, MOST_IN_A_PIPE)
        if data:
            key.data.add(data)
        else:
            selector.unregister(key.fileobj)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the command has ended, without reaping it: until then nobody else can get its process id."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends every process of the group: politely if the command still runs, and for certain.

    The command is not reaped before the group is killed, so its id, which is the group's, cannot belong to a stranger.
    """
    if process.returncode is not None:
        return
    try:
        if not _has_ended(process):
            _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + LAST_WORDS_SECONDS
            while not _has_ended(process) and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _reaped(process: subprocess.Popen[bytes]) -> int:
    _signal_group(process, signal.SIGKILL)
    return process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how_it_ended(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"exited with {exit_code} (where that is right, say accept=[0, {exit_code}])"


class _Tail:
    """The last ``KEPT_BYTES`` of a stream."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.cut = 0

    def add(self, data: bytes) -> None:
        self._kept += data
        surplus = len(self._kept) - KEPT_BYTES
        if surplus > 0:
            del self._kept[:surplus]
            self.cut += surplus

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")

    def quoted(self) -> str:
        """The end of it for an error message."""
        text = self.text.strip()
        return (
            f"; the end of its standard error:\n{text[-SHOWN_CHARACTERS:]}"
            if text
            else "; it said nothing on standard error"
        )
