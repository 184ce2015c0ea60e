"""The judge is judged: on a tiny project whose guards and tests are known, it calls each by its name."""

import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants import table
from tests.mutants.guard import Guard, Moved, require_sound
from tests.mutants.runner import Finding, Verdict, run
from tests.share import Share

ROOT = Path(__file__).parent.parent.parent
LIBRARY = """
def halve(number):
    if number < 0:
        raise ValueError("less than nothing")
    if number > 100:
        raise ValueError("too much")
    return number / 2
"""
TESTS = """
import time
from pathlib import Path
import pytest
from penstock import halve
from tests.live import wait_for

def test_less_than_nothing_is_refused():
    with pytest.raises(ValueError):
        halve(-2)

def test_a_half():
    assert halve(2) == 1

def test_a_half_in_a_sentence():
    assert ("%d" % halve(2)) == "1"

def test_that_was_red_before():
    assert halve(2) == 2

def test_that_is_skipped():
    pytest.skip("never")

def test_that_waits():
    wait_for(lambda: halve(2) == 1, "a half is there")

def once(name):
    note = Path(__file__).with_name(name)
    if not note.exists():
        note.touch()
        raise OSError("the port is taken")

def test_that_is_flaky():
    once("always")
    assert halve(2) == 1

def test_that_is_flaky_without_its_guard():
    if halve(2) != 1:
        once("without")
    assert halve(2) == 1

@pytest.fixture
def half():
    return halve(2) / halve(2)

def test_on_a_fixture(half):
    assert half == 1
"""
BELOW = Guard(
    name="less-than-nothing",
    file="penstock/__init__.py",
    text="    if number < 0:\n",
    replacement="    if False:\n",
    test="tests/test_halve.py::test_less_than_nothing_is_refused",
    why="Nobody knows what half a debt is.",
)
HALF = replace(BELOW, name="half", text="number / 2", replacement="number", test="tests/test_halve.py::test_a_half")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a library of the same name as ours, so that the one that is installed could win."""
    (tmp_path / "penstock").mkdir()
    (tmp_path / "penstock" / "__init__.py").write_text(LIBRARY)
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    (tmp_path / "tests" / "test_halve.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:valkey\n")
    for name in ("live.py", "mutants/reporting.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests" / name)
    return tmp_path


def found(project: Path, *guards: Guard) -> list[Finding]:
    return run(project, guards, lambda _: None)


def verdict(project: Path, guard: Guard) -> tuple[Verdict, str]:
    (finding,) = found(project, guard)
    return finding.verdict, finding.says


def test_a_guard_whose_absence_a_test_notices_is_well(project: Path) -> None:
    told: list[Finding] = []
    findings = run(project, [BELOW, HALF], told.append)
    assert [(finding.guard, finding.verdict) for finding in findings] == [(BELOW, Verdict.RED), (HALF, Verdict.RED)]
    assert sorted(told, key=str) == sorted(findings, key=str)


def test_a_guard_that_no_test_misses_is_reported(project: Path) -> None:
    unguarded = replace(BELOW, text="    if number > 100:\n")
    assert verdict(project, unguarded) == (Verdict.GREEN, "no test notices that it is gone")


def test_a_text_that_has_moved_is_reported_and_the_others_are_tried(project: Path) -> None:
    moved = replace(BELOW, name="moved", text="if number <= 0:")
    twice = replace(BELOW, name="twice", text="raise ValueError")
    nowhere = replace(BELOW, name="nowhere", file="penstock/gone.py")
    findings = found(project, moved, twice, nowhere, HALF)
    assert [finding.verdict for finding in findings] == [Verdict.MOVED] * 3 + [Verdict.RED]
    assert [finding.says for finding in findings[:3]] == [
        "guard has moved: its text is 0 times in penstock/__init__.py",
        "guard has moved: its text is 2 times in penstock/__init__.py",
        "guard has moved: its text is 0 times in penstock/gone.py",
    ]


@pytest.mark.parametrize("test", ["that_was_red_before", "that_is_skipped", "that_is_nowhere"])
def test_a_test_that_is_not_green_with_its_guard_proves_nothing(project: Path, test: str) -> None:
    found_verdict, _ = verdict(project, replace(BELOW, test=f"tests/test_halve.py::test_{test}"))
    assert found_verdict is Verdict.UNSOUND


def test_a_test_that_is_nowhere_costs_no_other_guard_its_verdict(project: Path) -> None:
    nowhere = replace(BELOW, name="nowhere", test="tests/test_halve.py::test_that_is_nowhere")
    no_file = replace(BELOW, name="no file", test="tests/test_nowhere.py::test_that_is_nowhere")
    nor_there = replace(no_file, name="nor there", test="tests/test_zero.py::test_that_is_nowhere")
    findings = found(project, nowhere, no_file, nor_there, BELOW)
    assert [finding.verdict for finding in findings] == [Verdict.UNSOUND] * 3 + [Verdict.RED]


def test_a_replacement_that_does_not_even_load_does_not_count(project: Path) -> None:
    """The module cannot be imported: whatever the guard was for has not been tried."""
    found_verdict, says = verdict(project, replace(BELOW, replacement="    if (:\n"))
    assert found_verdict is Verdict.BROKEN
    assert "Collection" in says


def test_an_error_that_is_no_failed_assertion_counts_only_when_it_is_declared(project: Path) -> None:
    error = replace(HALF, replacement="None", test="tests/test_halve.py::test_a_half_in_a_sentence")
    found_verdict, says = verdict(project, error)
    assert (found_verdict, says.split(":")[0]) == (
        Verdict.BROKEN,
        "(second try) not AssertionError, but TypeError in call",
    )
    assert verdict(project, replace(error, red="TypeError"))[0] is Verdict.RED


def test_an_error_in_a_fixture_does_not_count(project: Path) -> None:
    found_verdict, says = verdict(
        project, replace(HALF, replacement="0", test="tests/test_halve.py::test_on_a_fixture")
    )
    assert found_verdict is Verdict.BROKEN
    assert "ZeroDivisionError in setup" in says


@pytest.mark.parametrize("test", ["that_is_flaky", "that_is_flaky_without_its_guard"])
def test_what_goes_wrong_by_chance_is_tried_again_and_said(project: Path, test: str) -> None:
    found_verdict, says = verdict(project, replace(HALF, test=f"tests/test_halve.py::test_{test}"))
    assert (found_verdict, says.partition(")")[0]) == (Verdict.RED, "(second try")


def test_a_test_that_waits_in_vain_does_not_wait_long(project: Path) -> None:
    (finding,) = found(project, replace(HALF, test="tests/test_halve.py::test_that_waits"))
    assert finding.verdict is Verdict.RED
    assert finding.seconds < 15


def test_the_project_itself_is_never_changed(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    found(project, BELOW)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("guard", "code"), [(BELOW, 0), (replace(BELOW, text="    if number > 100:\n"), 1)])
def test_the_exit_code_says_whether_all_is_well(
    project: Path, guard: Guard, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ROOT", project)
    monkeypatch.setattr(command, "GUARDS", (guard, replace(HALF, text="moved")))
    assert command.main(["--only", guard.name, "--json"]) == code
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["name"], told["verdict"]) == (guard.name, "stays green" if code else "red")
    assert command.main(["--only", "half"]) == 1
    assert command.main(["--only", "misspelt"]) == 2


def test_the_shares_of_a_table_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [replace(HALF, name=f"half-{number}") for number in range(20)]
    monkeypatch.setattr(command, "GUARDS", tuple(asked))
    parts: list[str] = []
    for part in (1, 2, 3):
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as output:
            patch.setattr(Share, "of_commit", lambda *_, part=part: Share(part, 3))
            assert command.main(["--share", "3", "--list", "--json"]) == 0
        parts += [guard["name"] for guard in json.loads(output.getvalue())]
    assert sorted(parts) == sorted(guard.name for guard in asked)


def test_two_guards_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="more than one guard is called half"):
        require_sound([HALF, HALF])


def test_a_guard_that_replaces_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="the replacement is the text itself: half"):
        require_sound([replace(HALF, replacement=HALF.text)])


def test_every_guard_of_the_table_is_where_the_table_says() -> None:
    """Long before CI removes them: whoever moves a guard learns it from the quick tests."""
    require_sound(table.GUARDS)
    for guard in table.GUARDS:
        try:
            guard.locate(ROOT)
        except Moved as error:
            pytest.fail(f"{guard.name}: {error}")
        file, _, function = guard.test.partition("::")
        assert f"def {function.partition('[')[0]}(" in (ROOT / file).read_text(), guard.test
