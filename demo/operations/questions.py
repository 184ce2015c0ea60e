"""What an operator asks, answered from Flower's pages alone by a browser that counts its clicks and its seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.operations.day import CHARGES, Day
from penstock.errors import PenstockError
from penstock.job import State

MOST_SECONDS, MOST_CLICKS = 10.0, 4
PATIENCE_MS = 10_000


class Unanswered(PenstockError):
    """A page has not said what it has to."""


@dataclass
class Operator:
    """Whoever looks at Flower, and how often they have clicked.

    Attributes:
        page: the browser's, at Flower's start page when a question begins.
    """

    page: Any
    clicks: int = 0

    def click(self, role: str, name: str | re.Pattern[str], *, within: str = "body") -> None:
        """Clicks on the first thing of its kind that is called like this, and waits for what comes."""
        self.clicks += 1
        self.page.locator(within).get_by_role(role, name=name).first.click()
        self.page.wait_for_load_state("load")

    def type(self, label: str, text: str) -> None:
        """Fills a field in."""
        self.page.get_by_label(label, exact=True).first.fill(text)

    def read(self, place: str) -> str:
        """What stands in a place, on one line."""
        found = self.page.locator(place).first
        found.wait_for(timeout=PATIENCE_MS)
        return " ".join(found.inner_text().split())


@dataclass(frozen=True)
class Question:
    """One of them.

    Attributes:
        name: of its picture.
        text: as somebody would ask it.
        ask: clicks and reads; the answer.
        expects: what the answer has to say, as a regular expression.
        check: whether what was done is so, by the ledger.
    """

    name: str
    text: str
    ask: Callable[[Operator, Day], str]
    expects: str
    check: Callable[[Day], bool] = field(default=lambda _: True)


@dataclass(frozen=True)
class Answer:
    """What the pages have said."""

    question: Question
    text: str
    seconds: float
    clicks: int

    @property
    def is_good(self) -> bool:
        """Whether it was there soon, and without much ado."""
        return self.seconds < MOST_SECONDS and self.clicks <= MOST_CLICKS


def _what_failed(operator: Operator, _: Day) -> str:
    operator.click("link", "Failures")
    operator.click("link", "Last hour")
    return operator.read("#errors tbody tr")


def _retry_all(operator: Operator, day: Day) -> str:
    day.gateway.touch()  # Somebody has repaired it.
    operator.click("link", "Failures")
    operator.click("link", re.compile("GatewayTimeout"))
    operator.page.once("dialog", lambda dialog: dialog.accept())
    operator.click("button", re.compile("Replay all"))
    return operator.read("#outcome, #notice")


def _why_not_started(operator: Operator, day: Day) -> str:
    operator.click("link", "History")
    operator.type("Id", day.unstarted)
    operator.click("button", "Search")
    operator.click("link", re.compile(day.unstarted[:8]), within="main")
    return operator.read("#why .penstock-sentence")


def _which_queue_is_late(operator: Operator, _: Day) -> str:
    operator.click("link", "Queues")
    return operator.read("#queues tbody tr")


def _which_schedule_missed(operator: Operator, _: Day) -> str:
    operator.click("link", "Schedules")
    return operator.read("#lately tbody tr")


def _which_worker_is_stuck(operator: Operator, _: Day) -> str:
    operator.click("link", "Processes")
    return operator.read("#workers tbody tr")


QUESTIONS = (
    Question(
        "failed", "What failed in the last hour, and why?", _what_failed, "GatewayTimeout: .*no answer within 30 s"
    ),
    Question(
        "replay",
        "Retry all of one failure",
        _retry_all,
        f"{CHARGES} .*replayed",
        lambda day: day.count("orders.charge_card", State.SUCCEEDED) == CHARGES,
    ),
    Question(
        "unstarted",
        "Why has job X not started?",
        _why_not_started,
        "queue reports was paused .*the warehouse is being moved",
    ),
    Question("late", "Which queue is late, and since when?", _which_queue_is_late, r"^imports late since 20\d\d-"),
    Question(
        "missed",
        "Which schedule missed its fire, and why?",
        _which_schedule_missed,
        "^exchange rates missed .*no scheduler was up",
    ),
    Question("stuck", "Which worker is stuck?", _which_worker_is_stuck, "^imports@shop stuck"),
)


def ask_all(day: Day, browser: Any, pictures: Path | None, tell: Callable[[str], None]) -> Sequence[Answer]:
    """Asks one after the other, each from Flower's start page.

    Args:
        pictures: a folder for what the browser shows at the end of each; None: none are taken.

    Raises:
        Unanswered: a page does not say what it has to, or what was done on it is not so.
    """
    user, password = day.credentials
    context = browser.new_context(
        base_url=day.flower,
        http_credentials={"username": user, "password": password},
        viewport={"width": 1280, "height": 760},
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    answers = []
    for question in QUESTIONS:
        operator = Operator(context.new_page())
        answers.append(_ask(question, operator, day))
        if pictures is not None:
            operator.page.screenshot(path=pictures / f"{question.name}.png")
        operator.page.close()
        tell(f"{question.text}  {answers[-1].seconds:.1f} s, {answers[-1].clicks} clicks")
    context.close()
    return answers


def _ask(question: Question, operator: Operator, day: Day) -> Answer:
    from playwright.sync_api import Error

    operator.page.goto("/")
    begun = time.monotonic()
    try:
        text = question.ask(operator, day)
    except Error as error:
        raise Unanswered(f"{question.text} {error.message}") from error
    seconds = time.monotonic() - begun
    if not re.search(question.expects, text):
        raise Unanswered(f"{question.text} The page says {text!r}")
    _await_effect(question, day)
    return Answer(question, text, seconds, operator.clicks)


def _await_effect(question: Question, day: Day) -> None:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not question.check(day):
        if time.monotonic() > deadline:
            raise Unanswered(f"{question.text} The page says that it is done, and the ledger does not know of it")
        time.sleep(0.1)
