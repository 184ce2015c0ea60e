"""What people and jobs say is text, on every page and in every answer, whatever it would like to be."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import Page

from penstock.flower.routes import ROUTES
from penstock.ledger import queries
from penstock.ledger.session import reading, writing
from tests.conftest import producer
from tests.flower.live.asking import OWN_FORM, Answer, ask, by_password
from tests.flower.live.conftest import NewGround, NewView
from tests.flower.live.ground import Flower, Ground
from tests.flower.live.hostile_tasks import PAYLOADS, repeat, shout
from tests.live import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
APP = "tests.flower.live.hostile_app"
SHORT = {name: payload for name, payload in PAYLOADS.items() if len(payload) < 1000}
STORABLE = {name: payload for name, payload in SHORT.items() if name != "half a character"}
HARM = "window.harm = () => { window.harmed = true; }"
SIGNS = ("<script>window.harm", "<img src=x", 'onmouseover="window.harm', "<svg onload", "<b>much", "10292395571")
"""What a page holds if a payload is more than text in it; the number is a template's that was carried out, and too long
to be part of an id by chance."""
FIELD = re.compile(r"<(?:input|select|textarea)[^>]*\bname=\"([^\"]+)\"")
IN_LINK = re.compile(r"href=\"[^\"]*\?([^\"]*)\"")
FEW = 25
"""Pages that a browser looks at: all lists, and jobs with every payload."""
FURTHER = ("after", "before", "deed", "_xsrf", "page", "sort", "unknown")
"""Parameters that are in no form."""


@pytest.fixture(scope="module")
def ground(new_ground: NewGround) -> Iterator[Ground]:
    with new_ground(FLOWER_INSPECT_TIMEOUT="100") as made:
        made.app = APP
        with made.worker("-E", "-n", "harmful<script>window.harm()</script>@here"):
            yield made


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    with ground.flower() as running:
        yield running


@pytest.fixture(scope="module")
def ids(ground: Ground, flower: Flower) -> list[str]:
    """Jobs that hold each payload in every field that a producer or a task fills in."""
    made = []
    with producer(ground.environment) as app:
        for payload in PAYLOADS.values():
            encodable = payload.encode("utf-8", "replace").decode()
            made += [repeat.enqueue(encodable).id, shout.enqueue(encodable).id]
        for name, payload in STORABLE.items():
            if "\x00" not in payload:
                tag = re.sub(r"[^!-~]", "", payload)[:64]
                made.append(repeat.options(tags=[tag]).enqueue(name).id)
                # A stock producer may call its jobs and tasks whatever it likes, and use any queue.
                made.append(app.send_task(repeat.name, (name,), task_id=f"{payload}{uuid.uuid4().hex}").id)
                app.send_task(payload, (payload,), {payload: payload}, queue="default")
                app.send_task(repeat.name, (payload,), queue=payload)
                with writing(ground.database_url) as connection:
                    queries.add_audit(connection, actor=payload, action=payload[:32], details={payload: payload})
    for id in made:
        wait_for(lambda id=id: (row := ground.row_of(id)) and row.state.is_final, f"{id} has ended", 30)
    return made


@pytest.fixture(scope="module")
def pages(ground: Ground, ids: list[str]) -> list[str]:
    """Addresses of every page of ours: each list, and what its rows lead to."""
    plain = [pattern for pattern, *_ in ROUTES if "(" not in pattern]
    rows = [row for id in ids if (row := ground.row_of(id))]
    prints = {row.error_fingerprint for row in rows if row.error_fingerprint}
    with reading(ground.database_url) as connection:
        queues = {row.queue for row in rows if row.queue}
        assert queries.ping(connection)
    known = {name for *_, name in ROUTES}
    each = {"job": ids, "failure": sorted(prints)[:3], "queue": sorted(queues | set(SHORT.values()))}
    patterns = {name: pattern for pattern, _, name in ROUTES}
    found = [
        patterns[name].replace("(.+)", quote(value, safe="", errors="replace"))
        for name, values in each.items()
        if name in known
        for value in values
    ]
    return plain + found


def look(flower: Flower, path: str) -> Answer:
    """A page, as an admin sees it, who sees most."""
    return ask(flower.url, path, headers=by_password("ada"))


def assert_harmless(answer: Answer, what: str) -> None:
    """It was answered, as text, with no header of somebody else's."""
    assert answer.status < 500, (what, answer.text[-2000:])
    assert [sign for sign in SIGNS if sign in answer.text] == [], what
    assert "harm" not in str(answer.headers.items()).replace("harmful", "") or answer.status in (302, 303), what
    assert not any(cookie.startswith("harm") for cookie in answer.headers.get_all("Set-Cookie", [])), what


