"""Each commit's share: the parts together are the whole, and a commit always has the same one."""

import subprocess
from pathlib import Path

import pytest

from tests.share import Share

NAMES = [f"name-{number}" for number in range(300)]


def commit(folder: Path) -> None:
    """One that is the same wherever and whenever it is made."""
    when = {"GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z"}
    who = ["-c", "user.name=ant", "-c", "user.email=ant@host", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    command = ["git", "-C", str(folder), *who, "commit", "--quiet", "--allow-empty", "-m", "Begin"]
    subprocess.run(command, env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), **when}, check=True)


def test_each_name_is_in_exactly_one_part() -> None:
    shares = [Share(part, 3) for part in (1, 2, 3)]
    assert all(sum(share.has(name) for share in shares) == 1 for name in NAMES)
    assert all(sum(map(share.has, NAMES)) > 50 for share in shares)


def test_the_same_commit_has_the_same_share_everywhere(tmp_path: Path) -> None:
    for name in ("one", "other"):
        commit(tmp_path / name)
    shares = {Share.of_commit(tmp_path / name, 1000) for name in ("one", "other")}
    assert len(shares) == 1
    assert 1 <= shares.pop().part <= 1000


def test_without_a_commit_it_is_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    share = Share.of_commit(tmp_path, 3)
    assert all(map(share.has, NAMES))
    assert str(share) == "all"
