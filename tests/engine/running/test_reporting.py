"""What an attempt says of itself on its way to the keeper: bounded, and never waited for."""

from __future__ import annotations

import logging
import threading

import pytest

from penstock.engine.reporting.attempt import LONGEST_TEXT, POINTS, AttemptReport, Packet, clipped
from penstock.engine.reporting.capture import _text
from penstock.engine.reporting.reporter import MOST_HELD, Reporter
from penstock.ledger.reports import CHUNK_LINES, HEAD, TAIL
from tests.live import wait_for


class Way:
    """A way to the keeper that may have no room."""

    def __init__(self) -> None:
        self.has_room = True
        self.packets: list[Packet] = []

    def __call__(self, packet: Packet) -> bool:
        if self.has_room:
            self.packets.append(packet)
        return self.has_room

    def lines(self) -> list[int]:
        """The numbers of the lines that have come, each in the last form of its chunk."""
        chunks = {number: lines for packet in self.packets for number, lines in packet.chunks}
        return [line[0] for number in sorted(chunks) for line in chunks[number]]


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.fixture
def reporter(way: Way) -> Reporter:
    return Reporter(way)


@pytest.fixture
def report(reporter: Reporter) -> AttemptReport:
    return AttemptReport("id", 1.0, "a:1", reporter, is_repeated=False)


def log(report: AttemptReport, count: int, level: int = logging.INFO, text: str = "text") -> None:
    for _ in range(count):
        report.log(1.0, level, "shop", text)


def test_nothing_is_handed_over_when_nothing_was_said(report: AttemptReport, way: Way) -> None:
    report.end()
    assert way.packets == []


def test_the_end_hands_over_all_that_was_said(report: AttemptReport, way: Way) -> None:
    log(report, 120)
    report.progress(1, 2, None)
    report.end()
    assert way.lines() == list(range(1, 121))
    assert way.packets[-1].progress is not None


def test_what_is_said_while_a_job_runs_is_handed_over_soon(report: AttemptReport, way: Way) -> None:
    report.progress(1, 2, "half")
    wait_for(lambda: way.packets, "it is handed over by itself")
    report.progress(2, 2, "done")
    wait_for(lambda: way.packets[-1].progress[0] == 2, "and so is what comes later")  # type: ignore[index]


def test_many_reports_of_progress_make_few_packets_and_a_bounded_history(report: AttemptReport, way: Way) -> None:
    report._seconds = 0.0
    for number in range(10_000):
        report.progress(number, None, None)
    report.end()
    assert len(way.packets) < 10
    points = [packet.points for packet in way.packets if packet.points is not None][-1]
    assert len(points) <= POINTS + 1
    assert points[0][1] == 0
    assert points[-1][1] == 9_999


def test_of_many_lines_the_first_chunks_and_the_last_ones_wait(report: AttemptReport, way: Way) -> None:
    way.has_room = False
    count = CHUNK_LINES * (HEAD + TAIL + 30)
    log(report, count)
    way.has_room = True
    report.end()
    lines = way.lines()
    assert lines == [*range(1, HEAD * CHUNK_LINES + 1), *range(count - TAIL * CHUNK_LINES + 1, count + 1)]
    assert way.packets[-1].logged == count


def test_behind_schedule_only_warnings_are_kept_and_all_are_counted(
    report: AttemptReport, reporter: Reporter, way: Way
) -> None:
    reporter.is_behind = True
    log(report, 5)
    log(report, 2, logging.WARNING)
    report.end()
    assert way.lines() == [6, 7]
    assert way.packets[-1].logged == 7


def test_without_room_the_reporter_is_behind_until_all_is_handed_over(
    report: AttemptReport, reporter: Reporter, way: Way
) -> None:
    way.has_room = False
    log(report, 1)
    assert not report.flush()
    assert reporter.is_behind
    way.has_room = True
    wait_for(lambda: way.lines() == [1] and not reporter.is_behind, "it has come and all is well again")


def test_a_process_holds_so_much_and_no_more(reporter: Reporter, way: Way) -> None:
    way.has_room = False
    text = "x" * LONGEST_TEXT
    running = [AttemptReport(f"{number}", 1.0, None, reporter, is_repeated=False) for number in range(60)]
    for report in running:
        log(report, 30, logging.ERROR, text)
    assert MOST_HELD < reporter._held <= MOST_HELD + LONGEST_TEXT
    for report in running:
        report.end()
    assert reporter._held <= MOST_HELD


def test_what_has_been_handed_over_is_not_held_any_more(report: AttemptReport, reporter: Reporter) -> None:
    log(report, CHUNK_LINES * 50)
    report.flush()
    log(report, 3)
    report.end()
    assert reporter._held == 0


def test_after_its_end_an_attempt_says_nothing(report: AttemptReport, way: Way) -> None:
    log(report, 1)
    report.end()
    log(report, 1)
    report.progress(1, None, None)
    report.flush()
    assert len(way.packets) == 1


def test_each_packet_fits_its_way(report: AttemptReport, way: Way) -> None:
    log(report, 500, text="\U0001f600" * 4000)
    report.end()
    assert all(sum(len(line[-1]) for _, lines in each.chunks for line in lines) <= 48_000 for each in way.packets)


def test_threads_may_say_something_at_the_same_time(report: AttemptReport, way: Way) -> None:
    threads = [threading.Thread(target=log, args=(report, 200)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.end()
    assert way.lines() == list(range(1, 1001))


def test_of_a_long_text_the_middle_is_left_out() -> None:
    text = clipped("a" * 5_000_000 + "z" * 5_000_000)
    assert text.startswith("aaa")
    assert text.endswith("zzz")
    assert "… 9,992,000 characters are left out here …" in text
    assert clipped("short") == "short"


def test_arguments_that_do_not_fit_their_line_are_told() -> None:
    record = logging.LogRecord("shop", logging.INFO, "", 1, "%d", ("two",), None)
    assert _text(record).startswith("'%d' with arguments that do not fit (TypeError:")
