"""Writes docs/compatibility.md from what these tests declare: `python -m tests.celery_promises.generate`.

A test's first paragraph is a promise of Celery's, its module's docstring the heading above it, and ``@differs`` what an
engine does instead. The tests are read, not imported and not run: they are what shows that it is so.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.celery_promises.engines import ENGINES

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "compatibility.md"
INTRODUCTION = """\
# Compatibility

What Celery's documentation promises on Redis, and who keeps it. Each line is a test, and each test runs on every engine
below, with an application and worker processes of its own; the stock ones import nothing of Penstock. Where Penstock
does something else it does so on purpose, and the line says what and why.

`make promises` asks every engine for all of them; CI asks ours for a quarter and those on Celery's own pool for a
twelfth of them, others for each commit.

This page is generated: `python -m tests.celery_promises.generate`.
"""


@dataclass
class Promise:
    """One test: what it promises, and which engines do something else instead."""

    test: str
    text: str
    differences: dict[str, str] = field(default_factory=dict)


@dataclass
class Chapter:
    """One module of tests."""

    module: str
    title: str
    promises: list[Promise]


def page() -> str:
    """The whole document."""
    found = list(chapters())
    return "\n".join([INTRODUCTION, *_summary(found), *(line for chapter in found for line in _lines(chapter))]) + "\n"


def chapters() -> Iterator[Chapter]:
    """The modules as ``ORDER`` lists them."""
    for name in ORDER:
        tree = ast.parse((HERE / f"test_{name}.py").read_text())
        yield Chapter(f"test_{name}.py", ast.get_docstring(tree) or "", list(_promises(tree)))


ORDER = (
    "calling",
    "results",
    "times",
    "retries",
    "acknowledgement",
    "limits",
    "routing",
    "canvas",
    "chords",
    "stamps",
    "revokes",
    "control",
    "events",
    "signals",
    "hooks",
    "request",
    "worker",
    "options",
    "logs",
    "pools",
    "shutdown",
    "commands",
    "messages",
)


def _promises(tree: ast.Module) -> Iterator[Promise]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            text = " ".join((ast.get_docstring(node) or "").split())
            yield Promise(node.name, text, _differences(node))


def _differences(test: ast.FunctionDef) -> dict[str, str]:
    calls = [call for call in test.decorator_list if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
    return {
        str(keyword.arg): ast.literal_eval(keyword.value)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "differs"
        for keyword in call.keywords
    }


def _summary(found: list[Chapter]) -> Iterator[str]:
    promises = [promise for chapter in found for promise in chapter.promises]
    yield "| engine | transport | pool | results | kept | different on purpose |"
    yield "|---|---|---|---|---|---|"
    for engine in ENGINES:
        different = sum(engine.differs(promise.differences) is not None for promise in promises)
        parts = " | ".join(f"`{part}`" for part in (engine.transport, engine.pool, engine.backend))
        yield f"| {engine.title} | {parts} | {len(promises) - different} | {different} |"


def _lines(chapter: Chapter) -> Iterator[str]:
    yield f"\n## {chapter.title}\n"
    yield f"Shown by [{chapter.module}](../tests/celery_promises/{chapter.module}).\n"
    yield f"| promise | {' | '.join(engine.title for engine in ENGINES)} |"
    yield f"|---{'|---' * len(ENGINES)}|"
    for promise in chapter.promises:
        cells = [_cell(engine.differs(promise.differences)) for engine in ENGINES]
        yield f"| {_escaped(promise.text)} | {' | '.join(cells)} |"


def _cell(difference: str | None) -> str:
    return "✔" if difference is None else f"**differs**: {_escaped(difference)}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
