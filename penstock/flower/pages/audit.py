"""The books: whether every accepted job is accounted for, and who did what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from penstock.errors import PenstockError
from penstock.flower.details import in_brief
from penstock.flower.errands import Errand, Work
from penstock.flower.page import Deed, Page
from penstock.flower.roles import Role
from penstock.ledger.audit import LOOKED_AT, AuditFilter, AuditPlace, actions, list_audit
from penstock.ledger.rows import AuditRow
from penstock.ledger.session import reading
from penstock.operations.books import closing
from penstock.operations.books.account import Verdict
from penstock.operations.books.auditing import Report, audit
from penstock.operations.books.examination import FAULTS
from penstock.operations.books.lines import BESIDE, Line, lines_of
from penstock.operations.books.remarks import remarks_on
from penstock.operations.moments import moment_of
from penstock.operations.wording import short_id
from penstock.wording import counted

PAGE = 50
BOOKS, LOG = "books", "log"
VIEWS = {BOOKS: "Balance sheet", LOG: "Who did what"}
ASKED = ("actor", "action", "job", "since", "until")
"""Fields of the filter, as they stand in the address."""
NAMED = 20
"""Problems of each kind that are told by name."""
FIRST = 3
"""Problems that the sentence about a look tells."""


class BadView(PenstockError):
    """The page has no such view; the message names those that it has."""


class LookNotFound(PenstockError):
    """This look at every message is not kept any more; open the page Audit, and look anew."""


class NotAsConfirmed(PenstockError):
    """What would be done is not what somebody has agreed to; the message says what it is."""


@dataclass(frozen=True)
class Balance:
    """A report, and how many jobs could be given up when it was made."""

    report: Report
    lost: int

    @classmethod
    def of(cls, report: Report) -> Balance:
        """Without the rows of the lost jobs: one that is remembered must not hold a million of them."""
        examination = report.examination
        if examination is None:
            return cls(report, 0)
        return cls(replace(report, examination=replace(examination, lost=[])), len(closing.silent(examination.lost)))


class AuditPage(Page):
    """The balance sheet, and the log of deeds. Two views, so that nobody who turns a page weighs the books again."""

    template = "audit.html"
    tab = "audit"
    label = "Audit"

    def read(self) -> dict[str, Any]:
        """What the view of the address shows.

        Raises:
            BadView: there is no such view.
        """
        view = self.text("view") or BOOKS
        if view not in VIEWS:
            raise BadView(f"{view!r} is no view of the audit; known are {', '.join(VIEWS)}")
        views = [(label, self.link("audit", view="" if name == BOOKS else name), name == view)
                 for name, label in VIEWS.items()]  # fmt: skip
        return {"view": view, "views": views, **(self._log() if view == LOG else self._books())}

    # -- the balance sheet ----------------------------------------------------------------------------------------

    def _books(self) -> dict[str, Any]:
        look = self._look()
        balance = look.found if look else Balance.of(audit(self.app, (), deep=False, limit=NAMED))
        assert isinstance(balance, Balance)
        report = balance.report
        lines = lines_of(report.sheet.accounts)
        return {
            "report": report,
            "sentence": report.sentence.partition(": ")[2],
            "kind": report.verdict.words.replace(" ", "-"),
            "looked_at": look.started_at if look else None,
            "is_unexplained": report.verdict is not Verdict.BALANCED and report.examination is None,
            "tables": [
                ("Accepted, and where all of it is", "sheet", [line for line in lines if line not in BESIDE]),
                ("On neither side", "beside", [line for line in lines if line in BESIDE]),
            ],
            "amounts": lambda line: _amounts(report, line),
            "faults": FAULTS,
            "more": list(_more(report)),
            "remarks": list(remarks_on(report)),
            "lost": balance.lost,
            **_corrections(report),
        }

    def _look(self) -> Errand | None:
        """The look at every message that the address names; None: it names none.

        Raises:
            LookNotFound: it is not known.
        """
        id = self.text("look")
        found = self.application.errands.find(id) if id else None
        if id and not (found and isinstance(found.found, Balance)):
            raise LookNotFound(
                "this look at every message is not kept any more; open the page Audit, and look at them anew"
            )
        return found

    def look(self) -> Errand:
        """Looks at every message and every open row, however many there are."""
        app, books = self.app, self.link("audit")

        def work(errand: Errand) -> str:
            errand.back = books
            report = audit(app, (), deep=True, limit=NAMED)
            errand.found, errand.back = Balance.of(report), f"{books}?look={errand.id}"
            errand.done, errand.is_bad_news = report.sheet.weight, report.verdict is not Verdict.BALANCED
            return _told(report)

        return self.begin("Looking at every message and every open job", work)

    def fail_lost(self) -> Errand:
        """Records lost jobs as failed, those that somebody was shown."""
        app, actor, agreed = self.app, self.actor, self._agreed()

        def act() -> str:
            lost = closing.lost_jobs(app)
            _require(len(lost), agreed, f"{counted(len(lost), 'job')} could be recorded as failed now")
            failed = closing.fail_lost(app, lost, actor=actor)
            return f"{counted(failed, 'lost job')} recorded as failed; History can retry them"

        return self.begin(f"Recording {counted(agreed, 'lost job')} as failed", self._closing(act))

    def rebase(self) -> Errand:
        """Takes the present as a new beginning, with the corrections that somebody was shown."""
        app, actor, agreed = self.app, self.actor, self._agreed()

        def act() -> str:
            differences = closing.plan_rebase(app)
            _require(_sum(differences), agreed, f"the counts would be corrected by {_shown(differences)} now")
            closing.rebase(app, differences, actor=actor)
            return f"what was accepted is corrected by {_shown(differences)}: the present is the new beginning"

        return self.begin("Taking the present as a new beginning", self._closing(act))

    def _closing(self, act: Callable[[], str]) -> Work:
        books = self.link("audit")

        def work(errand: Errand) -> str:
            # Not to the look that led here: its sheet is of before.
            errand.back = books
            return act()

        return work

    def _agreed(self) -> int:
        """How many somebody has agreed to.

        Raises:
            NotAsConfirmed: the form does not say.
        """
        typed = self.text("count")
        if not (typed.isascii() and typed.isdigit() and len(typed) < 16):
            raise NotAsConfirmed("nothing was done: it is not said how many are meant; use the button on the page")
        return int(typed)

    # -- who did what ---------------------------------------------------------------------------------------------

    def _log(self) -> dict[str, Any]:
        asked = {name: self.text(name).strip() for name in ASKED}
        chosen, after = self.chosen(asked), self.text("after")
        with reading(self.database_url) as connection:
            page = list_audit(connection, chosen, PAGE, AuditPlace.of(after) if after else None)
            known = actions(connection)
        return {
            "asked": asked,
            "rows": [(row, *self._details(row)) for row in page.rows],
            "known_actions": known,
            "filtered": lambda **other: self.link("audit", view=LOG, **{**asked, **other}),
            "cut_short": page.after.at if page.after and page.is_cut_short else None,
            "older": self.link("audit", view=LOG, **asked, after=page.after.cursor) if page.after else "",
            "looked_at": LOOKED_AT,
        }

    def chosen(self, asked: dict[str, str]) -> AuditFilter:
        """The filter that the address asks for.

        Raises:
            BadMoment: a time is none.
        """
        zone = self.app.settings.timezone
        return AuditFilter(
            actor=asked["actor"] or None,
            action=asked["action"] or None,
            job_id=asked["job"] or None,
            since=moment_of(asked["since"], zone) if asked["since"] else None,
            until=moment_of(asked["until"], zone) if asked["until"] else None,
        )

    def _details(self, row: AuditRow) -> tuple[str, bool]:
        return in_brief(self.application.redaction.value(None, row.details))

    deeds: ClassVar = {
        "look": Deed(Role.OPERATOR, look),
        "fail-lost": Deed(Role.ADMIN, fail_lost),
        "rebase": Deed(Role.ADMIN, rebase),
    }


def _amounts(report: Report, line: Line) -> list[int]:
    """Of each queue, and of all if there are several."""
    amounts = [line.amount(account) for account in report.sheet.accounts]
    return [*amounts, sum(amounts)] if len(amounts) > 1 else amounts


def _more(report: Report) -> Iterator[str]:
    """What is not told by name."""
    counts = report.examination.counts if report.examination else {}
    for kind, count in counts.items():
        if more := count - sum(problem.kind is kind for problem in report.problems):
            yield f"{more:,} more: {kind}"


def _corrections(report: Report) -> dict[str, Any]:
    """By how much what was accepted would be corrected, as far as that is known."""
    is_known = report.sheet.is_examined and report.verdict is not Verdict.BALANCED
    differences = closing.corrections(report.sheet) if is_known else {}
    return {"corrected": _sum(differences), "corrections": _shown(differences)}


def _sum(differences: dict[str, int]) -> int:
    return sum(map(abs, differences.values()))


def _shown(differences: dict[str, int]) -> str:
    return ", ".join(f"{change:+,} in {queue}" for queue, change in differences.items() if change) or "nothing"


def _require(count: int, agreed: int, now: str) -> None:
    if count != agreed:
        raise NotAsConfirmed(f"nothing was done: {now}, which is not what was agreed to; look again")


def _told(report: Report) -> str:
    """The sentence, and the first problems."""
    first = [f"{each.kind} {short_id(each.job_id)}: {each.text}" for each in report.problems[:FIRST]]
    left = len(report.problems) - len(first)
    return "; ".join([report.sentence, *first, *([f"and {left:,} more"] if left else [])])
