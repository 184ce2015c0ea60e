"""Signed webhooks and URL checks, against a real site on loopback."""

import base64
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from penstock.errors import SettingsError
from penstock.task import RunningJob, running
from tasks import webhooks
from tasks.webhooks import (
    DeliveryDelayed,
    DeliveryRefused,
    EgressRefused,
    EndpointGone,
    UnexpectedStatus,
    UnknownSecret,
    check_url,
    deliver,
)
from tests.tasks.conftest import SECRET
from tests.tasks.site import Reply, Request, Site

SUBMITTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def job() -> Iterator[RunningJob]:
    """A job in which the test runs, at its second attempt."""
    job = RunningJob(id=str(uuid.uuid4()), task="t", attempt=2, enqueued_at=SUBMITTED)
    with running(job):
        yield job


def verified(request: Request, secret: str = SECRET) -> object:
    """The body, once the scheme's own library has found the signature right."""
    return Webhook(secret).verify(request.body, dict(request.headers))


def test_a_webhook_carries_a_signature_that_the_official_library_verifies(site: Site, job: RunningJob) -> None:
    result = deliver(site.url("/hook"), "invoice.paid", {"id": 7, "name": "Zoë"})
    (request,) = site.requests
    assert verified(request) == {
        "type": "invoice.paid",
        "timestamp": "2026-01-02T03:04:05+00:00",
        "data": {"id": 7, "name": "Zoë"},
    }
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["Content-Type"] == "application/json"
    assert result.keys() == {"status", "elapsed_ms", "attempt"}
    assert (result["status"], result["attempt"]) == (200, 2)


def test_a_changed_body_does_not_verify(site: Site) -> None:
    deliver(site.url(), "invoice.paid", {"amount": 100})
    (request,) = site.requests
    request.body = request.body.replace(b"100", b"900")
    with pytest.raises(WebhookVerificationError):
        verified(request)


def test_another_secret_does_not_verify(site: Site) -> None:
    deliver(site.url(), "invoice.paid", {})
    with pytest.raises(WebhookVerificationError):
        verified(site.requests[0], "whsec_" + base64.b64encode(b"x" * 32).decode())


def test_every_attempt_sends_the_same_body_under_the_same_key(site: Site, job: RunningJob) -> None:
    site.replies = [Reply(500)]
    with pytest.raises(DeliveryDelayed):
        deliver(site.url(), "invoice.paid", [1])
    deliver(site.url(), "invoice.paid", [1])
    first, second = site.requests
    assert first.body == second.body
    for name in ("webhook-id", "Idempotency-Key"):
        assert first.headers[name] == second.headers[name] == job.id


def test_a_job_id_that_no_header_could_carry_is_sent_as_a_digest(site: Site) -> None:
    with running(RunningJob(id="odd.id\r\nX-Evil: 1", task="t", attempt=1)):
        deliver(site.url(), "x", 1)
        deliver(site.url(), "x", 1)
    first, second = (request.headers["webhook-id"] for request in site.requests)
    assert first == second
    assert first.isalnum()
    assert "X-Evil" not in site.requests[0].headers
    verified(site.requests[0])


def test_outside_of_a_job_each_call_has_an_id_of_its_own(site: Site) -> None:
    deliver(site.url(), "x", 1)
    deliver(site.url(), "x", 1)
    first, second = (request.headers["webhook-id"] for request in site.requests)
    assert first != second


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_a_delivery(site: Site, status: int) -> None:
    site.replies = [Reply(status, body=b"")]
    assert deliver(site.url(), "x", 1)["status"] == status


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_an_endpoint_in_trouble_is_tried_again(site: Site, status: int) -> None:
    site.replies = [Reply(status, body=b"come back later")]
    with pytest.raises(webhooks.PATIENCE.on, match=f"answered {status}: come back later"):
        deliver(site.url(), "x", 1)


def test_a_connection_that_fails_is_tried_again() -> None:
    with pytest.raises(webhooks.PATIENCE.on, match="refused"):
        deliver("http://127.0.0.1:9/", "x", 1)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_any_other_4xx_fails_at_once(site: Site, status: int) -> None:
    site.replies = [Reply(status, body=b"bad\n\x00 payload")]
    with pytest.raises(DeliveryRefused, match=f"answered {status}: bad payload") as caught:
        deliver(site.url(), "x", 1)
    assert not isinstance(caught.value, webhooks.PATIENCE.on)


def test_410_says_that_the_endpoint_is_gone(site: Site) -> None:
    site.replies = [Reply(410)]
    with pytest.raises(EndpointGone, match="gone"):
        deliver(site.url(), "x", 1)


