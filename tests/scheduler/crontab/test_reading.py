"""A crontab becomes entries and remarks, and entries become a module of schedules."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.scheduler import Cron, Schedule, timetable
from penstock.scheduler.crontab.module import LONGEST_SECONDS, render_module
from penstock.scheduler.crontab.reading import MOST_CHARACTERS, Allowed, Entry, Reading, Remark, read_crontab
from tasks import shell
from tests.live import ROOT

BACKUP = "/usr/local/bin/backup"
ALLOWED = Allowed(
    {"backup": frozenset({BACKUP}), "tar": frozenset({"/bin/tar", "/usr/bin/tar"}), "mail": frozenset()},
    frozenset({"TARGET"}),
)
WORDS = [
    *(
        "*",
        "5",
        "1-5",
        "*/7",
        "mon",
        "@daily",
        "@reboot",
        "backup",
        BACKUP,
        "/bin/tar",
        "tar",
        "rm",
        "root",
        "%",
        "\\%",
    ),
    *(
        "TARGET=",
        "CRON_TZ=",
        "Europe/Berlin",
        "RANDOM_DELAY=",
        "MAILTO=",
        "X = ",
        '"',
        "'",
        "\\",
        "|",
        ">/dev/null",
        "2>&1",
    ),
    *(
        "$X",
        "{fire_time}",
        "#",
        "-",
        "\r",
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        " ",
        "\t",
        "ä",
        "\x00",
        "\ud800",
        "\u2028",
        "x" * 150,
    ),
]
CRONTABS = st.lists(st.sampled_from(WORDS), max_size=40).map("".join) | st.text()
LINES = st.lists(st.sampled_from(WORDS[16:]), max_size=12).map(lambda words: f"0 5 * * * backup {''.join(words)}")


def read(text: str, **options: Any) -> Reading:
    return read_crontab(text, ALLOWED, **options)


def entry(text: str, **options: Any) -> Entry:
    """The only one, of lines that leave nothing to remark."""
    reading = read(text, **options)
    assert reading.remarks == ()
    (made,) = reading.entries
    return made


def remark(text: str, **options: Any) -> Remark:
    """The only one."""
    (made,) = read(text, **options).remarks
    return made


def lost(text: str, **options: Any) -> str:
    """Why a crontab of one line becomes nothing."""
    reading = read(text, **options)
    assert (reading.entries, [each.is_lost for each in reading.remarks]) == ((), [True])
    return reading.remarks[0].why


@settings(max_examples=400, deadline=None)
@given(CRONTABS, st.booleans())
def test_of_any_text_each_line_becomes_an_entry_a_setting_or_a_remark(text: str, system: bool) -> None:
    reading = read(text, system=system)
    entries, losses = {each.number for each in reading.entries}, {each.number for each in reading.lost}
    told = entries | {*reading.settings} | {each.number for each in reading.remarks}
    lines = enumerate(text.split("\n"), 1)
    assert told == {number for number, line in lines if line.strip() and not line.lstrip().startswith("#")}
    assert entries.isdisjoint(losses)


def test_a_line_is_a_command_with_arguments() -> None:
    made = entry("\n# nightly\n  30 2 * * 1-5\tbackup --all  'a b' \"it's\"\n")
    assert (made.number, made.expression, made.command) == (3, "30 2 * * 1-5", "backup")
    assert made.arguments == ("--all", "a b", "it's")
    assert (made.stdin, made.environment, made.timezone, made.jitter) == (None, {}, None, 0.0)
    assert made.text == "30 2 * * 1-5\tbackup --all  'a b' \"it's\""


@pytest.mark.parametrize(
    "when",
    ["*/5 9-17 * * *", "0 0 1,15 jan-MAR *", "0 4 * * SUN,wed", "@daily", "@HOURLY", "0 0 * * 7", "5-55/10 * * * *"],
)
def test_ranges_steps_names_and_nicknames_are_read(when: str) -> None:
    assert entry(f"{when} backup").expression == when


@pytest.mark.parametrize(
    ("when", "complaint"),
    [
        ("61 * * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("@fortnightly", "five fields"),
        ("0~59 * * * *", "Bad minute"),
        ("9" * 3900 + " * * * *", "Bad minute"),
    ],
)
def test_times_that_cannot_be_read_are_said(when: str, complaint: str) -> None:
    assert complaint in lost(f"{when} backup")


def test_a_start_of_the_machine_is_no_time() -> None:
    assert "enqueue the job when your service starts" in lost("@reboot backup")


@pytest.mark.parametrize("line", ["backup", "* * * * backup", "0 5 * * *", "1 5 cron.daily run-parts /etc", "a-b=c"])
def test_a_line_that_is_neither_variable_nor_job_is_said(line: str) -> None:
    assert lost(line).startswith("neither a variable nor five fields")


def test_a_command_is_known_by_its_name_and_by_its_path() -> None:
    reading = read(f"@daily {BACKUP}\n@daily backup\n@daily /bin/tar\n@daily /usr/bin/tar\n")
    assert [each.command for each in reading.entries] == ["backup", "backup", "tar", "tar"]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("rm -rf /", "rm is not allowed; add it to TASKS_SHELL_ALLOW"),
        ("/opt/rm", "/opt/rm is not allowed; add it to TASKS_SHELL_ALLOW"),
        ("/opt/backup", f"/opt/backup is not allowed, backup is {BACKUP}; write one path"),
        ("bin/clean", "bin/clean is not an absolute path"),
        ("./backup", "./backup is not allowed, backup is"),
        ("cd /srv", r"it needs a shell (its own command cd)"),
        ("root backup", "root is not allowed; add it to TASKS_SHELL_ALLOW; a system crontab, which names users"),
        ("''", " is not allowed"),
        ("# nothing", "there is no command"),
        ("TARGET=x", "there is no command"),
    ],
)
def test_a_command_that_is_not_allowed_is_said_with_what_to_do(command: str, complaint: str) -> None:
    assert complaint in lost(f"@daily {command}")


@pytest.mark.parametrize(
    "command", ["cd /srv && backup", "backup | mail root", 'backup "$HOME"', "backup *.tar", "backup; tar", "backup &"]
)
def test_what_needs_a_shell_goes_into_a_script(command: str) -> None:
    why = lost(f"@daily {command}")
    assert why.startswith("it needs a shell (")
    assert why.endswith("put it into a script and add that to TASKS_SHELL_ALLOW, e.g. /usr/local/bin/backup")


def test_output_into_a_file_can_be_left_out() -> None:
    assert "(a redirection: >>); leave it out, as output is kept" in lost("@daily backup >> /var/log/backup.log 2>&1")


def test_output_that_is_thrown_away_is_kept_and_remarked() -> None:
    reading = read("@daily backup -q >/dev/null 2>&1")
    assert reading.entries[0].arguments == ("-q",)
    assert [(each.number, each.is_lost) for each in reading.remarks] == [(1, False)]
    assert "(>/dev/null 2>&1); here it is kept" in reading.remarks[0].why


@pytest.mark.parametrize(
    ("line", "arguments", "stdin"),
    [
        ("mail root%Hello%World", ("root",), "Hello\nWorld\n"),
        ("mail root%Hello%", ("root",), "Hello\n"),
        ("mail root%Hello%%", ("root",), "Hello\n\n"),
        ("mail root%", ("root",), None),
        (r"mail -s 100\% root%5\% of \n", ("-s", "100%", "root"), "5% of \\n\n"),
    ],
)
def test_what_is_behind_a_percent_sign_is_read_by_the_command(
    line: str, arguments: tuple[str, ...], stdin: str | None
) -> None:
    made = entry(f"@daily {line}")
    assert (made.arguments, made.stdin) == (arguments, stdin)


def test_quotes_do_not_protect_a_percent_sign() -> None:
    """Cron looks for it before any shell does."""
    assert "quotes that do not match" in lost("@daily mail 'a%b'")


def test_an_allowed_variable_holds_for_the_lines_that_follow() -> None:
    reading = read("@daily backup\nTARGET = a b \n@daily backup\nTARGET=' c '\n@daily TARGET=d backup\n@daily backup")
    assert [each.environment for each in reading.entries] == [{}, {"TARGET": "a b"}, {"TARGET": "d"}, {"TARGET": " c "}]
    assert (reading.settings, reading.remarks) == ((2, 4), ())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("MAILTO=root", "nobody is sent mail"),
        ("SHELL=/bin/bash", "no shell reads"),
        ("PATH=/opt/bin", "found by TASKS_SHELL_ALLOW"),
        ("HOME=/srv", "start in /"),
        ("PGHOST=db", "add it to TASKS_SHELL_ENVIRONMENT if it matters"),
        ("RANDOM_DELAY=soon", "a number of minutes up to 1440"),
        ("RANDOM_DELAY=1441", "a number of minutes up to 1440"),
    ],
)
def test_a_variable_that_loses_its_meaning_is_remarked_and_the_lines_are_carried_over(
    line: str, complaint: str
) -> None:
    made = remark(f"{line}\n@daily backup")
    assert (made.number, made.text, made.is_lost) == (1, line, False)
    assert complaint in made.why
    assert len(read(f"{line}\n@daily backup").entries) == 1


def test_without_a_receiver_there_was_no_mail_to_lose() -> None:
    assert entry('MAILTO=""\n@daily backup').command == "backup"


def test_a_variable_with_quotes_that_do_not_match_is_said() -> None:
    assert "quotes do not match" in lost("TARGET='a' b")


def test_a_variable_before_a_command_must_be_allowed() -> None:
    assert lost("@daily PGHOST=db backup").startswith("it sets PGHOST; add that to TASKS_SHELL_ENVIRONMENT")


def test_a_time_zone_holds_for_the_lines_that_follow() -> None:
    reading = read("@daily backup\nCRON_TZ=Europe/Berlin\n@daily backup\nCRON_TZ=\n@daily backup")
    assert [each.timezone for each in reading.entries] == [None, "Europe/Berlin", None]


def test_lines_in_a_time_zone_that_nobody_knows_are_not_carried_over() -> None:
    reading = read("CRON_TZ=Europe/Berln\n@daily backup\nCRON_TZ=UTC\n@daily backup")
    assert [each.number for each in reading.entries] == [4]
    assert [each.number for each in reading.lost] == [1, 2]
    assert all("did you mean Europe/Berlin?" in each.why for each in reading.lost)


def test_the_time_zone_of_commands_changes_no_times() -> None:
    """Neither Debian's cron nor cronie looks at it."""
    reading = read_crontab("TZ=Europe/Berlin\n@daily backup", Allowed(ALLOWED.commands, frozenset({"TZ"})))
    assert (reading.entries[0].timezone, reading.entries[0].environment) == (None, {"TZ": "Europe/Berlin"})
    assert [each.why for each in reading.remarks if "write CRON_TZ" in each.why]


