"""What a chord's messages say of it, and the message of the job that joins its parts and starts its body.

That job is Celery's own, ``celery.chord_unlock``. It runs once, when all parts are on the books, so it never polls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kombu.utils.json import dumps

from penstock.ledger.encoding import Encoded
from penstock.ledger.records import FollowUp, Part
from penstock.ledger.rows import clip
from penstock.ledger.tables import ID_LENGTH
from penstock.message import OUTBOX, Arguments, Lineage, Template, quote, to_json

UNLOCK_TASK, UNLOCK = "celery.chord_unlock", ":unlock"
CHORD_SIZE = "chord_size"
"""Key of a body's signature: how many parts the chord has. Celery's own word; whoever sends the chord writes it."""
MAX_INTEGER = 2**31 - 1


def part_of(id: Any, group: Any, position: Any, chord: Any, queue: str, root: Any = None) -> Part | None:
    """The part that a message says its job is; anyone may have written it.

    Args:
        chord: the body's signature.
        queue: where the job goes that starts the body.
        root: id of the job that the part comes from in the end.

    Returns:
        None when it is no part, or when nobody knows how many there are: then the sender's own result backend looks
        after the chord, mostly by a job of Celery's that polls.
    """
    if not (isinstance(chord, Mapping) and id and isinstance(group, str) and group):
        return None
    total = chord.get(CHORD_SIZE)
    if type(total) is not int or not 0 < total <= MAX_INTEGER:
        return None
    body = {name: value for name, value in chord.items() if name != CHORD_SIZE}
    is_place = type(position) is int and 0 <= position <= MAX_INTEGER
    return Part(
        counter=group,
        job_id=str(id),
        position=position if is_place else None,
        total=total,
        body=Encoded(dumps(body)),
        queue=queue,
        root=root if isinstance(root, str) and root else None,
    )


def unlock(part: Part, job_ids: Sequence[str], saved: Any, now: datetime) -> FollowUp:
    """The message of the job that starts a chord's body.

    Args:
        part: any of the chord; the job goes to its queue.
        job_ids: all parts, in the order of the body's arguments.
        saved: the header's group, if it was saved because parts of it are groups: the body gets lists for these.
    """
    id = clip(part.counter)[: ID_LENGTH - len(UNLOCK)] + UNLOCK
    options = _options(part.body)
    results = to_json(_results(job_ids, saved))
    # Interval and retries count only if somebody has deleted the row of a part, or SQL is away.
    kwargs = f'{{"interval":1,"max_retries":null,"result":{results}}}'
    arguments = Arguments([part.counter, "…"], {"result": "…"}, f"[{quote(part.counter)},{part.body}],{kwargs}")
    # A body seldom says where it comes from: Celery tells it when it is sent, by whoever sends it.
    root = options.get("root_id") or part.root
    priority = _priority(options.get("priority"))
    template = Template(
        task=UNLOCK_TASK,
        queue=part.queue,
        priority=priority,
        now=now,
        lineage=Lineage(parent=part.job_id, root=root if isinstance(root, str) else None),
    )
    headers = template.headers(id, arguments) | {OUTBOX: id}
    payload = template.unsealed_with(headers, id, arguments)
    # kombu's four lists of a queue.
    return FollowUp(key=id, job_id=id, task=UNLOCK_TASK, queue=part.queue, step=priority // 3 * 3, payload=payload)


def _results(job_ids: Sequence[str], saved: Any) -> list[Any]:
    """The parts as Celery's GroupResult writes them down. Parts that joined the header later come last."""
    if saved is None:
        return [[[id, None], None] for id in job_ids]
    _, members = saved
    known = set(ids_of(members))
    return [*members, *([[id, None], None] for id in job_ids if id not in known)]


def ids_of(results: Any) -> Iterator[str]:
    """The jobs in what :func:`unlock` calls results, those of groups among them."""
    for (id, _), members in results:
        if members is None:
            yield id
        else:
            yield from ids_of(members)


def _options(body: str) -> dict[str, Any]:
    options = json.loads(body).get("options")
    return options if isinstance(options, dict) else {}


def _priority(given: Any) -> int:
    return min(max(given, 0), 9) if type(given) is int else 0
