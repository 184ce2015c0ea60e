"""Pages and charts: well-formed, escaped, and drawn to scale."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tasks.reporting import chart, page
from tasks.reporting.chart import Chart, Series
from tasks.reporting.page import Figure, Link, Page, Table

EVIL = "<script>alert('x')</script>\"&\x00"


class Reader(HTMLParser):
    """The tags of a page, and whether each is closed in its turn."""

    VOID = ("meta", "path", "line", "circle", "br")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def bars(labels: list[str], values: list[float | None]) -> Chart:
    return Chart("Title", "Axis", labels, [Series("s", values)], "bars")


def svgs(one: Chart) -> list[ElementTree.Element]:
    """The wide and the narrow drawing, parsed as XML."""
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", chart.draw(one), re.DOTALL)]  # noqa: S314


def test_nothing_from_outside_becomes_markup() -> None:
    made = Page(
        EVIL,
        EVIL,
        [Figure(EVIL, EVIL, EVIL)],
        [
            Chart(EVIL, EVIL, [EVIL, "b"], [Series(EVIL, [1, 2]), Series(EVIL, [2, 1])], "lines"),
            Chart(EVIL, EVIL, [EVIL], [Series(EVIL, [1])], "bars"),
        ],
        Table(EVIL, [EVIL, "b"], [(EVIL, 1), (Link(EVIL, EVIL), {"k": EVIL})], {EVIL: 1}, EVIL),
    )
    text = page.render(made)
    reader = read(text)
    assert "script" not in reader.tags
    assert "\x00" not in text
    assert "&lt;script&gt;" in text


def test_a_page_needs_nothing_from_outside_and_runs_nothing() -> None:
    text = page.render(Page("t", "l", [], [bars(["a"], [1])], Table("t", ["a"], [("x",)], {})))
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(|<script|<link|<img", text)
    assert "prefers-color-scheme:dark" in text.replace(" ", "")


def test_the_table_shows_rows_totals_and_what_was_left_out() -> None:
    table = Table(
        "t", ["name", "amount_paid"], [("a", 1234.5), ("b", None)], {"amount_paid": 1234.5}, "3 rows left out."
    )
    text = page.render(Page("t", "l", [], [], table))
    assert '<th class="number">Amount paid</th>' in text
    assert text.count('<td class="number">1,234.50</td>') == 2
    assert "<td>Total</td>" in text
    assert "3 rows left out." in text


@given(
    some.lists(some.floats(-1e12, 1e12) | some.none(), min_size=1, max_size=40), some.sampled_from(["bars", "lines"])
)
def test_any_numbers_can_be_drawn(values: list[float | None], kind: str) -> None:
    labels = [f"label {number}" for number in range(len(values))]
    for svg in svgs(Chart("t", "a", labels, [Series("s", values), Series("t", values[::-1])], kind)):  # type: ignore[arg-type]
        _, _, width, height = (float(number) for number in svg.attrib["viewBox"].split())
        for element in svg.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert -1 <= float(element.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert -1 <= float(element.get(name, 0)) <= height
            assert "nan" not in (element.get("d") or "")


def test_bars_are_drawn_to_scale() -> None:
    for svg in svgs(bars(["one", "two", "minus"], [10, 20, -10])):
        ends = [float(element.get("x1", 0)) for element in svg if element.get("class") == "zero"]
        lengths = [bar_length(element.get("d") or "") for element in svg.iter() if element.get("class") == "bar"]
        assert len(ends) == 1
        assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.3)
        assert lengths[2] == pytest.approx(-lengths[0], abs=0.3)


def bar_length(path: str) -> float:
    straight, rounded = re.match(r"M[\d.]+ [\d.]+h(-?[\d.]+)a[\d. ]+ (-?[\d.]+) ", path).groups()  # type: ignore[union-attr]
    return float(straight) + float(rounded)


def test_a_gap_breaks_the_line() -> None:
    svg = svgs(Chart("t", "a", list("abcd"), [Series("s", [1, None, 2, 3])], "lines"))[0]
    (path,) = [element.get("d") or "" for element in svg.iter() if (element.get("class") or "").startswith("line")]
    assert re.sub(r"[\d. ]", "", path) == "MML"


def test_an_axis_has_round_numbers_and_covers_every_value() -> None:
    for low, high in ((0, 7), (0, 99_999), (-3, 12), (-5, -1), (0, 0.004), (0, 0)):
        scale = chart._Scale.over([low, high], 0, 100, 5)
        assert scale.low <= min(low, 0) <= max(high, 0) <= scale.high
        assert 2 <= len(scale.ticks) <= 9
        assert 0 in scale.ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1500, "1.5k"), (-2_000_000, "-2M"), (3e9, "3G"), (0.25, "0.25"), (1e15, "1000T")],
)
def test_numbers_on_an_axis_are_short(value: float, text: str) -> None:
    assert chart.compact(value) == text


def test_a_chart_says_what_it_leaves_out() -> None:
    many = [str(number) for number in range(100)]
    assert bars(many, [1.0] * 100).note == "The first 30 of 100 rows are drawn."
    lines = Chart("t", "a", ["x"], [Series(str(number), [1]) for number in range(9)], "lines")
    assert lines.note == "The first 6 of 9 series are drawn."
    assert Chart("t", "a", many, [Series("s", [1.0] * 100)], "lines", rows=5000).note.startswith(
        "The first 100 of 5,000"
    )