def test_every_page_shows_what_jobs_say_as_text(flower: Flower, pages: list[str]) -> None:
    shown = {path: look(flower, path) for path in pages}
    for path, answer in shown.items():
        assert_harmless(answer, path)
    # None of it was left out: it stands there as it was said.
    told = [path for path, answer in shown.items() if "&lt;script&gt;window.harm()" in answer.text]
    assert {path.split("/")[1] for path in told} >= {"history", "job", "failures"}


def test_every_parameter_of_every_page_is_text(flower: Flower, pages: list[str]) -> None:
    plain = [path for path in pages if path.count("/") == 1] + [path for path in pages if path.count("/") > 1][:1]
    for path in plain:
        text = look(flower, path).text
        linked = {word.partition("=")[0] for words in IN_LINK.findall(text) for word in words.split("&amp;")}
        names = {name for name in {*FIELD.findall(text), *linked, *FURTHER} if name.isidentifier()}
        asked = [dict.fromkeys(names, payload) for payload in SHORT.values()]
        # One that is refused hides what the others would have done.
        asked += [{name: PAYLOADS[kind]} for name in sorted(names) for kind in ("an attribute", "a statement")]
        for query in asked:
            words = urlencode({name: payload.encode("utf-8", "surrogatepass") for name, payload in query.items()})
            assert_harmless(look(flower, f"{path}?{words}"), f"{path} {query}")


def test_every_part_of_an_address_is_text(flower: Flower) -> None:
    patterns = [pattern for pattern, *_ in ROUTES if "(" in pattern]
    flowers = ["/task/(.+)", "/worker/(.+)", "/api/task/info/(.+)", "/api/task/result/(.+)", "/(.+)"]
    for pattern in patterns + flowers:
        for name, payload in SHORT.items():
            part = quote(payload.encode("utf-8", "surrogatepass"), safe="")
            path = "".join(re.split(r"\([^)]*\)", pattern, maxsplit=1)) + part
            answer = look(flower, path)
            assert answer.status < 500, (path, answer.text[-1500:])
            assert [sign for sign in SIGNS if sign in answer.text] == [] or "/api/" in path, (pattern, name)


def test_every_field_of_a_form_is_text(flower: Flower) -> None:
    for pattern, page, _ in ROUTES:
        path = re.sub(r"\([^)]*\)", "unknown", pattern)
        for deed in page.deeds:
            for name in ("an attribute", "a header", "an end", "half a character"):
                words = PAYLOADS[name].encode("utf-8", "replace").decode()
                fields = {
                    "deed": deed,
                    **dict.fromkeys(("job", "entry", "id", "args", "kwargs", "note", "speed"), words),
                }
                fields |= dict.fromkeys(("limit", "count", "n", "reason", "fingerprint", "queue", "at"), words)
                answer = ask(flower.url, path, "POST", fields=fields, headers=by_password("ada") | OWN_FORM)
                assert answer.status < 500, (path, deed, name, answer.text[-1500:])
                assert not any(cookie.startswith("harm") for cookie in answer.headers.get_all("Set-Cookie", [])), (
                    path,
                    deed,
                    name,
                )


def test_no_script_of_a_jobs_own_runs_in_a_browser(
    flower: Flower, new_view: NewView, pages: list[str], ids: list[str]
) -> None:
    view = new_view(flower, user="ada")
    view.add_init_script(HARM)
    page: Page = view.new_page()
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    live = ["/workers", "/tasks", "/broker"]
    for path in [*live, *pages[:FEW]]:
        if look(flower, path).status == 200:
            page.goto(path)
            if path == "/tasks":
                page.locator("#tasks-table tbody tr").nth(3).wait_for()
            assert page.evaluate("window.harmed") is None, path
            assert page.locator("img[src='x'], svg[onload], script:text('harm')").count() == 0, path
    assert asked == []
