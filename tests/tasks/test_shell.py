"""Commands of this machine."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tasks import shell
from tasks.shell import CommandFailed, CommandNotAllowed, CommandTimedOut, run
from tests.live import wait_for


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_SHELL_ALLOW", "sh,echo,cat,env,sleep,printf,head,wc")
    monkeypatch.setenv("TASKS_SHELL_ENVIRONMENT", "TARGET,LANG")


def sh(script: str, **options: object) -> dict[str, object]:
    return run("sh", ["-c", script], **options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_a_command_says_comes_back() -> None:
    result = sh("echo out; echo err >&2")
    assert result.pop("seconds") < 10  # type: ignore[operator]
    assert result == {"exit_code": 0, "stdout": "out\n", "stderr": "err\n", "stdout_cut": 0, "stderr_cut": 0}


def test_no_shell_reads_the_arguments() -> None:
    words = ["$HOME", "a b", "; touch /tmp/evil", "`id`", "*", "ä", "-n", ""]
    assert run("printf", ["%s\n", *words])["stdout"].splitlines() == words


def test_shell_tasks_are_off_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKS_SHELL_ALLOW")
    with pytest.raises(CommandNotAllowed, match=r"off here; name the commands .* in TASKS_SHELL_ALLOW"):
        run("echo", ["x"])


@pytest.mark.parametrize("command", ["rm", "/bin/sh", "../sh", "", None, "sh -c", ["sh"]])
def test_a_command_that_is_not_allowed_is_refused(command: str) -> None:
    with pytest.raises(CommandNotAllowed, match=r"is not allowed \(allowed: cat, echo, env"):
        run(command, ["x"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"arguments": "x"}, "arguments="),
        ({"arguments": [1]}, "arguments="),
        ({"arguments": ["a\x00b"]}, "arguments="),
        ({"arguments": ["\ud800"]}, "arguments="),
        ({"timeout_seconds": 0}, "timeout_seconds="),
        ({"timeout_seconds": 3601}, "timeout_seconds="),
        ({"timeout_seconds": "5"}, "timeout_seconds="),
        ({"timeout_seconds": True}, "timeout_seconds="),
        ({"timeout_seconds": float("nan")}, "timeout_seconds="),
        ({"accept": []}, "accept="),
        ({"accept": 0}, "accept="),
        ({"accept": [256]}, "accept="),
        ({"accept": [-9]}, "accept="),
        ({"stdin": b"x"}, "stdin: a text"),
        ({"stdin": "\ud800"}, "stdin: a text"),
        ({"stdin": "ä" * (shell.MOST_INPUT_BYTES // 2) + "x"}, "stdin: 65,537 bytes"),
        ({"environment": ["TARGET=x"]}, "environment: texts"),
        ({"environment": {"TARGET": 1}}, "environment: texts"),
        ({"environment": {"TARGET": "a\x00b"}}, "environment: texts"),
    ],
)
def test_bad_input_is_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        run("echo", **options)  # type: ignore[arg-type]


def test_an_exit_code_that_is_not_accepted_fails_with_the_end_of_standard_error() -> None:
    with pytest.raises(CommandFailed, match=r"sh exited with 3 .*accept=\[0, 3\].*\n.*it went wrong") as caught:
        sh("printf '%5000s' x >&2; echo 'it went wrong' >&2; exit 3")
    assert len(str(caught.value)) < 2500


def test_other_exit_codes_can_be_accepted() -> None:
    assert sh("exit 3", accept=[0, 3])["exit_code"] == 3
    with pytest.raises(CommandFailed, match="exited with 0"):
        sh("exit 0", accept=[3])


def test_a_command_that_dies_of_a_signal_fails() -> None:
    with pytest.raises(CommandFailed, match="was ended by SIGSEGV"):
        sh("kill -SEGV $$")


def test_a_file_that_is_no_program_fails_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    monkeypatch.setenv("TASKS_SHELL_ALLOW", str(broken))
    with pytest.raises(CommandFailed, match="cannot be started"):
        run("broken")


def test_too_many_arguments_fail_clearly() -> None:
    with pytest.raises(CommandFailed, match="Argument list too long"):
        run("echo", ["x" * 1_000_000])


def test_standard_input_is_closed() -> None:
    """Even where the worker's own is open, and would be waited for."""
    reading, writing = os.pipe()
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert run("cat", timeout_seconds=5)["stdout"] == ""
    finally:
        os.dup2(before, 0)
        for descriptor in (reading, writing, before):
            os.close(descriptor)


def test_a_command_reads_what_it_is_given() -> None:
    assert run("cat", stdin="one\ntwo ä\n")["stdout"] == "one\ntwo ä\n"


def test_an_empty_input_is_a_closed_one() -> None:
    assert run("cat", stdin="", timeout_seconds=5)["stdout"] == ""


def test_as_much_as_may_be_given_arrives_while_the_command_writes_more_than_a_pipe_holds() -> None:
    result = sh("head -c 200000 /dev/zero; wc -c >&2", stdin="x" * shell.MOST_INPUT_BYTES, timeout_seconds=10)
    assert (str(result["stderr"]).strip(), result["stdout_cut"]) == (str(shell.MOST_INPUT_BYTES), 200_000 - 65_536)


def test_a_command_that_does_not_read_its_input_is_not_waited_for() -> None:
    assert run("echo", ["done"], stdin="x" * shell.MOST_INPUT_BYTES, timeout_seconds=5)["stdout"] == "done\n"


