"""Canvas: signatures, chains, groups and maps"""

import json
import time

import pytest
from celery import chain, chunks, group, signature

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


def test_signature(system: System) -> None:
    """A signature holds a call, with its options, to be made later."""
    later = jobs.add.signature((2, 2), countdown=0.1)
    assert later.delay().get(timeout=PATIENCE) == 4


def test_signature_as_json(system: System) -> None:
    """A signature is a mapping: it survives JSON and can be called after it."""
    text = json.dumps(jobs.add.s(2, 3))
    assert signature(json.loads(text), app=system.app).delay().get(timeout=PATIENCE) == 5


def test_signature_as_argument(system: System) -> None:
    """A signature may be an argument of another task."""
    got = jobs.echo.delay(jobs.add.s(1, 2)).get(timeout=PATIENCE)["args"][0]
    assert signature(got, app=system.app).delay().get(timeout=PATIENCE) == 3


def test_partial(system: System) -> None:
    """Arguments of the call come before those of the signature; keyword arguments are merged."""
    assert jobs.echo.s("last", a=1).delay("first", b=2).get(timeout=PATIENCE) == {
        "args": ["first", "last"],
        "kwargs": {"a": 1, "b": 2},
    }


def test_immutable(system: System) -> None:
    """An immutable signature (`si`) takes no arguments from anybody."""
    assert chain(jobs.add.s(1, 1), jobs.add.si(5, 5))().get(timeout=PATIENCE) == 10


def test_set(system: System) -> None:
    """`set()` adds options to a signature, `clone()` copies it."""
    first = jobs.context.s()
    second = first.clone().set(queue="side")
    assert second.delay().get(timeout=PATIENCE)["delivery_info"]["routing_key"] == "side"
    assert first.delay().get(timeout=PATIENCE)["delivery_info"]["routing_key"] == "celery"


def test_freeze(system: System) -> None:
    """`freeze()` gives a signature its id before it is sent."""
    later = jobs.add.s(1, 1)
    frozen = later.freeze()
    assert later.apply_async().id == frozen.id
    assert frozen.get(timeout=PATIENCE) == 2


def test_chain(system: System) -> None:
    """A chain hands each result to the next task."""
    assert chain(jobs.add.s(2, 2), jobs.add.s(4), jobs.add.s(8))().get(timeout=PATIENCE) == 16


def test_pipe(system: System) -> None:
    """`|` makes a chain."""
    assert (jobs.add.s(2, 2) | jobs.add.s(4)).delay().get(timeout=PATIENCE) == 8


def test_partial_chain(system: System) -> None:
    """A chain takes arguments for its first task."""
    assert (jobs.add.s(2) | jobs.add.s(4)).delay(1).get(timeout=PATIENCE) == 7


def test_parents(system: System) -> None:
    """A chain's result knows the results before it."""
    result = chain(jobs.add.s(1, 1), jobs.add.s(1), jobs.add.s(1))()
    result.get(timeout=PATIENCE)
    assert [result.parent.parent.get(), result.parent.get(), result.get()] == [2, 3, 4]


def test_chain_that_fails(system: System, key: str) -> None:
    """A chain ends at the first task that fails, and `get()` of the last raises that error."""
    result = chain(jobs.add.s(1, 1), jobs.fail.si("in the middle"), jobs.note.si(key))()
    with pytest.raises(jobs.Unlucky, match="in the middle"):
        result.get(timeout=PATIENCE)
    assert system.notes_on(key) == []


def test_chain_link_error(system: System, key: str) -> None:
    """`link_error` of a chain is called for whichever task fails."""
    chain(jobs.add.s(1, 1), jobs.fail.si("x"), jobs.add.si(1, 1)).apply_async(link_error=jobs.on_error_by_id.s(key))
    assert len(system.noted(key)) == 1


def test_chain_link(system: System, key: str) -> None:
    """`link` of a chain gets its last result."""
    chain(jobs.add.s(1, 1), jobs.add.s(5)).apply_async(link=jobs.on_result.s(key))
    assert system.noted(key) == [7]


def test_long_chain(system: System) -> None:
    """A chain of fifty tasks gives its result."""
    assert chain(jobs.add.s(0, 1), *(jobs.add.s(1) for _ in range(49)))().get(timeout=PATIENCE) == 50


