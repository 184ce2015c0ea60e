import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update

from penstock.actor import actor
from penstock.app import make_app
from penstock.cli.ledger import ledger as command
from penstock.config import Settings
from penstock.ledger import schema, search
from penstock.ledger.session import reading, writing
from penstock.ledger.tables import audit, jobs
from tests.cli.conftest import Ledger, Run, run_with

NEWEST = schema.newest_revision()


def app_at(url: str):  # type: ignore[no-untyped-def]
    """An app whose ledger is at this address; its Redis is never asked."""
    return make_app(
        "tests", settings=Settings.load({"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": url}), config={}
    )


def test_upgrade_creates_the_tables_and_says_so(run: Run, ledger: Ledger) -> None:
    schema.downgrade(ledger.url, "base")
    result = run(command, "upgrade")
    assert result.exit_code == 0, result.stderr
    assert f"is at revision {NEWEST} now; it had no tables" in result.stdout
    assert schema.revision_of(ledger.url) == NEWEST


def test_a_second_upgrade_changes_nothing_and_says_so(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    result = run(command, "upgrade")
    assert result.exit_code == 0, result.stderr
    assert "nothing to do" in result.stdout
    assert json.loads(run(command, "status", "--json").stdout)["states"]["succeeded"] == 1


def test_in_json_upgrade_gives_both_revisions(run: Run, ledger: Ledger) -> None:
    schema.downgrade(ledger.url, "base")
    found = [json.loads(run(command, "upgrade", "--json").stdout) for _ in range(2)]
    assert [(each["before"], each["revision"]) for each in found] == [(None, NEWEST), (NEWEST, NEWEST)]


def test_upgrade_makes_the_folder_and_the_file_of_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "ledger.db"
    assert run_with(app_at(f"sqlite:///{path}"), command, "upgrade").exit_code == 0
    assert schema.revision_of(f"sqlite:///{path}") == NEWEST


def test_upgrade_refuses_tables_of_a_version_that_it_does_not_know(run: Run, ledger: Ledger) -> None:
    with writing(ledger.url) as connection:
        connection.execute(text("UPDATE penstock_version SET version_num = '9999'"))
    result = run(command, "upgrade")
    assert result.exit_code == 1
    assert "9999, which this version does not know" in result.stderr
    assert schema.revision_of(ledger.url) == "9999"


@pytest.mark.parametrize("verb", ["upgrade", "status"])
def test_a_database_that_does_not_answer_is_one_sentence(verb: str) -> None:
    result = run_with(app_at("postgresql://ada:secret@127.0.0.1:1/ledger"), command, verb)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("penstock: the ledger at postgresql")
    assert "correct DATABASE_URL" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr


def test_status_tells_what_the_ledger_holds(run: Run, ledger: Ledger) -> None:
    begun = datetime.now(UTC)
    ledger.succeed("first")
    ledger.fail("second")
    result = run(command, "status", "--json")
    assert result.exit_code == 0, result.stderr
    status = json.loads(result.stdout)
    assert (status["revision"], status["needed"], status["up_to_date"]) == (NEWEST, NEWEST, True)
    assert status["states"] == {
        "queued": 0,
        "scheduled": 0,
        "blocked": 0,
        "running": 0,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
    }
    oldest, newest = (datetime.fromisoformat(status[name]) for name in ("oldest", "newest"))
    assert begun <= oldest < newest <= begun + timedelta(minutes=1)
    assert status["bytes"] > 8192
    assert status["server"][0].isdigit()


def test_status_for_people_has_the_same(run: Run, ledger: Ledger) -> None:
    ledger.succeed("first")
    ledger.fail("second")
    lines = {line.split()[0]: line for line in run(command, "status").stdout.splitlines()}
    assert f"{NEWEST}, the newest" in lines["revision"]
    assert lines["jobs"].endswith("2: 1 succeeded, 1 failed")
    assert "MB" in lines["size"]
    assert {"database", "oldest", "newest"} <= set(lines)


def test_status_of_an_empty_ledger(run: Run, ledger: Ledger) -> None:
    status = json.loads(run(command, "status", "--json").stdout)
    assert (status["oldest"], status["newest"]) == (None, None)
    assert sum(status["states"].values()) == 0


def test_status_without_tables_fails_with_the_remedy(run: Run, ledger: Ledger) -> None:
    schema.downgrade(ledger.url, "base")
    result = run(command, "status")
    assert result.exit_code == 1
    assert f"none, needed is {NEWEST}" in result.stdout
    assert "ledger upgrade" in result.stderr


def test_status_creates_no_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "ledger.db"
    assert run_with(app_at(f"sqlite:///{path}"), command, "status").exit_code == 1
    assert not path.parent.exists()


def make_old(ledger: Ledger, **age: float) -> None:
    """As if everything so far had happened so long ago."""
    before = datetime.now(UTC) - timedelta(**age)
    with writing(ledger.url) as connection:
        connection.execute(update(jobs).values(updated_at=before))


def test_purge_deletes_by_the_rules_of_the_settings(run: Run, ledger: Ledger) -> None:
    ledger.succeed("succeeded")
    ledger.fail("failed")
    ledger.start("running")
    make_old(ledger, days=31)
    result = run(command, "purge", "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "1 row deleted: 1 succeeded\n"
    states = json.loads(run(command, "status", "--json").stdout)["states"]
    assert (states["failed"], states["running"], states["succeeded"]) == (1, 1, 0)
    with reading(ledger.url) as connection:
        (row,) = connection.execute(select(audit.c.action, audit.c.actor, audit.c.details))
    assert (row.action, row.actor, row.details["deleted"]) == ("purge ledger", actor(), {"succeeded": 1})


def test_purge_takes_other_rules(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    ledger.succeed("other", task="tests.jobs.echo")
    make_old(ledger, hours=3)
    result = run(command, "purge", "--rules", "succeeded=forever,task:*.echo=2h", "--yes", "--json")
    purged = json.loads(result.stdout)
    assert purged["deleted"] == {"succeeded": 1}
    assert purged["rules"].startswith("succeeded=forever,failed=90d")
    assert json.loads(run(command, "purge", "--yes", "--json").stdout)["deleted"] == {}


def test_purge_asks_and_deletes_nothing_without_an_answer(run: Run, ledger: Ledger) -> None:
    ledger.succeed("one")
    make_old(ledger, days=31)
    result = run(command, "purge")
    assert result.exit_code == 1
    assert "What is older than succeeded=30d,failed=90d" in result.stderr
    assert json.loads(run(command, "status", "--json").stdout)["states"]["succeeded"] == 1


def test_purge_names_all_that_is_wrong_with_rules(run: Run, ledger: Ledger) -> None:
    result = run(command, "purge", "--rules", "running=1d,failed=soon")
    assert result.exit_code == 2
    assert "'running' is none of" in result.stderr
    assert "'failed=soon'" in result.stderr


def test_status_counts_so_far_and_says_so(run: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COUNTED", 2)
    for number in range(3):
        ledger.succeed(str(number))
    ledger.fail("failed")
    status = json.loads(run(command, "status", "--json").stdout)
    assert (status["states"]["succeeded"], status["at_least"]) == (2, ["succeeded"])
    assert "3+: 2+ succeeded, 1 failed" in run(command, "status").stdout