def test_a_command_that_closes_its_input_early_goes_on() -> None:
    script = "head -c 1; exec <&-; sleep 0.2; echo ' and on'"
    assert sh(script, stdin="x" * shell.MOST_INPUT_BYTES, timeout_seconds=5)["stdout"] == "x and on\n"


def test_a_full_pipe_that_nobody_reads_costs_no_time_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than any pipe holds, so that some of it stays with us."""
    monkeypatch.setattr(shell, "MOST_INPUT_BYTES", 4 * shell.MOST_INPUT_BYTES)
    before = time.process_time()
    with pytest.raises(CommandTimedOut):
        run("sleep", ["60"], timeout_seconds=0.5, stdin="x" * shell.MOST_INPUT_BYTES)
    assert time.process_time() - before < 0.25


def test_an_allowed_variable_reaches_the_command() -> None:
    assert "TARGET=a b" in run("env", environment={"TARGET": "a b"})["stdout"].splitlines()


def test_an_allowed_variable_replaces_the_usual_one() -> None:
    lines = run("env", environment={"LANG": "de_DE.UTF-8"})["stdout"].splitlines()
    assert [line for line in lines if line.startswith("LANG=")] == ["LANG=de_DE.UTF-8"]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "HOME", "target", "", "TARGET=x"])
def test_a_variable_that_is_not_allowed_is_refused_before_anything_starts(name: str, tmp_path: Path) -> None:
    complaint = r"is not allowed \(allowed: LANG, TARGET\); add it to TASKS_SHELL_ENVIRONMENT"
    with pytest.raises(CommandNotAllowed, match=complaint):
        sh(f"touch {tmp_path}/started", environment={name: "x"})
    assert not (tmp_path / "started").exists()


def test_by_default_no_variable_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKS_SHELL_ENVIRONMENT")
    with pytest.raises(CommandNotAllowed, match=r"'TARGET' is not allowed \(allowed: none\)"):
        run("env", environment={"TARGET": "x"})


def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host/x")
    lines = run("env")["stdout"].splitlines()
    assert sorted(line.partition("=")[0] for line in lines) == ["HOME", "LANG", "PATH"]


def test_the_folder_is_the_root() -> None:
    assert sh("pwd")["stdout"] == "/\n"


def test_no_open_file_of_the_worker_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert str(tmp_path) not in str(sh("ls -l /proc/self/fd")["stdout"])


def test_long_output_is_cut_and_the_end_is_kept() -> None:
    result = sh("head -c 5000000 /dev/zero | tr '\\0' x; printf END")
    assert len(str(result["stdout"])) == shell.KEPT_BYTES
    assert str(result["stdout"]).endswith("xEND")
    assert result["stdout_cut"] == 5_000_003 - shell.KEPT_BYTES


def test_bytes_that_are_not_text_are_replaced() -> None:
    assert sh(r"printf 'a\377b\303'")["stdout"] == "a\ufffdb\ufffd"


def test_a_command_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(CommandTimedOut, match=r"took longer than 0\.2 s"):
        run("sleep", ["60"], timeout_seconds=0.2)
    assert time.monotonic() - started < 1.5


def test_the_whole_group_is_ended_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that ignores SIGTERM, and a grandchild in the background."""
    monkeypatch.setattr(shell, "LAST_WORDS_SECONDS", 0.2)
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $! >> {pids}; sh -c 'echo $$ >> {pids}; exec sleep 60' & wait; sleep 60"
    with pytest.raises(CommandTimedOut):
        sh(script, timeout_seconds=0.5)
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 2
    for pid in found:
        wait_for(lambda pid=pid: not is_alive(pid), f"process {pid} has ended", 5)


def test_a_command_gets_a_moment_to_say_goodbye(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with pytest.raises(CommandTimedOut):
        sh(f"trap 'echo bye > {note}; exit' TERM; while :; do sleep 0.05; done", timeout_seconds=0.3)
    assert note.read_text() == "bye\n"


def test_what_a_command_leaves_behind_is_ended_and_not_waited_for(tmp_path: Path) -> None:
    """The process in the background holds the output open."""
    started = time.monotonic()
    result = sh("sleep 60 & echo $!")
    assert time.monotonic() - started < 5
    pid = int(str(result["stdout"]))
    wait_for(lambda: not is_alive(pid), "the process in the background has ended", 5)


def test_a_command_that_writes_without_end_is_ended_in_time() -> None:
    started = time.monotonic()
    with pytest.raises(CommandTimedOut):
        run("cat", ["/dev/zero"], timeout_seconds=0.3)
    assert time.monotonic() - started < 3


def test_a_command_that_closes_its_output_is_waited_for_in_peace() -> None:
    before = time.process_time()
    assert sh("exec >&- 2>&-; sleep 0.5; exit 4", accept=[4])["exit_code"] == 4
    assert time.process_time() - before < 0.25


def test_a_time_limit_of_the_worker_ends_the_group(tmp_path: Path) -> None:
    """Celery raises SoftTimeLimitExceeded in the body from a signal handler."""

    class SoftTimeLimitExceeded(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise SoftTimeLimitExceeded

    pids = tmp_path / "pids"
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            sh(f"echo $$ > {pids}; sleep 60 & echo $! >> {pids}; wait")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not is_alive(pid), f"process {pid} has ended", 5)


def test_no_process_is_left_unreaped() -> None:
    sh("exit 0")
    assert all(is_alive(child.pid) for child in psutil.Process().children())
