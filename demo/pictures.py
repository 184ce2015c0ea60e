"""Pictures of Flower's pages, taken by a real browser, with the demo's jobs on them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.accounts import Accepted
from demo.plan import Effect
from demo.stage import Stage
from penstock import State
from penstock.flower import Access

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
QUIET_TOO = ("--disable-component-update", "--disable-sync")
SIZE = {"width": 1280, "height": 900}


class Unpictured(Exception):
    """A page could not be pictured, or does not show the demo's jobs."""


@dataclass(frozen=True)
class Page:
    """A page of Flower.

    Attributes:
        name: of the picture.
        path: of the page.
        shows: what must be readable on it.
        search: what to type into the page's search field.
    """

    name: str
    path: str
    shows: tuple[str, ...]
    search: str = ""


def make_ready(folder: Path) -> None:
    """Makes the folder and removes an earlier run's pictures from it.

    Raises:
        Unpictured: there is no browser, or nothing to drive it with.
    """
    browser_path()
    if importlib.util.find_spec("playwright") is None:
        raise Unpictured("no Playwright found; install it (pip install playwright) or unset DEMO_PICTURES")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for picture in folder.glob("*.png"):
            picture.unlink()
    except OSError as error:
        raise Unpictured(f"{folder} cannot be used ({error.strerror}); set DEMO_PICTURES to another folder") from error


def take(stage: Stage, accepted: Sequence[Accepted], folder: Path) -> None:
    """Saves a picture of each page in a folder that was made ready.

    Raises:
        Unpictured: a page lacks what it must show.
    """
    from playwright.sync_api import Error, sync_playwright

    user, _, password = Access.load(stage.settings).basic_auth[0].partition(":")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=[*QUIET, *QUIET_TOO])
            context = browser.new_context(viewport=SIZE, http_credentials={"username": user, "password": password})  # type: ignore[arg-type]
            view = context.new_page()
            for page in _pages(accepted):
                view.goto(stage.flower + page.path, wait_until="load")
                if page.search:
                    view.get_by_role("searchbox").first.fill(page.search)
                for text in page.shows:
                    view.get_by_text(text).filter(visible=True).first.wait_for(timeout=15_000)
                view.screenshot(path=folder / f"{page.name}.png")
            browser.close()
    except Error as error:
        raise Unpictured(f"{page.name}: {error.message}") from error


def _pages(accepted: Sequence[Accepted]) -> list[Page]:
    succeeded = _first(accepted, State.SUCCEEDED, Effect.HOOK)
    # Of those that the page of all jobs is searched for: coroutines fail with pages of their own.
    failed = next(job for job in accepted if job.ends is State.FAILED and job.label.startswith("URL checks"))
    workflow = _first(accepted, State.SUCCEEDED, Effect.WORKFLOW)
    return [
        Page("history", "/history?state=failed", (failed.id[:8], "failed")),
        Page("job", f"/job/{failed.id}", (failed.id, "failed")),
        Page("failures", "/failures", ("failed jobs with",)),
        Page("queues", "/queues", ("default", "web")),
        Page("schedules", "/schedules", ("heartbeat",)),
        Page("processes", "/processes", ("cpu@", "io@")),
        Page("audit", "/audit", ("balanced",)),
        Page("workers", "/workers", ("cpu@", "io@")),
        Page("broker", "/broker", ("default", "web")),
        Page("jobs", "/tasks", (failed.id, "FAILURE"), search="state:FAILURE name:check_url"),
        Page("job-succeeded", f"/task/{succeeded.id}", (succeeded.id, "SUCCESS")),
        Page("job-failed", f"/task/{failed.id}", (failed.id, "FAILURE")),
        Page("job-workflow", f"/task/{workflow.id}", (workflow.id, "SUCCESS")),
    ]


def _first(accepted: Sequence[Accepted], ends: State, effect: Effect) -> Accepted:
    return next(job for job in accepted if job.ends is ends and job.effect is effect)


def browser_path() -> str:
    """The Chromium of this machine.

    Raises:
        Unpictured: there is none.
    """
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise Unpictured("no Chromium found; install it (Debian: apt-get install chromium) or unset DEMO_PICTURES")
