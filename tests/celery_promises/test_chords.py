"""Chords"""

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


def test_chord(system: System) -> None:
    """A chord calls its body with all results of its header, in order."""
    assert chord(jobs.add.s(i, i) for i in range(10))(jobs.total.s()).get(timeout=PATIENCE) == 90
    ordered = chord(jobs.add.s(i, 0) for i in range(20))(jobs.echo.s()).get(timeout=PATIENCE)
    assert ordered["args"] == [list(range(20))]


def test_upgrade(system: System) -> None:
    """A group followed by a task is a chord."""
    assert (group(jobs.add.s(i, 1) for i in range(3)) | jobs.total.s()).delay().get(timeout=PATIENCE) == 6


def test_once(system: System, key: str) -> None:
    """The body runs once, after the whole header."""
    result = chord(jobs.hold.s(key, i) for i in range(3))(jobs.note.si(f"{key}-body", "body"))
    system.noted(key, 3)
    assert system.notes_on(f"{key}-body") == []
    system.release(key, 3)
    assert result.get(timeout=PATIENCE) == "body"
    assert len(system.notes_on(f"{key}-body")) == 1


def test_single(system: System) -> None:
    """A header of one task gives its body a list of one."""
    assert chord([jobs.add.s(1, 1)])(jobs.echo.s()).get(timeout=PATIENCE)["args"] == [[2]]


def test_empty(system: System) -> None:
    """A chord with an empty header calls its body with an empty list."""
    assert chord([])(jobs.total.s()).get(timeout=PATIENCE) == 0


def test_large(system: System) -> None:
    """A header of two hundred tasks gives its result."""
    assert chord(jobs.add.s(i, 0) for i in range(200))(jobs.total.s()).get(timeout=PATIENCE) == sum(range(200))


def test_failing_header(system: System, key: str) -> None:
    """A task of the header that fails fails the body with ChordError, and the body does not run."""
    result = chord([jobs.add.s(1, 1), jobs.fail.s("in the header")])(jobs.note.si(key))
    with pytest.raises(ChordError, match="in the header"):
        system.app.AsyncResult(result.id).get(timeout=PATIENCE)
    assert system.notes_on(key) == []


def test_error_callback(system: System, key: str) -> None:
    """An error callback of the body is called when the header fails."""
    body = jobs.total.s().on_error(jobs.on_error_by_id.s(key))
    result = chord([jobs.add.s(1, 1), jobs.fail.s("x")])(body)
    assert system.noted(key) == [result.id]


def test_failing_body(system: System) -> None:
    """A body that fails is an ordinary failure."""
    result = chord([jobs.add.s(1, 1)])(jobs.fail.si("in the body"))
    with pytest.raises(jobs.Unlucky, match="in the body"):
        result.get(timeout=PATIENCE)


def test_header_with_retries(system: System, key: str) -> None:
    """A task of the header that is tried again counts once, when it has ended."""
    again = jobs.retries_with_other_arguments.s(1)
    assert chord([jobs.add.s(1, 1), again])(jobs.total.s()).get(timeout=PATIENCE) == 4


def test_replaced_header(system: System) -> None:
    """A task of the header that is replaced counts with the result of what replaced it."""
    assert chord([jobs.replaced_by.s(1), jobs.add.s(1, 1)])(jobs.total.s()).get(timeout=PATIENCE) == 13


def test_add_to_chord(system: System) -> None:
    """`self.add_to_chord()` adds a task to the header while it runs."""
    assert sorted(
        chord([jobs.adds_to_chord.s(1), jobs.adds_to_chord.s(2)])(jobs.echo.s()).get(timeout=PATIENCE)["args"][0]
    ) == [1, 2, 101, 102]


def test_chord_in_chain(system: System) -> None:
    """A chord may stand in a chain, and gets the result before it."""
    work = chain(jobs.add.s(1, 1), group(jobs.add.s(10), jobs.add.s(20)), jobs.total.s(), jobs.add.s(1000))
    assert work().get(timeout=PATIENCE) == 1034


def test_two_groups_in_chain(system: System) -> None:
    """Of two groups in a row the first is the header of the second, which gets the list."""
    work = chain(group(jobs.add.s(1, 1), jobs.add.s(2, 2)), group(jobs.total.s(), jobs.total.s()))
    assert work().get(timeout=PATIENCE) == [6, 6]


def test_chord_in_chord(system: System) -> None:
    """A chord may stand in the header of another."""
    inner = chord([jobs.add.s(1, 1), jobs.add.s(2, 2)], jobs.total.s())
    assert chord([inner, jobs.add.s(10, 10)])(jobs.total.s()).get(timeout=PATIENCE) == 26


def test_chains_in_header(system: System) -> None:
    """Chains may stand in the header."""
    header = [chain(jobs.add.s(i, 1), jobs.add.s(10)) for i in range(3)]
    assert chord(header)(jobs.total.s()).get(timeout=PATIENCE) == 36


def test_chain_as_body(system: System) -> None:
    """A chain may be the body."""
    body = chain(jobs.total.s(), jobs.add.s(100))
    assert chord([jobs.add.s(1, 1), jobs.add.s(2, 2)])(body).get(timeout=PATIENCE) == 106


def test_group_as_body(system: System) -> None:
    """A group may be the body."""
    body = group(jobs.total.s(), jobs.total.s())
    assert chord([jobs.add.s(1, 1), jobs.add.s(2, 2)])(body).get(timeout=PATIENCE) == [6, 6]


def test_revoked_header(system: System, key: str) -> None:
    """A task of the header that is revoked fails the body."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    header = [jobs.add.s(1, 1), jobs.add.s(2, 2).set(queue="lane")]
    result = chord(header)(jobs.total.s())
    victim = result.parent.results[1]
    victim.revoke()
    wait_for(lambda: victim.id in system.inspect("revoked", worker=system.lane), "revoked")
    system.release(key)
    with pytest.raises(ChordError):
        system.app.AsyncResult(result.id).get(timeout=PATIENCE)


def test_chord_over_queues(system: System) -> None:
    """Header and body may run in queues of their own."""
    header = [jobs.add.s(1, 1).set(queue="lane"), jobs.add.s(2, 2).set(queue="side")]
    assert chord(header)(jobs.total.s().set(queue="lane")).get(timeout=PATIENCE) == 6
