"""Guards of what is counted and measured of queues, and of what is shown where nobody did."""

from tests.mutants.guard import Guard

COUNTING, ON_COUNTING = "penstock/engine/keeping/counting.py", "tests/engine/test_minutes.py"
SERIES, ON_SERIES = "penstock/ledger/series.py", "tests/ledger/test_series.py"

GUARDS = (
    Guard(
        name="minutes-count-what-is-new",
        file=COUNTING,
        text=" and place not in written.repeated]",
        replacement="]",
        test=f"{ON_COUNTING}::test_what_was_written_before_is_not_counted_again[sqlite]",
        why="What a keeper had counted before it was killed is counted again by the next one.",
    ),
    Guard(
        name="minutes-that-are-written-stay",
        file=COUNTING,
        text="        at = max(minute * self._length, self._oldest)\n",
        replacement="        at = minute * self._length\n",
        test=f"{ON_COUNTING}::test_an_end_that_comes_too_late_makes_no_row_less[sqlite]",
        why="An end that comes very late overwrites all that was counted in its minute.",
    ),
    Guard(
        name="counting-costs-no-outcome",
        file=COUNTING,
        text="        except Exception:  # The outcomes are committed",
        replacement="        except KeyError:  # The outcomes are committed",
        test=f"{ON_COUNTING}::test_an_error_of_counting_costs_no_outcome[sqlite]",
        why="Outcomes are written again and again, and their claims never end, because of a statistic.",
        red="ZeroDivisionError",
    ),
    Guard(
        name="gaps-are-no-zeros",
        file=SERIES,
        text="    return _Ends() if was_there else None\n",
        replacement="    return _Ends()\n",
        test=f"{ON_SERIES}::test_where_nobody_measured_there_is_a_gap_and_no_zero[sqlite]",
        why="A queue that nobody looked at seems to have been idle.",
    ),
)
