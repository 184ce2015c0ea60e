"""Finding jobs among millions: which ones, in pages, and how many. The caller brings the transaction.

No statement here leaves it to the planner how much it reads. A filter is turned into ranges of one index, each in the
order of the list, so a page is the head of a few ranges. What no index serves is looked for in the newest
:data:`LOOKED_AT` rows of those ranges and not beyond; the page then says how far it looked, and its cursor goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Subquery, and_, func, or_, select, tuple_, union_all

from penstock.errors import PenstockError
from penstock.job import State
from penstock.ledger.cursors import BadCursor as BadCursor
from penstock.ledger.cursors import cursor_of, place_of
from penstock.ledger.filtering import JobFilter as JobFilter
from penstock.ledger.filtering import NotSearchable as NotSearchable
from penstock.ledger.matching import has_argument, has_tag
from penstock.ledger.queries import job_of
from penstock.ledger.rows import JobRow
from penstock.ledger.tables import jobs

LOOKED_AT = 3_000
"""Rows in which a condition without an index is looked for."""
COUNTED = 10_000
"""Jobs of one state beyond which nobody counts on."""
_KEYS = (jobs.c.updated_at, jobs.c.id, jobs.c.state)
Condition = Callable[[Any], ColumnElement[bool]]
"""Of a row, given its columns: those of the table, or of a part of it."""


class TooManyJobs(PenstockError):
    """The beginning of an id is so short that far too many have it; give more of it."""


@dataclass(frozen=True)
class Place:
    """Where a page ends: the last change of a job, and its id."""

    updated_at: datetime
    id: str

    @property
    def cursor(self) -> str:
        """One word, for the next page."""
        return cursor_of(self.updated_at.isoformat(), self.id)

    @classmethod
    def of(cls, cursor: str) -> Place:
        """The place that a cursor stands for.

        Raises:
            BadCursor: it is none.
        """
        return cls(*place_of(cursor))


@dataclass(frozen=True)
class Page:
    """A part of a list."""

    jobs: list[JobRow]
    after: Place | None
    """Where the next page begins; None: there is none."""
    is_cut_short: bool = False
    """Whether there may be more before ``after`` was reached: it is how far was looked."""


@dataclass(frozen=True)
class Counts:
    """How many jobs there are, as far as anybody counted."""

    states: dict[State, int]
    at_least: frozenset[State] = frozenset()
    """States of which there are more, or may be."""


@dataclass(frozen=True)
class _Ranges:
    """Ranges of one index, one for each state, that together hold every job of a filter."""

    ranges: Sequence[ColumnElement[bool]]
    rest: Sequence[Condition]
    """What the index does not know."""
    columns: Sequence[ColumnElement[Any]] = _KEYS
    """What that looks at, in place of the whole row."""


def list_jobs(connection: Connection, chosen: JobFilter, limit: int, after: Place | None = None) -> Page:
    """The most recently changed jobs first.

    Reads at most ``limit`` rows of each range, or :data:`LOOKED_AT` rows if a condition has no index.

    Args:
        after: the end of the page before.

    Raises:
        TooManyJobs: the beginning of an id that far too many have.
    """
    if chosen.id_prefix is not None:
        return _page(_read(connection, [_by_id(connection, chosen, after)], limit), limit)
    ranges, window = _ranges(connection, chosen), _window(chosen, after)
    frontier = _frontier(connection, ranges, window) if ranges.rest else None
    if frontier:
        window.append(lambda row: _place(row) >= _bound(frontier))
    heads = _heads(ranges, window, limit + 1)
    return _page(_read(connection, heads, limit), limit, frontier)


def count_by_state(connection: Connection, chosen: JobFilter) -> Counts:
    """How many jobs are in each state: exactly up to :data:`COUNTED` of each, if an index serves the whole filter, else
    among the newest :data:`LOOKED_AT`.
    """
    if chosen.id_prefix is not None:
        return Counts(_counted(connection, [_by_id(connection, chosen, None)]))
    ranges, window = _ranges(connection, chosen), _window(chosen)
    frontier = _frontier(connection, ranges, window) if ranges.rest else None
    if frontier:
        window.append(lambda row: _place(row) >= _bound(frontier))
    # One more than is told, to know whether there are more. In the order of the index, or a planner that knows the
    # state to be frequent might read the table from its beginning, where there may be none of them.
    heads = _heads(ranges, window, COUNTED + 1)
    states = _counted(connection, heads)
    beyond = frozenset(state for state, count in states.items() if frontier or count > COUNTED)
    return Counts({state: min(count, COUNTED) for state, count in states.items()}, beyond)


def span_of_jobs(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """When the first and the last job changed; None without jobs. Each is an end of the range of a state."""
    ends = union_all(
        *(
            select(end(jobs.c.updated_at).label("at")).where(jobs.c.state == state.value)
            for state in State
            for end in (func.min, func.max)
        )
    ).subquery()
    row = connection.execute(select(func.min(ends.c.at), func.max(ends.c.at))).one()
    return row[0], row[1]


def _ranges(connection: Connection, chosen: JobFilter) -> _Ranges:
    """One index for every filter, chosen here and not by statistics: the one whose first column is as a rule the most
    selective. All of them go on with the state and end in (updated_at, id); that of tagged jobs has the tags as well.
    """
    equal = [_equals(name, value) for name, value in _words(chosen)]
    first, rest = equal[:1], equal[1:]
    if chosen.tag is not None and {name for name, _ in _words(chosen)} <= {"queue"}:
        first, rest = [_is_tagged], equal
    states = chosen.states or tuple(State)
    if chosen.text:
        # A success takes the errors of the attempts before it away, and most jobs are successes.
        states = tuple(state for state in states if state is not State.SUCCEEDED)
    ranges = [and_(*(each(jobs.c) for each in first), jobs.c.state == state.value) for state in states]
    return _Ranges(ranges, [*rest, *_contained(connection, chosen)], _looked_at(chosen))


def _words(chosen: JobFilter) -> Iterator[tuple[str, str]]:
    """Columns and the words that they must be; each column begins an index."""
    words = {
        "error_fingerprint": chosen.fingerprint,
        "schedule": chosen.schedule,
        "task": chosen.task,
        "queue": chosen.queue,
    }
    yield from ((name, value) for name, value in words.items() if value is not None)


def _contained(connection: Connection, chosen: JobFilter) -> Iterator[Condition]:
    """What is asked of the inside of a column."""
    if chosen.text:
        yield _says(chosen.text)
    if chosen.tag is not None:
        yield partial(has_tag, connection, tag=chosen.tag)
    for name, value in chosen.arguments.items():
        yield partial(has_argument, connection, name=name, value=value)


def _looked_at(chosen: JobFilter) -> tuple[ColumnElement[Any], ...]:
    """The columns that the conditions of a filter may look at, and no larger ones."""
    names = [name for name, _ in _words(chosen)]
    names += ["error_type", "error_message"] if chosen.text else []
    names += ["tags"] if chosen.tag is not None else []
    names += ["kwargs"] if chosen.arguments else []
    return (*_KEYS, *(jobs.c[name] for name in names))


def _is_tagged(row: Any) -> Any:
    return row.tags.is_not(None)


def _equals(name: str, value: str) -> Condition:
    return lambda row: row[name] == value


def _is_one_of(states: Sequence[State]) -> Condition:
    return lambda row: row.state.in_([state.value for state in states])


def _says(text: str) -> Condition:
    return lambda row: or_(
        row.error_type.contains(text, autoescape=True), row.error_message.contains(text, autoescape=True)
    )


def _window(chosen: JobFilter, after: Place | None = None) -> list[Condition]:
    """The part of the list that is asked for."""
    since, until = chosen.since, chosen.until
    window: list[Condition] = []
    if since is not None:
        window.append(lambda row: row.updated_at >= since)
    if until is not None:
        window.append(lambda row: row.updated_at < until)
    if after is not None:
        window.append(lambda row: _place(row) < _bound(after))
    return window


def _heads(ranges: _Ranges, window: Sequence[Condition], limit: int) -> list[Subquery]:
    """The keys of the newest rows of each range that fit.

    The inner OFFSET 0 is a fence: with the other conditions beside it, a planner could prefer their index and sort.
    """
    return [_head(each, ranges, window).limit(limit).subquery() for each in ranges.ranges]


def _head(range_: ColumnElement[bool], ranges: _Ranges, window: Sequence[Condition]) -> Select[Any]:
    if not ranges.rest:
        return _sorted(_rows(_KEYS, range_, window))
    inner = _sorted(_rows(ranges.columns, range_, window)).offset(0).subquery()
    keys = (inner.c.updated_at, inner.c.id, inner.c.state)
    return _sorted(select(*keys).where(*(each(inner.c) for each in ranges.rest)), inner.c)


def _frontier(connection: Connection, ranges: _Ranges, window: Sequence[Condition]) -> Place | None:
    """The last of the rows that are looked at; None when there are no more than that. Read from an index alone.

    It is found before the rows are read: what comes or changes in between is newer than it, so nothing is passed over.
    """
    keys = [_sorted(_rows(_KEYS[:2], each, window)).limit(LOOKED_AT).subquery() for each in ranges.ranges]
    if not keys:
        return None
    merged = union_all(*(select(key) for key in keys)).subquery()
    last = _sorted(select(merged), merged.c).offset(LOOKED_AT - 1).limit(1)
    row = connection.execute(last).one_or_none()
    return Place(row.updated_at, row.id) if row else None


def _by_id(connection: Connection, chosen: JobFilter, after: Place | None) -> Subquery:
    """The rows whose id begins so, a range of the primary key, and among them those that fit the rest."""
    prefix = chosen.id_prefix or ""
    begins = and_(jobs.c.id >= prefix, jobs.c.id < prefix + "\U0010ffff")
    bounded = select(jobs.c.id).where(begins).limit(LOOKED_AT + 1).subquery()
    if connection.execute(select(func.count()).select_from(bounded)).scalar_one() > LOOKED_AT:
        raise TooManyJobs(f"more than {LOOKED_AT:,} ids begin with {prefix!r}; give more of it")
    inner = select(*_looked_at(chosen)).where(begins).order_by(jobs.c.id).offset(0).subquery()
    keys = (inner.c.updated_at, inner.c.id, inner.c.state)
    return select(*keys).where(*(each(inner.c) for each in _conditions(connection, chosen, after))).subquery()


def _conditions(connection: Connection, chosen: JobFilter, after: Place | None) -> Iterator[Condition]:
    """All of a filter but the id's beginning, for rows that are few anyway."""
    yield from (_equals(name, value) for name, value in _words(chosen))
    yield from _window(chosen, after)
    if chosen.states:
        yield _is_one_of(chosen.states)
    yield from _contained(connection, chosen)