def test_minutes_of_random_delay_are_seconds_of_jitter_from_there_on() -> None:
    reading = read("@daily backup\nRANDOM_DELAY=5\n@daily backup\nRANDOM_DELAY=0\n@daily backup")
    assert [each.jitter for each in reading.entries] == [0.0, 300.0, 0.0]


def test_a_system_crontab_names_users_who_are_remarked() -> None:
    reading = read("17 * * * * www-data backup --all", system=True)
    assert (reading.entries[0].command, reading.entries[0].arguments) == ("backup", ("--all",))
    assert reading.remarks[0].why == "it runs as the workers' user, and not as www-data"
    assert not reading.lost


def test_a_system_crontab_without_a_user_is_said() -> None:
    assert "names a user before the command" in lost("@daily backup", system=True)


def test_the_sign_that_a_line_is_not_logged_is_left_out() -> None:
    assert read("-*/5 * * * * root backup", system=True).entries[0].expression == "*/5 * * * *"


def test_a_line_that_a_windows_editor_has_ended_is_read() -> None:
    assert entry("@daily backup --all\r\n").arguments == ("--all",)


@pytest.mark.parametrize("mark", ["\x00", "\x1b", "\xa0", "\u202e", "\udcff"])
def test_a_line_with_what_cannot_be_seen_is_not_carried_over(mark: str) -> None:
    assert "which is no text or cannot be seen" in lost(f"@daily backup {mark}")


