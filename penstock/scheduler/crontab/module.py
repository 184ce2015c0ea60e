"""A module of declarations, written from what a crontab has become. What it writes needs no formatting."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from penstock.scheduler.crontab.reading import Entry, Reading

WIDTH, STEP, PART = 120, 4, 80
LONGEST_SECONDS = 3600
"""That ``tasks.shell.run`` lets a command take; cron sets no limit."""
_DOCSTRING = '"""Schedules that were a crontab, written by `celery -A workers schedules import`."""'
_IMPORTS = "from penstock.scheduler import Cron, schedule\nfrom tasks import shell"
_HEAD = (
    'They start as cron starts them: also while the job before still runs (overlap="allow"), and times at which no '
    'scheduler was up are left out (catch_up="none"). Change that where it does harm.',
    "Without CRON_TZ cron reads times in the zone of its machine; schedules without timezone= are read in "
    "PENSTOCK_TIMEZONE.",
    "What else differs: commands start in / and not in a home folder, are ended after timeout_seconds, and a job whose "
    "command exits with another code than 0 has failed, unless accept= names it.",
)


def render_module(reading: Reading, source: str) -> str:
    """The text of a module that declares all entries.

    Args:
        reading: of the crontab.
        source: where it comes from, for people.
    """
    head = "\n".join(line for text in (f"From {source}.", *_HEAD) for line in _comment(text, 0))
    body = "".join(f"{line}\n" for entry in reading.entries for line in _declaration(entry))
    if not body:
        return f"{_DOCSTRING}\n\n{head}\n\nSCHEDULES = ()\n"
    return f"{_DOCSTRING}\n\n{head}\n\n{_IMPORTS}\n\nSCHEDULES = (\n{body})\n"


@dataclass(frozen=True)
class _Number:
    text: str


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Group:
    """A call, list or dictionary, each item with what stands before it: a keyword, a key, or nothing."""

    opening: str
    items: tuple[tuple[str, _Node], ...]
    closing: str


_Node = _Number | _Text | _Group


def _declaration(entry: Entry) -> Iterator[str]:
    # Behind a bar no part of the line is an instruction to a tool, such as `fmt: off`.
    yield from _comment(f"line {entry.number}: {entry.text}", STEP, "| ")
    yield from _broken("", _group("schedule(", _arguments(entry), ")"), STEP)


def _arguments(entry: Entry) -> Iterator[tuple[str, _Node]]:
    yield "", _Text(entry.name)
    yield "", _group("shell.run.bind(", _call(entry), ")")
    yield "", _group("Cron(", [("", _Text(entry.expression))], ")")
    if entry.timezone:
        yield "timezone=", _Text(entry.timezone)
    yield "overlap=", _Text("allow")
    yield "catch_up=", _Text("none")
    if entry.jitter:
        yield "jitter=", _Number(repr(entry.jitter))


def _call(entry: Entry) -> Iterator[tuple[str, _Node]]:
    yield "", _Text(entry.command)
    if entry.arguments:
        yield "", _group("[", [("", _Text(word)) for word in entry.arguments], "]")
    yield "timeout_seconds=", _Number(str(LONGEST_SECONDS))
    if entry.stdin is not None:
        yield "stdin=", _Text(entry.stdin)
    if entry.environment:
        pairs = [(f"{_literal(name)}: ", _Text(value)) for name, value in entry.environment.items()]
        yield "environment=", _group("{", pairs, "}")


def _group(opening: str, items: Iterable[tuple[str, _Node]], closing: str) -> _Group:
    return _Group(opening, tuple(items), closing)


def _lines(before: str, node: _Node, indent: int) -> Iterator[str]:
    """An item in one line, if it fits there."""
    line = f"{' ' * indent}{before}{_flat(node)},"
    if len(line) <= WIDTH:
        yield line
    else:
        yield from _broken(before, node, indent)


def _broken(before: str, node: _Node, indent: int) -> Iterator[str]:
    """An item in several lines."""
    margin = " " * indent
    if isinstance(node, _Group):
        yield f"{margin}{before}{node.opening}"
        for prefix, each in node.items:
            yield from _lines(prefix, each, indent + STEP)
        yield f"{margin}{node.closing},"
    elif isinstance(node, _Text) and len(node.text) > 1:
        yield f"{margin}{before}("
        inner = " " * (indent + STEP)
        fits = len(inner + _literal(node.text)) <= WIDTH
        yield from (inner + _literal(part) for part in ([node.text] if fits else _parts(node.text)))
        yield f"{margin}),"
    else:
        yield f"{margin}{before}{_flat(node)},"


def _flat(node: _Node) -> str:
    if isinstance(node, _Group):
        return f"{node.opening}{', '.join(before + _flat(each) for before, each in node.items)}{node.closing}"
    return _literal(node.text) if isinstance(node, _Text) else node.text


def _literal(text: str) -> str:
    """In ASCII, so that no letter looks like another, and with the quotes that need fewer backslashes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + text.encode("unicode_escape").decode().replace(quote, f"\\{quote}") + quote


def _parts(text: str) -> Iterator[str]:
    """Pieces whose literals fit into a line, cut behind a blank, comma or line end where there is one."""
    part = ""
    for mark in text:
        if part and len(_literal(part + mark)) > PART:
            end = max(part.rfind(each) for each in " ,\n") + 1 or len(part)
            yield part[:end]
            part = part[end:]
        part += mark
    yield part


def _comment(text: str, indent: int, following: str = "") -> Iterator[str]:
    """Lines of a comment, in ASCII. Ruff obeys ``noqa`` wherever it stands in one."""
    shown = text.expandtabs(1).encode("unicode_escape").decode().replace("\\\\", "\\")
    shown = re.sub("noqa", r"\\x6eoqa", shown, flags=re.IGNORECASE)
    for line in textwrap.wrap(shown, WIDTH - indent - 2, subsequent_indent=following, break_on_hyphens=False):
        yield f"{' ' * indent}# {line}"