def test_nested_chain(system: System) -> None:
    """A chain may hold chains."""
    inner = chain(jobs.add.s(10), jobs.add.s(100))
    assert chain(jobs.add.s(1, 1), inner, jobs.add.s(1000))().get(timeout=PATIENCE) == 1112


def test_chain_over_queues(system: System) -> None:
    """Each task of a chain may run in a queue of its own."""
    steps = [jobs.add.s(1, 1), jobs.add.s(1).set(queue="lane"), jobs.add.s(1).set(queue="side")]
    assert chain(*steps)().get(timeout=PATIENCE) == 4


def test_chain_with_countdown(system: System) -> None:
    """A task of a chain may wait after the one before it."""
    started = time.time()
    assert chain(jobs.add.s(1, 1), jobs.add.s(1).set(countdown=0.6))().get(timeout=PATIENCE) == 3
    assert time.time() - started >= 0.6


def test_link_of_signature(system: System, key: str) -> None:
    """`signature.link()` adds a callback; links are followed one after the other."""
    first = jobs.add.s(1, 1)
    first.link(jobs.add.s(5) | jobs.on_result.s(key))
    first.delay()
    assert system.noted(key) == [7]


def test_on_error(system: System, key: str) -> None:
    """`signature.on_error()` adds an error callback."""
    result = jobs.fail.si("y").on_error(jobs.on_error_by_id.s(key)).delay()
    assert system.noted(key) == [result.id]


def test_group(system: System) -> None:
    """A group runs tasks side by side; its results come in the order of its tasks."""
    result = group(jobs.add.s(i, i) for i in range(10))()
    assert result.get(timeout=PATIENCE) == [2 * i for i in range(10)]
    assert (result.ready(), result.successful(), result.completed_count()) == (True, True, 10)


def test_side_by_side(system: System, key: str) -> None:
    """Tasks of a group really run at the same time."""
    result = group(jobs.hold.s(key, i) for i in range(3))()
    assert len({note["pid"] for note in system.noted(key, 3)}) == 3
    system.release(key, 3)
    assert result.get(timeout=PATIENCE) == [0, 1, 2]


def test_group_with_argument(system: System) -> None:
    """A group hands its arguments to each of its tasks."""
    assert group(jobs.add.s(i) for i in range(3))(10).get(timeout=PATIENCE) == [10, 11, 12]


def test_group_that_fails(system: System) -> None:
    """One failure fails the group, and the other results are there all the same."""
    result = group(jobs.add.s(1, 1), jobs.fail.s("one of them"), jobs.add.s(2, 2))()
    with pytest.raises(jobs.Unlucky, match="one of them"):
        result.get(timeout=PATIENCE)
    found = result.get(timeout=PATIENCE, propagate=False)
    assert (found[0], type(found[1]), found[2]) == (2, jobs.Unlucky, 4)
    assert result.failed()


def test_group_of_chains(system: System) -> None:
    """A group may hold chains."""
    result = group(chain(jobs.add.s(i, 1), jobs.add.s(10)) for i in range(3))()
    assert result.get(timeout=PATIENCE) == [11, 12, 13]


def test_group_of_groups(system: System) -> None:
    """A group may hold groups."""
    result = group(group(jobs.add.s(1, 1), jobs.add.s(2, 2)), jobs.add.s(3, 3))()
    assert result.get(timeout=PATIENCE) == [2, 4, 6]


def test_empty_group(system: System) -> None:
    """An empty group has an empty result."""
    assert group([])().get(timeout=PATIENCE) == []


def test_group_link(system: System, key: str) -> None:
    """A callback linked to a group is called once, without its results."""
    work = group(jobs.add.s(1, 1), jobs.add.s(2, 2))
    work.link(jobs.note.s(key, "called"))
    work.delay().get(timeout=PATIENCE)
    assert [note["text"] for note in system.noted(key)] == ["called"]


def test_group_link_error(system: System, key: str) -> None:
    """An error callback linked to a group is called for each of its tasks that fails."""
    work = group(jobs.fail.si("a"), jobs.fail.si("b"))
    work.link_error(jobs.on_error_by_id.s(key))
    result = work.delay()
    assert sorted(system.noted(key, 2)) == sorted(child.id for child in result.results)