def test_a_line_that_no_cron_would_read_whole_is_not_carried_over() -> None:
    assert "longer than 4,000 characters" in lost("@daily backup ".ljust(MOST_CHARACTERS + 1, "x"))


@pytest.mark.parametrize("text", ["{fire_time}", "{fire_time:%Y}", "{firetime}", "{previous_fire_time}"])
def test_braces_that_a_schedule_would_fill_in_are_not_carried_over(text: str) -> None:
    assert "write this one by hand" in lost(f"@daily backup '{text}'".replace("%", "\\%"))


def test_names_come_from_commands_and_are_unique() -> None:
    reading = read("@daily backup\n@daily tar\n@daily backup\n@daily backup", prefix="db1 ")
    assert [each.name for each in reading.entries] == ["db1 backup", "db1 tar", "db1 backup 2", "db1 backup 3"]


def declared(module: str) -> tuple[Schedule, ...]:
    """What a module declares, after its execution."""
    names: dict[str, Any] = {}
    exec(compile(module, "made.py", "exec"), names)  # noqa: S102  made a moment ago, by us
    return timetable(names["SCHEDULES"])


CRONTAB = f"""\
RANDOM_DELAY=10
CRON_TZ=Europe/Berlin
TARGET=a b
30 2 * * 1-5 {BACKUP} --all 'it''s' "say \\"hi\\"" >/dev/null 2>&1
RANDOM_DELAY=0
CRON_TZ=
@hourly mail -s "100\\% dön" root%Hello%World
*/5 * * * * backup # noqa
{",".join(map(str, range(59)))} * * * * tar {"word " * 40}{"x" * 300}
"""


