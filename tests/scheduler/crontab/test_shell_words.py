"""Commands are split as a shell splits them, and what only a shell understands is refused."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.scheduler.crontab.shell_words import NeedsShell, split, without_discarding

PIECES = ["a", "ä", "7", " ", "  ", "\t", "'", '"', "\\", "#", "=", ":", "~", "{}", "}", "]", "!", "%", "$", "a=~"]


def texts(command: str) -> list[str]:
    return [word.text for word in split(command)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_a_shell_finds_the_same_words(command: str) -> None:
    try:
        words = texts(command)
    except NeedsShell:
        return
    script = f"printf '%s\\0' first {command}"
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode()
    assert said.split("\0")[1:-1] == words


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        ("a | b", "|"),
        ("a || b", "||"),
        ("a && b", "&&"),
        ("a; b", ";"),
        ("a &", "&"),
        ("a > b", ">"),
        ("a >> b", ">>"),
        ("a < b", "<"),
        ("a << b", "<<"),
        ("(a)", "("),
        ("a $B", "$"),
        ('a "${B}"', "$"),
        ("a $(b)", "$("),
        ("a `b`", "`"),
        ('a "`b`"', "`"),
        ("a *", "*"),
        ("a b?", "?"),
        ("a [bc]", "["),
        ("a ~/b", "~"),
        ("A=~/b c", "~"),
        ("a {b,c}", "{"),
        ("a 'b", "'"),
        ('a "b', '"'),
        ("a \\", "\\"),
    ],
)
def test_what_only_a_shell_understands_is_named(command: str, sign: str) -> None:
    with pytest.raises(NeedsShell, match="it needs a shell") as caught:
        split(command)
    assert caught.value.sign == sign


@pytest.mark.parametrize(
    "quoted", ["'a | b > $C `d` * ~'", r'"a | b > \$C \`d\` * ~"', r"a\ \|\ b\ \>\ \$C\ \`d\`\ \*\ \~"]
)
def test_in_quotes_nothing_is_special(quoted: str) -> None:
    assert texts(f"x {quoted}") == ["x", "a | b > $C `d` * ~"]


def test_a_variable_counts_where_its_name_is_not_in_quotes() -> None:
    assert [word.variable for word in split("A='b c' \"B=c\" D=")] == [("A", "b c"), None, ("D", "")]


@pytest.mark.parametrize(
    "redirections",
    [
        ">/dev/null",
        "> /dev/null 2>&1",
        ">>/dev/null  2>>/dev/null",
        "1>/dev/null 2>&1",
        "2>/dev/null",
        "2>&1",
        "&>/dev/null",
        ">& /dev/null",
        "2>&-",
        "</dev/null >/dev/null 2>&1",
    ],
)
def test_discarding_at_the_end_is_left_out(redirections: str) -> None:
    assert without_discarding(f"backup -7 {redirections}") == ("backup -7", redirections)


def test_discarding_needs_no_blank_before_it() -> None:
    assert without_discarding("backup>/dev/null 2>&1") == ("backup", ">/dev/null 2>&1")


@pytest.mark.parametrize(
    "command",
    [
        "backup > /var/log/backup 2>/dev/nul",
        "backup >/dev/null &",
        "backup 2>&1 | mail root",
        r"echo \>/dev/null",
        "echo 12>/dev/null",
        "echo '>/dev/null'",
        "backup 3>/dev/null",
    ],
)
def test_other_redirections_stay(command: str) -> None:
    assert without_discarding(command) == (command, "")
