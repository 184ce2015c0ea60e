"""The reports' folder: names, and files that appear whole or not at all."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.reporting import shelf
from tasks.reporting.errors import NameRefused


@pytest.mark.parametrize("name", ["a", "weekly", "finance/weekly-2026.01", "A_b/c/d/e.csv", "0"])
def test_a_plain_name_is_taken(name: str) -> None:
    assert shelf.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        "a\\b",
        "a b",
        "a\x00",
        "a\n",
        "é",
        "x" * 101,
        "a/b/c/d/e",
        None,
        7,
        "-rf",
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(NameRefused, match="the name"):
        shelf.check_name(name)


def test_files_appear_together_at_the_end(tmp_path: Path) -> None:
    with shelf.drafting(tmp_path) as draft:
        draft.text("sub/a.csv").write("one")
        draft.binary("b.bin").write(b"two")
        assert shown(tmp_path) == []
    assert shown(tmp_path) == ["b.bin", "sub/a.csv"]
    assert shelf.find(tmp_path, "sub/a.csv").read_text() == "one"


def test_an_error_leaves_the_old_files_and_no_new_ones(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    with suppress(KeyboardInterrupt), shelf.drafting(tmp_path) as draft:
        draft.text("a.csv").write("half")
        draft.text("b.csv").write("half")
        raise KeyboardInterrupt
    assert (tmp_path / "a.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_two_drafts_of_one_file_do_not_mix(tmp_path: Path) -> None:
    with shelf.drafting(tmp_path) as first:
        first.text("a.csv").write("first")
        with shelf.drafting(tmp_path) as second:
            second.text("a.csv").write("second")
        assert (tmp_path / "a.csv").read_text() == "second"
    assert (tmp_path / "a.csv").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with shelf.drafting(tmp_path) as draft:
            draft.text("a.csv").write("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.csv").symlink_to(tmp_path / "secret")
    with pytest.raises(NameRefused, match="leads out"):
        shelf.find(tmp_path / "reports", "a.csv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no a\.csv"):
        shelf.find(tmp_path, "a.csv")


def shown(folder: Path) -> list[str]:
    """The files that are not hidden."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not path.name.startswith("."))
