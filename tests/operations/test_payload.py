"""Messages that anybody may have written, opened as far as that is safe."""

import base64
import json
import pickle
from typing import Any

import pytest

from penstock.operations.payload import SHOWN_BYTES, decode, payload_as_json, shown_bytes
from tests.broker.messages import raw_message


def envelope(body: bytes, headers: dict[str, Any] | None = None, **changes: Any) -> bytes:
    properties = {"body_encoding": "base64"}
    payload = {"body": base64.b64encode(body).decode(), "headers": headers or {}, "properties": properties}
    return json.dumps(payload | changes).encode()


class Trap:
    """Says so when it is opened."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("pickle was opened",))


def test_a_task_s_message_is_opened_down_to_its_arguments() -> None:
    found = decode(raw_message("1", 1, "a"))
    assert (found.problem, found.job, found.task) == ("", "1", "tests.jobs.add")
    assert found.call == "tests.jobs.add(1, 'a')"
    assert found.enqueued_at is not None


def test_a_body_in_base64_is_opened() -> None:
    found = decode(envelope(b'[[1], {"a": 2}, {}]', {"task": "t", "id": "1"}))
    assert found.call == "t(1, a=2)"


def test_pickle_stays_closed_and_says_so() -> None:
    raw = envelope(pickle.dumps(Trap()), {"task": "t", "id": "1"}, **{"content-type": "application/x-python-serialize"})
    found = decode(raw)
    assert "application/x-python-serialize and no JSON" in found.problem
    assert found.call == "t(…)"
    assert payload_as_json(found)["body"] is None


@pytest.mark.parametrize("raw", [b"", b"\xff\x00", b"[]", b"null", b'{"body": 1}', b"[" * 100_000])
def test_what_is_no_message_is_shown_as_it_is(raw: bytes) -> None:
    found = decode(raw)
    assert found.problem
    assert (found.job, found.task) == ("", "")
    assert base64.b64decode(payload_as_json(found)["base64"]) == raw
    assert found.call == ""


@pytest.mark.parametrize("body", [b"5", b'"text"', b"[]", b"[1, 2]", b'[[1], "no", {}]'])
def test_a_body_of_another_form_does_no_harm(body: bytes) -> None:
    assert decode(envelope(body, {"task": "t", "id": "1"})).call.startswith("t(")


def test_headers_of_the_wrong_kind_count_as_absent() -> None:
    found = decode(envelope(b"[[], {}, {}]", {"task": ["t"], "id": 5, "enqueued_at": {"a": 1}}))
    assert (found.job, found.task, found.enqueued_at) == ("", "", None)


def test_bytes_are_text_where_they_are_and_cut_where_they_are_many() -> None:
    assert shown_bytes("ä".encode()) == "ä"
    assert shown_bytes(b"\xff") == "b'\\xff'"
    assert shown_bytes(b"a" * (SHOWN_BYTES + 1)).endswith("a … (cut: 2,001 bytes)")
    assert shown_bytes(b"a" * (SHOWN_BYTES + 1), "--json has all").endswith("(cut: 2,001 bytes; --json has all)")
