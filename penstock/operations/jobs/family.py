"""The jobs around a job: those that it comes from, those of its group, those that it led to, and its replays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from penstock.ledger import chords, groups, queries
from penstock.ledger.rows import JobRow

MOST_ABOVE, MOST_BESIDE, MOST_REPLAYS, MOST_BELOW = 6, 12, 6, 20
LEVELS_BELOW = 3


class Kin(StrEnum):
    """What a job is to the one that is asked about."""

    ANCESTOR = "ancestor"
    PARENT = "parent"
    ITSELF = "this job"
    SIBLING = "of the same group"
    CHILD = "child"
    DESCENDANT = "descendant"
    REPLAYED = "replayed by this job"
    REPLAY = "replay of this job"


@dataclass(frozen=True)
class Member:
    """A job of a family."""

    job: JobRow
    kin: Kin
    generation: int
    """That of the job that is asked about is 0; those above have negative numbers."""
    of: str | None = None
    """The member that submitted it, or that it replays."""


@dataclass(frozen=True)
class Family:
    """A job and those around it, the oldest generation first."""

    members: list[Member]
    is_cut: bool
    """Whether there are more than are told."""

    @property
    def itself(self) -> Member:
        """The job that was asked about."""
        return next(member for member in self.members if member.kin is Kin.ITSELF)

    def children_of(self, id: str | None) -> list[Member]:
        """The members that come from another; of None, those whose origin is not a member."""
        return [member for member in self.members if member.of == id]


def find_family(connection: Connection, job: JobRow, replays: Sequence[JobRow] = ()) -> Family:
    """A bounded number of questions, each on the head of an index.

    Args:
        replays: jobs that repeat this one.
    """
    above, is_cut = _above(connection, job)
    beside = _beside(connection, job)
    below = _below(connection, job)
    replayed = queries.find_job(connection, job.replay_of) if job.replay_of else None
    line = list(_line(above, job))
    after = {member.job.id: member.generation + 1 for member in line}
    members = [
        Member(job, Kin.ITSELF, 0, job.parent_id),
        *line,
        *([Member(replayed, Kin.REPLAYED, 0)] if replayed else []),
        *(Member(each, Kin.REPLAY, 0, job.id) for each in replays[:MOST_REPLAYS]),
        *(
            Member(each, Kin.SIBLING, after.get(each.parent_id or "", 0), each.parent_id)
            for each in beside[:MOST_BESIDE]
        ),
        *below[:MOST_BELOW],
    ]
    is_cut = is_cut or len(beside) > MOST_BESIDE or len(below) > MOST_BELOW or len(replays) > MOST_REPLAYS
    return Family(sorted(_distinct(members), key=lambda member: member.generation), is_cut)


def _distinct(members: Sequence[Member]) -> Iterator[Member]:
    """Each job once, as the first thing that it is; an origin that is no member is none."""
    first = {member.job.id: member for member in reversed(members)}
    for member in members:
        if first[member.job.id] is member:
            yield member if member.of in first else replace(member, of=None)


def _above(connection: Connection, job: JobRow) -> tuple[list[JobRow], bool]:
    """The line to the root, the root first. Ids come from messages, which may say that a job is its own ancestor."""
    line: list[JobRow] = []
    seen, next_id = {job.id}, job.parent_id
    while next_id and next_id not in seen and len(line) < MOST_ABOVE:
        seen.add(next_id)
        found = queries.find_job(connection, next_id)
        if found is None:
            break
        line.insert(0, found)
        next_id = found.parent_id
    if job.root_id and job.root_id not in seen and (root := queries.find_job(connection, job.root_id)):
        line.insert(0, root)
    return line, bool(next_id) and next_id not in seen and len(line) >= MOST_ABOVE


def _line(above: Sequence[JobRow], job: JobRow) -> Iterator[Member]:
    for place, row in enumerate(above):
        kin = Kin.PARENT if row.id == job.parent_id else Kin.ANCESTOR
        yield Member(row, kin, place - len(above), above[place - 1].id if place else None)


def _beside(connection: Connection, job: JobRow) -> list[JobRow]:
    """Others of the job's group: children of the same parent, members of a saved group, parts of a chord that ended.

    No index has the group: what is not found this way is told by the pages of the other jobs.
    """
    if job.group_id is None:
        return []
    limit = MOST_BESIDE + 2
    ids = [*_saved(groups.find_group(connection, job.group_id))][:limit]
    ids += chords.ended_parts(connection, job.group_id, limit)
    found = queries.find_jobs(connection, ids) if ids else []
    if job.parent_id:
        found += queries.children_of(connection, job.parent_id, MOST_BESIDE + MOST_BELOW)
    others = {row.id: row for row in found if row.group_id == job.group_id and row.id != job.id}
    return sorted(others.values(), key=lambda row: (row.enqueued_at or row.updated_at, row.id))


def _saved(members: Any) -> Iterator[str]:
    """Ids of Celery's ``GroupResult.as_tuple()``: ((id, parent), [((id, parent), children), …])."""
    of_group = members[1] if isinstance(members, list) and len(members) == 2 else None
    for each in of_group if isinstance(of_group, list) else ():
        if isinstance(each, list) and each and isinstance(each[0], list) and each[0] and isinstance(each[0][0], str):
            yield each[0][0]


def _below(connection: Connection, job: JobRow) -> list[Member]:
    """Level by level, as far as there is room."""
    found: list[Member] = []
    seen, level = {job.id}, [job]
    for depth in range(1, LEVELS_BELOW + 1):
        room = MOST_BELOW + 1 - len(found)
        if not level or room <= 0:
            break
        level = _new(queries.children_of_each(connection, [row.id for row in level], room), seen)[:room]
        kin = Kin.CHILD if depth == 1 else Kin.DESCENDANT
        found += [Member(row, kin, depth, row.parent_id) for row in level]
    return found


def _new(rows: Iterable[JobRow], seen: set[str]) -> list[JobRow]:
    """Those that were not met before."""
    found = [row for row in rows if row.id not in seen]
    seen.update(row.id for row in found)
    return found
