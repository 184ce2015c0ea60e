"""Deployments with Flower, each of one module, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import redis
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.conftest import NewLedger
from tests.flower.live.ground import PASSWORD, Flower, Ground

NewGround = Callable[..., AbstractContextManager[Ground]]
NewView = Callable[..., BrowserContext]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


@pytest.fixture(scope="module")
def new_ground(
    redis_server: str, new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NewGround]:
    """Makes a deployment without anything in it, on SQLite or PostgreSQL."""

    @contextmanager
    def make(database: str = "postgresql", **variables: str) -> Iterator[Ground]:
        with redis.Redis.from_url(redis_server) as client, new_ledger(database) as url:
            client.flushdb()
            yield Ground(tmp_path_factory.mktemp("flower"), redis_server, url, variables)
            client.flushdb()

    return make


@pytest.fixture(scope="module")
def flower(ground: Ground) -> Iterator[Flower]:
    """Flower on the module's own deployment, its fixture ``ground``."""
    with ground.flower() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium, of one module: while Playwright runs, so does its loop, and nobody here could begin another."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def new_view(browser: Browser) -> Iterator[NewView]:
    """Opens a window of somebody who has logged in; what a page's scripts complain of fails the test."""
    opened: list[BrowserContext] = []
    complaints: list[str] = []

    def make(flower: Flower, user: str = "otto", **options: object) -> BrowserContext:
        options = {"viewport": {"width": 1280, "height": 900}} | options
        credentials = {"username": user, "password": PASSWORD}
        context = browser.new_context(base_url=flower.url, http_credentials=credentials, **options)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        context.on("weberror", lambda told: complaints.append(str(told.error)))
        context.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()
    assert not complaints
