"""When the fault harness passes and when it fails."""

from tests.faults.judge import Verdict
from tests.faults.report import Row, Tally, problems
from tests.faults.scenario import WINDOWS, Scenario
from tests.faults.sides import LATE, OURS, STOCK


def row(stock: Verdict, ours: Verdict, **changes: object) -> Row:
    def act(ground: object) -> None:
        """Never called."""

    scenario = Scenario("W1", "a fault", act, (STOCK, LATE, OURS), 15.0, **changes)  # type: ignore[arg-type]
    return Row(scenario, {STOCK.name: tally(stock), OURS.name: tally(ours)})


def tally(verdict: Verdict) -> Tally:
    counted = Tally()
    counted.add(verdict, 1, [], 15.0)
    return counted


def lost() -> Verdict:
    return Verdict(lost={"job"})


def test_a_row_passes_when_stock_shows_damage_and_ours_none() -> None:
    assert row(lost(), Verdict()).problems == []


def test_a_row_without_damage_in_stock_fails() -> None:
    assert "stock shows no damage" in row(Verdict(), Verdict()).problems[0]


def test_a_row_that_says_why_stock_shows_no_damage_passes() -> None:
    assert row(Verdict(), Verdict(), not_reproducible="timing").problems == []


def test_a_row_with_damage_in_ours_fails() -> None:
    assert "ours shows damage: 1 / 0 / 0" in row(lost(), lost()).problems[0]


def test_a_late_restart_is_damage() -> None:
    assert "late" in row(lost(), Verdict(recovery=15.1)).problems[0]


def test_a_documented_limit_covers_losses() -> None:
    assert row(lost(), lost(), limit="replication", covered=("lost",)).problems == []


def test_a_documented_limit_covers_nothing_doubled() -> None:
    assert row(lost(), Verdict(doubled={"job"}), limit="replication", covered=("lost",)).problems


def test_a_run_that_showed_nothing_fails_its_row() -> None:
    played = row(lost(), Verdict())
    played.tallies[OURS.name].errors.append("the fault did not take place")
    assert "did not take place" in played.problems[0]


def test_each_window_must_have_a_row() -> None:
    found = problems([row(lost(), Verdict())], complete=True)
    assert len(found) == len(WINDOWS) - 1
    assert "W23 has no row" in found


def test_a_row_that_this_machine_cannot_play_says_so_and_passes() -> None:
    skipped = row(lost(), Verdict())
    skipped.tallies = {side: Tally(skipped="skipped: not root") for side in skipped.tallies}
    assert skipped.problems == []
    assert "skipped: not root" in skipped.cells
