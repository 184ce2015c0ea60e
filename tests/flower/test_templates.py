"""Our templates: each compiles, and none of them shows a value that nobody has escaped."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from flower.urls import settings

from penstock.flower.loader import OURS, PREFIX, Loader
from penstock.flower.page import Page
from penstock.flower.routes import ROUTES
from penstock.flower.show import Show

FOLDER = OURS / PREFIX
TEMPLATES = sorted(path.name for path in FOLDER.glob("*.html"))
ESCAPING = {
    **{f"show.{name}": "show.py" for name in vars(Show) if not name.startswith("_")},
    "job_link": "page.py",
    "chart": "charts.bar_chart and charts.line_chart",
    "sparkline": "charts.sparkline",
    "strip": "outcomes.outcome_strip",
    "life_chart": "life_chart.life_chart",
    "family_chart": "family_chart.family_chart",
    "memory_meter": "meter.meter",
    "ran_meter": "meter.meter",
    "xsrf_form_html": "Tornado",
}
"""What gives HTML with everything escaped, and where it does. Whoever adds a word here has read that function."""


def raw_expressions(text: str) -> list[str]:
    return [found.strip() for found in re.findall(r"\{%\s*raw\s+(.+?)\s*%\}", text)]


def unescaped(expression: ast.expr) -> Iterator[str]:
    """The parts of an expression that are neither constant nor made by what escapes."""
    match expression:
        case ast.Constant():
            return
        case ast.Call(func=function) if ast.unparse(function) in ESCAPING:
            return
        case ast.Name(id=name) if name in ESCAPING:
            return
        case ast.IfExp(body=body, orelse=other):
            yield from (*unescaped(body), *unescaped(other))
        case ast.BinOp(left=text, op=ast.Mult()):
            yield from unescaped(text)
        case _:
            yield ast.unparse(expression)


def problems(text: str) -> list[str]:
    return [part for each in raw_expressions(text) for part in unescaped(ast.parse(each, mode="eval").body)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_template_compiles_with_all_that_it_includes(name: str) -> None:
    loader = Loader(settings["template_path"])
    text = (FOLDER / name).read_text()
    for each in (f"{PREFIX}{name}", *re.findall(r'(?:include|extends) "([^"]+)"', text)):
        assert loader.load(each).code


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_does_not_escape_is_escaped_already(name: str) -> None:
    assert problems((FOLDER / name).read_text()) == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_turns_the_escaping_off(name: str) -> None:
    assert not re.search(r"\{%\s*autoescape|\{%\s*module\s+(?!Template\()", (FOLDER / name).read_text())


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("job.task", ["job.task"]),
        ("show.redaction(x)", ["show.redaction(x)"]),
        ("show.text(a) if a else b", ["b"]),
        ("show.text(a) + b", ["show.text(a) + b"]),
        ("show.text(a) if a else ''", []),
        ("'</li>' * -step", []),
    ],
)
def test_a_value_that_nobody_has_escaped_is_found(expression: str, told: list[str]) -> None:
    assert problems(f"<b>{{% raw {expression} %}}</b>") == told


def with_included(name: str) -> str:
    """A template with all that it includes."""
    text = (FOLDER / name).read_text()
    return text + "".join(with_included(each) for each in re.findall(rf'include "{PREFIX}([^"]+)"', text))


def read_by(page: type[Page]) -> set[str]:
    """Names of what a page's functions return in a dictionary: variables of its template."""
    (tree,) = ast.parse(dedent(inspect.getsource(page))).body
    returned = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    keys = [key for value in returned if isinstance(value, ast.Dict) for key in value.keys]
    return {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


@pytest.mark.parametrize("page", [page for _, page, _ in ROUTES], ids=[name for *_, name in ROUTES])
def test_what_a_page_reads_is_shown(page: type[Page]) -> None:
    words = set(re.findall(r"\w+", with_included(page.template)))
    assert read_by(page)
    assert sorted(read_by(page) - words) == []


def test_each_page_has_its_template_and_each_template_is_used() -> None:
    sources = [path.read_text() for path in (*FOLDER.glob("*.html"), *Path(OURS).parent.glob("*.py"))]
    named = {name for text in sources for name in re.findall(rf'"{PREFIX}([\w.]+\.html)', text)}
    assert named | {page.template for _, page, _ in ROUTES} == set(TEMPLATES)