def test_a_redirect_is_not_followed(site: Site) -> None:
    site.replies = [Reply(307, {"Location": "/elsewhere"})]
    with pytest.raises(DeliveryRefused, match=r"redirects \(307\) to .*/elsewhere, and webhooks are not"):
        deliver(site.url(), "x", 1)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (format_datetime(datetime(2026, 1, 1, tzinfo=UTC), usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_sets_the_pause(site: Site, header: str, seconds: float | None) -> None:
    site.replies = [Reply(503, {"Retry-After": header})]
    with pytest.raises(DeliveryDelayed) as caught:
        deliver(site.url(), "x", 1)
    assert caught.value.retry_after == seconds


def test_retry_after_may_be_a_date(site: Site) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    site.replies = [Reply(429, {"Retry-After": date})]
    with pytest.raises(DeliveryDelayed) as caught:
        deliver(site.url(), "x", 1)
    assert 290 < webhooks.PATIENCE.pause(1, caught.value) <= 300


def test_no_endpoint_can_ask_for_more_patience_than_there_is(site: Site) -> None:
    site.replies = [Reply(503, {"Retry-After": "99999999999999999999"})]
    with pytest.raises(DeliveryDelayed) as caught:
        deliver(site.url(), "x", 1)
    assert webhooks.PATIENCE.pause(1, caught.value) == webhooks.PATIENCE.cap


def test_an_unknown_secret_is_refused_before_anything_is_sent(site: Site) -> None:
    with pytest.raises(UnknownSecret, match=r"'other' \(known: default\)"):
        deliver(site.url(), "x", 1, secret="other")
    assert site.requests == []


@pytest.mark.parametrize(
    "secret",
    ["hunter2", "whsec_", "whsec_!!!!", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwbm9yZGVy"],
)
def test_a_malformed_secret_is_refused_and_not_shown(site: Site, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("TASKS_WEBHOOK_SECRETS", f"default={secret}")
    with pytest.raises(SettingsError, match="the secret 'default' is not whsec_") as caught:
        deliver(site.url(), "x", 1)
    assert secret == "whsec_" or secret not in str(caught.value)
    assert site.requests == []


@pytest.mark.parametrize("event", ["", "two words", "a\r\nb", "x" * 129, None, "ünicode"])
def test_an_odd_event_is_refused(site: Site, event: str) -> None:
    with pytest.raises(ValueError, match="event="):
        deliver(site.url(), event, 1)
    assert site.requests == []


def test_a_payload_that_is_not_json_is_refused(site: Site) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        deliver(site.url(), "x", float("nan"))
    assert site.requests == []


def test_a_webhook_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.delenv("TASKS_EGRESS_ALLOW")
    with pytest.raises(EgressRefused, match="loopback"):
        deliver(site.url(), "x", 1)
    assert site.requests == []


def test_the_secret_appears_in_no_error_and_no_result(site: Site) -> None:
    shown = [str(deliver(site.url(), "x", 1))]
    for status in (500, 400, 410, 302):
        site.replies = [Reply(status)]
        with pytest.raises((DeliveryDelayed, DeliveryRefused)) as caught:
            deliver(site.url(), "x", 1)
        shown.append(repr(caught.value) + repr(vars(caught.value)))
    assert not any(SECRET.removeprefix("whsec_") in text for text in shown)


def test_a_url_check_says_what_it_saw(site: Site) -> None:
    site.by_path["/old"] = Reply(301, {"Location": "/new"})
    site.by_path["/new"] = Reply(body=b"x" * 1000)
    result = check_url(site.url("/old"))
    assert result.pop("elapsed_ms") >= 0
    assert result == {"status": 200, "bytes": 1000, "cut": False, "url": site.url("/new")}


def test_another_status_than_expected_fails(site: Site) -> None:
    site.by_path["/"] = Reply(404, body=b"<p>No such page</p>")
    with pytest.raises(UnexpectedStatus, match="answered 404, expected 2xx: <p>No such page</p>"):
        check_url(site.url())
    assert check_url(site.url(), expect=[200, 404])["status"] == 404
    with pytest.raises(UnexpectedStatus, match="answered 404, expected 200 or 500"):
        check_url(site.url(), expect=[200, 500])


def test_a_redirect_can_be_what_is_expected(site: Site) -> None:
    site.replies = [Reply(304)]
    assert check_url(site.url(), expect=[304])["status"] == 304


@pytest.mark.parametrize("expect", [[], ["200"], 200, [None]])
def test_a_malformed_expectation_is_refused(site: Site, expect: list[int]) -> None:
    with pytest.raises(ValueError, match="expect="):
        check_url(site.url(), expect=expect)
    assert site.requests == []


def test_a_url_check_keeps_to_the_egress_rule(site: Site) -> None:
    site.replies = [Reply(302, {"Location": "http://192.168.0.1/admin"})]
    with pytest.raises(EgressRefused, match="private"):
        check_url(site.url())


def test_the_body_is_signed_as_it_is_sent(site: Site) -> None:
    """Receivers verify bytes: a body that is parsed and written anew need not be the same."""
    deliver(site.url(), "x", {"b": 1.0, "a": "\u2028"})
    assert json.loads(site.requests[0].body)["data"] == {"b": 1.0, "a": "\u2028"}
    verified(site.requests[0])
