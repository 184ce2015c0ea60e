"""Our style sheet and script: no class without a use, no use without its class."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import flower

from penstock.flower.site import ASSETS
from penstock.job import State
from penstock.ledger.fires import FireState
from penstock.operations.books.account import Verdict as Books
from penstock.operations.workers.view import Verdict as Worker

OURS = ASSETS.parent
FLOWERS = Path(flower.__file__).parent
STYLES = (ASSETS / "penstock.css").read_text()
SCRIPT = (ASSETS / "penstock.js").read_text()
TEMPLATES = [path.read_text() for path in sorted(OURS.glob("templates/penstock/*.html"))]
CODE = [path.read_text() for path in sorted(OURS.rglob("*.py"))]
THEIRS = [
    path.read_text(errors="replace")
    for pattern in ("templates/*.html", "static/css/*.css", "static/js/*.js")
    for path in sorted(FLOWERS.glob(pattern))
]
CHILDREN = ("idle", "running", "handing-over", "ending", "stopped")
"""How a child of a worker may be."""
WORDS_OF = {
    "state-": {*State, *FireState, *Worker, *CHILDREN, "waiting", "late", "paused"},
    "node-": {*State},
    "outcome-": {*FireState},
}
"""Beginnings of classes of which the rest is a word of the ledger or of a worker, with each word that there is."""
GENERATED = {f"{beginning}{word}" for beginning, found in WORDS_OF.items() for word in found}
VERDICT = "penstock-verdict-"
VERDICTS = {*(f"{VERDICT}{word}" for word in Worker), *(f"{VERDICT}{each.words.replace(' ', '-')}" for each in Books)}
"""A good one looks as the class without a word does, and has no rule."""
WORD = r"[A-Za-z][\w-]*"


def defined(styles: str) -> set[str]:
    """Classes that a style sheet has rules for."""
    without = re.sub(r"/\*.*?\*/|\{[^{}]*\}", "{}", styles, flags=re.DOTALL)
    return set(re.findall(rf"\.({WORD})", without))


def words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(WORD, text)}


def marked(templates: list[str]) -> set[str]:
    """Words in ``class`` attributes."""
    return words([found for text in templates for found in re.findall(r'class="((?:\{[^}]*\}\}?|[^"{])*)"', text)])


def said(sources: list[str]) -> set[str]:
    """Words in strings of Python code."""
    nodes = [node for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return words([node.value for node in nodes if isinstance(node.value, str)])


def test_each_class_of_the_style_sheet_is_used() -> None:
    used = marked(TEMPLATES) | said(CODE) | GENERATED | VERDICTS | words(THEIRS)
    assert sorted(defined(STYLES) - used) == []


def test_each_state_and_outcome_has_a_look() -> None:
    assert sorted(GENERATED - defined(STYLES)) == []


def test_each_class_of_ours_that_is_used_is_defined() -> None:
    used = {word for word in marked(TEMPLATES) | said(CODE) if word.startswith("penstock-")} - {VERDICT}
    assert sorted(used - defined(STYLES)) == ["penstock-static"]


def test_each_hook_of_the_script_is_in_a_template_and_each_in_a_template_has_its_script() -> None:
    hooks = set(re.findall(r"data-[a-z]+(?:-[a-z]+)*", SCRIPT))
    there = {hook for text in TEMPLATES for hook in re.findall(r"\b(data-[a-z-]+)=", text)}
    assert hooks <= there
    assert there <= words([SCRIPT, STYLES, *THEIRS])
