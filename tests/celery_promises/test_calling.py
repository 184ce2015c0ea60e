"""Calling tasks"""

import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from tests.celery_promises import jobs
from tests.celery_promises.system import System

PATIENCE = 10


def test_delay(system: System) -> None:
    """`delay(*args, **kwargs)` sends a message and returns a result object at once."""
    result = jobs.add.delay(2, y=3)
    assert result.id
    assert result.get(timeout=PATIENCE) == 5


def test_apply_async(system: System) -> None:
    """`apply_async(args, kwargs)` does the same with options beside the arguments."""
    result = jobs.echo.apply_async(("a", 1), {"b": [2, None]}, task_id=f"chosen-{uuid.uuid4().hex}")
    assert result.get(timeout=PATIENCE) == {"args": ["a", 1], "kwargs": {"b": [2, None]}}


def test_custom_id(system: System, key: str) -> None:
    """`task_id` chooses the id, which need not be a UUID."""
    result = jobs.context.apply_async(task_id=f"order #{key}")
    assert result.id == f"order #{key}"
    assert result.get(timeout=PATIENCE)["id"] == result.id


def test_send_task(system: System) -> None:
    """`app.send_task(name)` calls a task that this process need not know."""
    assert system.app.send_task("promises.a_name_of_its_own").get(timeout=PATIENCE) == "named"


def test_names(system: System) -> None:
    """A task is called after its module and function unless `name` says otherwise."""
    assert jobs.add.name == "tests.celery_promises.jobs.add"
    assert jobs.named.name == "promises.a_name_of_its_own"
    assert jobs.named.delay().get(timeout=PATIENCE) == "named"


def test_apply(system: System) -> None:
    """`apply()` runs the task here and now, without a worker."""
    result = jobs.context.apply()
    assert result.state == "SUCCESS"
    assert result.get()["is_eager"] is True


def test_call(system: System) -> None:
    """Calling a task like a function just runs the function."""
    assert jobs.add(2, 2) == 4
    assert jobs.context()["called_directly"] is True


def test_argument_check(system: System) -> None:
    """Arguments that do not fit the signature raise TypeError where the task is called."""
    with pytest.raises(TypeError):
        jobs.add.delay(1)


def test_untyped(system: System) -> None:
    """`typing=False` leaves that check to the worker."""
    assert jobs.untyped.delay(1, 2, 3).get(timeout=PATIENCE) == 3


def test_wrong_arguments_in_worker(system: System) -> None:
    """Wrong arguments that reach a worker fail the task with TypeError."""
    result = system.app.send_task("tests.celery_promises.jobs.add", args=(1,))
    with pytest.raises(TypeError):
        result.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (datetime(2026, 11, 22, 8, 30, tzinfo=UTC), "datetime"),
        (date(2026, 11, 22), "date"),
        (time(8, 30), "time"),
        (Decimal("1.10"), "Decimal"),
        (uuid.UUID(int=7), "UUID"),
        (b"\x00\xff", "bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_json_types(system: System, value: Any, kind: str) -> None:
    """Dates, times, decimals, UUIDs and bytes arrive as what they were."""
    assert jobs.describes.delay(value).get(timeout=PATIENCE) == kind
    returned = jobs.add.delay([value], []).get(timeout=PATIENCE)
    assert returned == [value]


def test_text(system: System) -> None:
    """Text arrives unchanged in any script, with control characters and in any length."""
    text = "Größe 漢字 \U0001f40d \x06\x16\x1f \n" * 20_000
    assert jobs.add.delay(text, "").get(timeout=PATIENCE) == text


@pytest.mark.parametrize("value", [[], {}, 2**70, 0.1, None, True, {"a": {"b": [[], {}]}}], ids=repr)
def test_values(system: System, value: Any) -> None:
    """Empty lists and mappings, big integers and fractions arrive exactly."""
    assert jobs.echo.delay(value).get(timeout=PATIENCE)["args"] == [value]


@pytest.mark.parametrize("method", ["gzip", "bzip2"])
def test_compression(system: System, method: str) -> None:
    """`compression` compresses the message on its way."""
    assert jobs.add.apply_async(("x" * 5000, "y"), compression=method).get(timeout=PATIENCE) == "x" * 5000 + "y"


def test_unserialisable_arguments(system: System) -> None:
    """Arguments that JSON cannot hold raise where the task is called, and nothing is sent."""
    with pytest.raises(Exception, match="JSON serializable"):
        jobs.echo.apply_async((object(),), queue="nobody")
    assert system.depth("nobody") == 0


def test_headers(system: System) -> None:
    """`headers` reach the task's request."""
    assert jobs.context.apply_async(headers={"tenant": "north"}).get(timeout=PATIENCE)["headers"]["tenant"] == "north"


def test_shadow(system: System) -> None:
    """`shadow` gives the call another name in logs and events."""
    result = jobs.context.apply_async(shadow="a shadow")
    assert result.get(timeout=PATIENCE)["shadow"] == "a shadow"
    assert system.event("task-received", uuid=result.id)["name"] == "a shadow"


def test_argsrepr(system: System) -> None:
    """`argsrepr` and `kwargsrepr` hide arguments from logs and events."""
    result = jobs.add.apply_async(("secret", "!"), argsrepr="(<hidden>)", kwargsrepr="{<hidden>}")
    assert result.get(timeout=PATIENCE) == "secret!"
    event = system.event("task-received", uuid=result.id)
    assert (event["args"], event["kwargs"]) == ("(<hidden>)", "{<hidden>}")


def test_link(system: System, key: str) -> None:
    """`link` calls another task with the result."""
    jobs.add.apply_async((2, 2), link=jobs.on_result.s(key))
    assert system.noted(key) == [4]


def test_several_links(system: System, key: str) -> None:
    """`link` takes several callbacks, and each runs."""
    jobs.add.apply_async((2, 2), link=[jobs.on_result.s(key), jobs.on_result.s(key)])
    assert system.noted(key, 2) == [4, 4]


def test_link_error(system: System, key: str) -> None:
    """`link_error` calls another task with request, exception and traceback of the one that failed."""
    result = jobs.fail.apply_async(("bad",), link_error=jobs.on_error.s(key))
    (note,) = system.noted(key)
    assert note["id"] == result.id
    assert "bad" in note["exc"]
    assert "Unlucky" in note["traceback"]


def test_link_error_by_id(system: System, key: str) -> None:
    """An error callback that takes one argument gets the failed task's id."""
    result = jobs.fail.apply_async(link_error=jobs.on_error_by_id.s(key))
    assert system.noted(key) == [result.id]


def test_connection(system: System) -> None:
    """`connection` publishes over a connection of the caller's."""
    with system.app.connection_for_write() as connection:
        assert jobs.add.apply_async((1, 2), connection=connection).get(timeout=PATIENCE) == 3


def test_producer(system: System) -> None:
    """`producer` publishes over a producer of the caller's, several messages over the same one."""
    with system.app.producer_pool.acquire(block=True) as producer:
        results = [jobs.add.apply_async((i, 0), producer=producer) for i in range(3)]
    assert [result.get(timeout=PATIENCE) for result in results] == [0, 1, 2]


def test_many(system: System) -> None:
    """Three hundred calls in a row give three hundred results."""
    results = [jobs.add.delay(i, i) for i in range(300)]
    assert [result.get(timeout=PATIENCE) for result in results] == [2 * i for i in range(300)]


def test_reply_to(system: System) -> None:
    """`reply_to` reaches the task's request."""
    assert jobs.context.apply_async(reply_to="somebody").get(timeout=PATIENCE)["reply_to"] == "somebody"