def _rows(
    columns: Sequence[ColumnElement[Any]], range_: ColumnElement[bool], window: Sequence[Condition]
) -> Select[Any]:
    return select(*columns).where(range_, *(each(jobs.c) for each in window))


def _sorted(statement: Select[Any], row: Any = jobs.c) -> Select[Any]:
    return statement.order_by(row.updated_at.desc(), row.id.desc())


def _place(row: Any) -> Any:
    return tuple_(row.updated_at, row.id)


def _bound(place: Place) -> Any:
    return tuple_(place.updated_at, place.id, types=[jobs.c.updated_at.type, jobs.c.id.type])


def _read(connection: Connection, heads: Sequence[Subquery], limit: int) -> list[JobRow]:
    """The rows of the first keys, by primary key; one more than the page has, to know whether there are more."""
    if not heads:
        return []
    merged = union_all(*(select(head) for head in heads)).subquery()
    keys = _sorted(select(merged), merged.c).limit(limit + 1).subquery()
    statement = _sorted(select(jobs).join(keys, keys.c.id == jobs.c.id))
    return [job_of(row) for row in connection.execute(statement)]


def _page(found: list[JobRow], limit: int, frontier: Place | None = None) -> Page:
    if len(found) > limit:
        last = found[limit - 1]
        return Page(found[:limit], Place(last.updated_at, last.id))
    return Page(found, frontier, is_cut_short=frontier is not None)


def _counted(connection: Connection, heads: Sequence[Subquery]) -> dict[State, int]:
    if not heads:
        return {}
    merged = union_all(*(select(head.c.state) for head in heads)).subquery()
    statement = select(merged.c.state, func.count()).group_by(merged.c.state)
    return {State(state): count for state, count in connection.execute(statement)}