def test_group_options(system: System) -> None:
    """Options of a group apply to each of its tasks."""
    results = group(jobs.context.s() for _ in range(2)).apply_async(queue="side")
    assert [found["delivery_info"]["routing_key"] for found in results.get(timeout=PATIENCE)] == ["side", "side"]


def test_group_id(system: System) -> None:
    """Each task of a group knows the group's id."""
    result = group(jobs.records_group.s() for _ in range(2))()
    assert result.get(timeout=PATIENCE) == [result.id, result.id]


def test_group_countdown(system: System) -> None:
    """`skew()` starts the tasks of a group one after the other."""
    started = time.time()
    work = group(jobs.add.s(i, 0) for i in range(3)).skew(start=0.1, stop=0.9, step=0.3)
    assert work().get(timeout=PATIENCE) == [0, 1, 2]
    assert time.time() - started >= 0.7


def test_group_revoke(system: System, key: str) -> None:
    """`revoke()` of a group's result revokes each of its tasks."""
    jobs.hold.apply_async((key,), queue="lane")
    system.noted(key)
    result = group(jobs.note.s(f"{key}-never") for _ in range(3)).apply_async(queue="lane")
    result.revoke()
    wait_for(lambda: set(system.inspect("revoked", worker=system.lane)) >= {r.id for r in result.results}, "revoked")
    system.release(key)
    wait_for(lambda: all(child.state == "REVOKED" for child in result.results), "all REVOKED")
    assert system.notes_on(f"{key}-never") == []


def test_map(system: System) -> None:
    """`map` applies a task to each argument in one message."""
    assert jobs.total.map([[1, 2], [3, 4]]).delay().get(timeout=PATIENCE) == [3, 7]


def test_starmap(system: System) -> None:
    """`starmap` does it with lists of arguments."""
    assert jobs.add.starmap([(1, 2), (3, 4)]).delay().get(timeout=PATIENCE) == [3, 7]


def test_chunks(system: System) -> None:
    """`chunks` divides many calls into messages of so many each."""
    result = chunks(jobs.add.s(), [(i, i) for i in range(10)], 4)()
    assert result.get(timeout=PATIENCE) == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


def test_replace(system: System) -> None:
    """`self.replace()` puts another task in the place of this one: under its id comes the other's result."""
    result = jobs.replaced_by.delay(1)
    assert result.get(timeout=PATIENCE) == 11


def test_replace_in_chain(system: System) -> None:
    """A replaced task of a chain hands on the result of what replaced it."""
    assert chain(jobs.add.s(1, 1), jobs.replaced_by.s(), jobs.add.s(100))().get(timeout=PATIENCE) == 112


def test_replace_by_chain(system: System) -> None:
    """A task may be replaced by a chain."""
    assert jobs.replaced_by_chain.delay(1).get(timeout=PATIENCE) == 111


def test_replace_by_group(system: System) -> None:
    """A task may be replaced by a group, whose results become its result."""
    assert jobs.replaced_by_group.delay(1).get(timeout=PATIENCE) == [1, 2, 3]


def test_replaced_callback(system: System, key: str) -> None:
    """A replaced task's callback is called with the result of what replaced it."""
    jobs.replaced_by.apply_async((1,), link=jobs.on_result.s(key))
    assert system.noted(key) == [11]


def test_parent_and_root(system: System) -> None:
    """Tasks of a chain know the one before them, and the first."""
    result = chain(jobs.context.si(), jobs.context.si(), jobs.context.si())()
    last = result.get(timeout=PATIENCE)
    assert (last["parent_id"], last["root_id"]) == (result.parent.id, result.parent.parent.id)


def test_child_of_a_task(system: System) -> None:
    """A task that another one starts has that one as parent and root."""
    result = jobs.starts_child.delay()
    child = system.app.AsyncResult(result.get(timeout=PATIENCE)).get(timeout=PATIENCE)
    assert (child["parent_id"], child["root_id"]) == (result.id, result.id)


def test_signature_by_name(system: System) -> None:
    """`app.signature(name)` needs no task in this process."""
    assert system.app.signature("promises.a_name_of_its_own").delay().get(timeout=PATIENCE) == "named"
