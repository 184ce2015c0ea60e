"""Arguments of a job as people see them, without secrets, and as they give them back, edited."""

from __future__ import annotations

import inspect
import json
from typing import Any, NoReturn

from penstock.app import PenstockApp, TaskTwin
from penstock.errors import PenstockError
from penstock.ledger.rows import JobRow
from penstock.operations.jobs.retry import Edited
from penstock.redaction import HIDDEN, Redaction

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class BadArguments(PenstockError):
    """Edited arguments cannot be; the message says what to change."""


def names_of(app: PenstockApp, task: str) -> list[str]:
    """The parameters that a task takes by position, in their order; empty if this app has not the task."""
    app.loader.import_default_modules()
    known = app.tasks.get(task)
    if known is None:
        return []
    signature = known.declared.signature if isinstance(known, TaskTwin) else inspect.signature(known.run)
    return [name for name, parameter in signature.parameters.items() if parameter.kind in POSITIONAL]


def shown(app: PenstockApp, row: JobRow, redaction: Redaction) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments without secrets; empty where the ledger has not any."""
    args = row.args if isinstance(row.args, list) else []
    kwargs = row.kwargs if isinstance(row.kwargs, dict) else {}
    hidden_args, hidden_kwargs = redaction.call(args, kwargs, names_of(app, row.task))
    return list(hidden_args), dict(hidden_kwargs)


def as_text(value: Any) -> str:
    """JSON to edit. What cannot be seen is escaped, so that it comes back as it was."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def edited(app: PenstockApp, row: JobRow, redaction: Redaction, args: str, kwargs: str) -> Edited:
    """What of the arguments is not as it was.

    Args:
        args: a JSON array, as :func:`as_text` gave it and somebody has changed it. A ``***`` that is where it was
            stands for the job's own value.
        kwargs: a JSON object.

    Raises:
        BadArguments: they are not JSON of that kind, or a ``***`` stands where nothing was hidden.
    """
    before = shown(app, row, redaction)
    own = (row.args if isinstance(row.args, list) else None, row.kwargs if isinstance(row.kwargs, dict) else None)
    given = (_read("positional", args, list), _read("named", kwargs, dict))
    changed: list[Any] = [
        None if mine is not None and _is_same(new, old) else _restored(new, old, mine, what)
        for new, old, mine, what in zip(given, before, own, ("args", "kwargs"), strict=True)
    ]
    return Edited(*changed)


def _read(what: str, text: str, kind: type) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise BadArguments(f"the {what} arguments hold {constant}, which is no JSON; use null, or a text")

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"the {what} arguments are not JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "array, [1, 2]" if kind is list else 'object, {"name": 1}'
        raise BadArguments(f"the {what} arguments are to be a JSON {wanted}")
    return value


def _restored(new: Any, old: Any, own: Any, where: str) -> Any:
    """The edited value with the job's own in place of each part that was not touched.

    Args:
        old: what was shown in its place; None if nothing was.
        own: what the job has there.
    """
    if own is not None and _is_same(new, old):
        return own
    if isinstance(new, dict):
        known, mine = (each if isinstance(each, dict) else {} for each in (old, own))
        return {
            name: _restored(value, known.get(name), mine.get(name), f"{where}.{name}") for name, value in new.items()
        }
    if isinstance(new, list):
        return _restored_list(new, old, own, where)
    if new == HIDDEN or (isinstance(new, str) and HIDDEN in new and not _is_same(old, own)):
        raise BadArguments(f"{where} holds {HIDDEN}, and it is not the place of a hidden value; write the value out")
    return new


def _restored_list(new: list[Any], old: Any, own: Any, where: str) -> list[Any]:
    """By place, as long as places are what they were: in a list of another length a ``***`` may be any of them."""
    known, mine = (each if isinstance(each, list) else [] for each in (old, own))
    if len(new) != len(known):
        known = mine = []
    pairs = [*zip(known, mine, strict=True)] or [(None, None)] * len(new)
    return [
        _restored(value, before, of_job, f"{where}[{place}]")
        for place, (value, (before, of_job)) in enumerate(zip(new, pairs, strict=True))
    ]


def _is_same(one: Any, other: Any) -> bool:
    """As JSON: 1, true and 1.0 are equal in Python."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