def test_a_module_declares_what_was_read() -> None:
    first, second, third, fourth = declared(render_module(read(CRONTAB), "crontab"))
    assert (first.name, first.task, first.when) == ("backup", shell.run.name, Cron("30 2 * * 1-5"))
    assert (first.timezone, first.overlap, first.catch_up, first.jitter) == ("Europe/Berlin", "allow", "none", 600.0)
    assert first.args == ("backup", ["--all", "its", 'say "hi"'])
    assert first.kwargs == {"timeout_seconds": LONGEST_SECONDS, "environment": {"TARGET": "a b"}}
    assert second.args == ("mail", ["-s", "100% dön", "root"])
    assert second.kwargs["stdin"] == "Hello\nWorld\n"
    assert (third.timezone, third.jitter, third.args) == (None, 0.0, ("backup",))
    assert len(fourth.args[1]) == 41


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, max_size=4).map("\n".join))
def test_whatever_was_read_is_declared_as_it_is(text: str) -> None:
    reading = read(text)
    for made, wanted in zip(declared(render_module(reading, text)), reading.entries, strict=True):
        assert (made.name, made.when, made.args[0]) == (wanted.name, Cron(wanted.expression), wanted.command)
        assert tuple(made.args[1] if len(made.args) > 1 else ()) == wanted.arguments
        assert made.kwargs.get("stdin") == wanted.stdin
        assert made.kwargs.get("environment", {}) == wanted.environment


def test_the_task_runs_what_was_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_SHELL_ALLOW", "sh")
    monkeypatch.setenv("TASKS_SHELL_ENVIRONMENT", "TARGET")
    line = """TARGET=tape\n@daily sh -c 'cat; echo "to $TARGET: $1"' - "a b" >/dev/null%one%two"""
    reading = read_crontab(line, Allowed({"sh": frozenset()}, frozenset({"TARGET"})))
    (made,) = declared(render_module(reading, "crontab"))
    assert shell.run(*made.args, **made.kwargs)["stdout"] == "one\ntwo\nto tape: a b\n"


def test_a_command_may_take_as_long_as_the_task_lets_it() -> None:
    assert LONGEST_SECONDS == shell.LONGEST_SECONDS


def test_a_module_says_what_differs_from_cron_and_each_line_that_it_comes_from() -> None:
    module = render_module(read(CRONTAB), "/etc/cron.d/\u202eevil\n")
    assert module.isascii()
    assert "# From /etc/cron.d/\\u202eevil\\n.\n" in module
    assert 'overlap="allow"' in module.partition("\nfrom ")[0]
    assert (
        "    # line 4: 30 2 * * 1-5 /usr/local/bin/backup --all 'it''s' \"say \\\"hi\\\"\" >/dev/null 2>&1\n" in module
    )


def test_a_crontab_without_entries_is_an_empty_module() -> None:
    assert declared(render_module(read("# nothing\n"), "crontab")) == ()


@pytest.mark.parametrize("text", [CRONTAB, "", f"@daily backup {'fmt: off ' * 30}# noqa\n"])
def test_ruff_finds_nothing_to_mend(text: str, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(render_module(read(text), "x" * 200))
    ruff = Path(sys.executable).with_name("ruff")
    for words in (["format", "--check"], ["check", "--no-cache"]):
        command = [ruff, *words, "--config", ROOT / "pyproject.toml", path]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


def test_every_comment_stays_a_comment() -> None:
    """Of the longest line that is read."""
    line = f"@daily backup {'# type: ignore ' * 300}"[:MOST_CHARACTERS]
    tree = ast.parse(render_module(read(line), "crontab"), type_comments=True)
    assert tree.type_ignores == []
