"""Commands of this machine, from a list that the deployment allows. No shell reads them."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from penstock import task
from tasks.config import TaskSettings

LONGEST_SECONDS = 3600.0
#: Between SIGTERM and SIGKILL; well within the five seconds that a worker leaves a body after its time limit.
LAST_WORDS_SECONDS = 2.0
KEPT_BYTES = 64 * 1024
MOST_INPUT_BYTES = 64 * 1024
MOST_IN_A_PIPE = 1024 * 1024
SHOWN_CHARACTERS = 2000
#: What each command finds in its environment, beside HOME. The worker's own holds addresses and passwords.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class CommandNotAllowed(Exception):
    """The deployment does not allow this command, or a variable that it was to get. Nothing was started.

    Add the command to TASKS_SHELL_ALLOW, or the variable's name to TASKS_SHELL_ENVIRONMENT.
    """


class CommandFailed(Exception):
    """The command could not be started, was ended by a signal, or its exit code is not among those accepted."""


class CommandTimedOut(Exception):
    """The command took too long; it and every process of its group were ended."""


@task(timeout=LONGEST_SECONDS + 30)
def run(
    command: str,
    arguments: list[str] | None = None,
    timeout_seconds: float = 60,
    accept: list[int] | None = None,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Runs an allowed command and waits for it.

    It gets its arguments as they are, ``/`` as its folder, and an environment of PATH, LANG, HOME and what is given
    here. It is the head of a process group of its own, and when it ends, or its time is up, or the job is stopped,
    whatever is left of the group is ended with it.

    Args:
        command: a name in TASKS_SHELL_ALLOW.
        arguments: one text for each; no shell reads them.
        timeout_seconds: up to an hour.
        accept: exit codes that are right; ``[0]`` if absent.
        stdin: what the command reads, up to 64 KiB in UTF-8; it need not read all of it. Closed if absent.
        environment: further variables, whose names are in TASKS_SHELL_ENVIRONMENT.

    Returns:
        ``exit_code``, ``stdout`` and ``stderr`` (the last 64 KiB of each, bytes that are not UTF-8 replaced),
        ``stdout_cut`` and ``stderr_cut`` (bytes left out before them), and ``seconds``.

    Raises:
        CommandNotAllowed, ValueError: before anything is started.
        CommandFailed: its exit code is not accepted; carries the end of what it said on standard error.
        CommandTimedOut: it took longer than ``timeout_seconds``.
    """
    settings = TaskSettings.load()
    path = _allowed(settings, command)
    further = _allowed_variables(settings, {} if environment is None else environment)
    words = _checked_arguments(arguments or [])
    accepted = _checked_codes([0] if accept is None else accept)
    feed = _Feed(_checked_input("" if stdin is None else stdin))
    started = time.monotonic()
    deadline = started + _checked_seconds(timeout_seconds)
    out, err = _Tail(), _Tail()
    with _started([str(path), *words], further, is_fed=bool(feed.left)) as process:
        exit_code = _watch(process, deadline, feed, out, err)
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


def _allowed_variables(settings: TaskSettings, environment: object) -> dict[str, str]:
    if not isinstance(environment, dict) or not all(_is_argument(value) for value in environment.values()):
        # A value may be a password; no message shows one.
        raise ValueError("environment: texts without NUL by the names of their variables")
    for name in environment:
        if name not in settings.shell_environment:
            allowed = ", ".join(sorted(settings.shell_environment)) or "none"
            raise CommandNotAllowed(
                f"the variable {name!r} is not allowed (allowed: {allowed}); add it to TASKS_SHELL_ENVIRONMENT"
            )
    return environment


def _checked_input(stdin: object) -> bytes:
    if not isinstance(stdin, str) or not _has_bytes(stdin):
        raise ValueError(f"stdin: a text, and not {type(stdin).__name__} or what has no UTF-8")
    text = stdin.encode()
    if len(text) > MOST_INPUT_BYTES:
        raise ValueError(f"stdin: {len(text):,} bytes, and a command gets at most {MOST_INPUT_BYTES:,}; name a file")
    return text


def _checked_arguments(arguments: object) -> list[str]:
    if not isinstance(arguments, list) or not all(_is_argument(word) for word in arguments):
        raise ValueError(f"arguments={arguments!r}: a list of texts without NUL, one for each argument")
    return arguments


def _is_argument(word: object) -> bool:
    return isinstance(word, str) and "\x00" not in word and _has_bytes(word)


def _has_bytes(text: str) -> bool:
    """A lone surrogate has none."""
    return text == text.encode("utf-8", "replace").decode()


def _checked_codes(accept: object) -> list[int]:
    if not isinstance(accept, list) or not accept or not all(type(code) is int and 0 <= code < 256 for code in accept):
        raise ValueError(f"accept={accept!r}: a list of exit codes from 0 to 255, such as [0, 1]")
    return accept


def _checked_seconds(seconds: object) -> float:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"timeout_seconds={seconds!r}: seconds, more than 0 and at most {LONGEST_SECONDS:g}")
    return float(seconds)


@contextmanager
def _started(words: list[str], further: Mapping[str, str], *, is_fed: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The process, and the end of its whole group however the block is left: a time limit, too, is an exception."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**ENVIRONMENT, "HOME": str(Path.home()), **further},
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
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _watch(process: subprocess.Popen[bytes], deadline: float, feed: _Feed, out: _Tail, err: _Tail) -> int | None:
    """Writes and reads until the command ends and returns its exit code; None when its time is up.

    A process that the command leaves behind may hold the pipes open for ever, so that their end is not waited for:
    what counts is the end of the command itself.
    """
    with selectors.DefaultSelector() as selector:
        if process.stdin is not None:
            # A command that reads nothing leaves the pipe full, and may not make us wait for it.
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, feed)
        for pipe, tail in ((process.stdout, out), (process.stderr, err)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, tail)
        while time.monotonic() < deadline:
            ended = _has_ended(process)
            _serve_pipes(selector, 0 if ended else min(0.05, max(0.0, deadline - time.monotonic())))
            if ended:
                return _reaped(process)
    return None


def _serve_pipes(selector: selectors.BaseSelector, patience: float) -> None:
    """Takes what the pipes hold and gives what they have room for, after waiting up to ``patience`` seconds."""
    if not selector.get_map():
        time.sleep(patience)
        return
    for key, _ in selector.select(patience):
        if not key.data.serve(key.fd):
            selector.unregister(key.fileobj)
            if key.events & selectors.EVENT_WRITE:
                # The command reads until it is closed.
                cast("IO[bytes]", key.fileobj).close()


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


class _Feed:
    """What a command is still to read."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def serve(self, descriptor: int) -> bool:
        """Writes as much as the pipe has room for; whether anything is left that somebody may read."""
        try:
            self.left = self.left[os.write(descriptor, self.left) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            # It has read what it wanted to know.
            return False
        return bool(self.left)


class _Tail:
    """The last ``KEPT_BYTES`` of a stream."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.cut = 0

    def serve(self, descriptor: int) -> bool:
        """Reads once: all that the pipe holds, and no more, so that what is written without end waits its turn.

        Returns:
            Whether more may come.
        """
        data = os.read(descriptor, MOST_IN_A_PIPE)
        self._kept += data
        surplus = len(self._kept) - KEPT_BYTES
        if surplus > 0:
            del self._kept[:surplus]
            self.cut += surplus
        return bool(data)

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
