"""What anybody may have pushed is read, or refused with a reason; times in it are shifted to this host's clock."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps

from penstock.broker import envelope

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def payload(**headers: Any) -> dict[str, Any]:
    return {"body": "W10=", "headers": headers, "properties": {"body_encoding": "base64"}}


@given(raw=st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(envelope.Unreadable):
        envelope.read(raw)


@given(
    properties=st.dictionaries(st.sampled_from(["body_encoding", "delivery_info", "priority"]), values),
    body=values,
    headers=values,
)
def test_any_json_is_read_into_a_whole_envelope_or_refused(properties: Any, body: Any, headers: Any) -> None:
    try:
        read = envelope.read(json.dumps({"properties": properties, "body": body, "headers": headers}).encode())
    except envelope.Unreadable:
        return
    assert isinstance(read["headers"], dict)
    assert isinstance(read["properties"]["delivery_info"], dict)
    assert envelope.job_id(read) is not None
    assert envelope.due_ms(read) >= 0


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"not json", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "a JSON list"),
        (b"null", "a JSON NoneType"),
        (b"{}", "without properties"),
        (b'{"properties": {}, "headers": {}}', "without a body"),
        (b'{"properties": {}, "body": "", "headers": []}', "its headers are not an object"),
        (b'{"properties": {"body_encoding": "base64"}, "body": "W10"}', "its body is not base64"),
        (b'{"properties": {"body_encoding": "zip"}, "body": ""}', "encoded as 'zip'"),
        (b'{"properties": {"__type__": "uuid", "__value__": "x"}, "body": ""}', "not JSON"),
    ],
)
def test_the_reason_says_what_is_wrong(raw: bytes, reason: str) -> None:
    with pytest.raises(envelope.Unreadable, match=reason):
        envelope.read(raw)


def test_a_message_of_kombus_is_read_with_the_types_in_its_headers() -> None:
    raw = dumps(payload(id="j1", eta=NOON)).encode()
    assert envelope.due_ms(envelope.read(raw)) == NOON_MS
    assert envelope.read(raw)["headers"]["eta"] == NOON


def test_missing_headers_are_none() -> None:
    assert envelope.read(b'{"properties": {}, "body": "", "headers": null}')["headers"] == {}


@pytest.mark.parametrize("encoding", ["base64", "utf-8"])
def test_the_body_is_decoded_in_either_encoding(encoding: str) -> None:
    text = json.dumps([[1], {}, {}])
    body = base64.b64encode(text.encode()).decode() if encoding == "base64" else text
    assert envelope.body({"body": body, "properties": {"body_encoding": encoding}}) == [[1], {}, {}]


def test_a_body_that_is_no_json_is_none() -> None:
    assert envelope.body({"body": "\x80", "properties": {}}) is None


@pytest.mark.parametrize(
    ("eta", "due"),
    [
        ("2026-06-01T12:00:00+00:00", NOON_MS),
        ("2026-06-01T14:00:00+02:00", NOON_MS),
        ("2026-06-01T12:00:00Z", NOON_MS),
        ("2026-06-01T12:00:00", NOON_MS),  # without a zone it means UTC, as for Celery
        (None, 0),
        ("next week", 0),
        (7, 0),
        ("0001-01-01T00:00:00+10:00", 0),
    ],
)
def test_a_job_is_due_at_its_eta(eta: Any, due: int) -> None:
    assert envelope.due_ms(payload(eta=eta)) == due


@pytest.mark.parametrize("name", ["eta", "expires"])
def test_times_are_shifted_by_the_difference_of_the_clocks(name: str) -> None:
    shifted = payload(**{name: NOON.isoformat()})
    envelope.localise(shifted, 3_600_000)
    assert datetime.fromisoformat(shifted["headers"][name]) == NOON + timedelta(hours=1)


def test_times_are_left_alone_when_the_clocks_agree() -> None:
    kept = payload(eta=NOON.isoformat(), expires="2026-06-01T12:00:00")
    envelope.localise(kept, -900)
    assert kept["headers"] == {"eta": NOON.isoformat(), "expires": "2026-06-01T12:00:00"}


def test_what_is_no_time_is_left_for_celery_to_complain_of() -> None:
    kept = payload(eta=[1], expires="soon")
    envelope.localise(kept, 3_600_000)
    assert kept["headers"] == {"eta": [1], "expires": "soon"}
