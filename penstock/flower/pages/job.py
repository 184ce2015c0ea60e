"""The life of one job: what happened to it, what it was given, who is around it, and why it does not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from tornado.web import authenticated

from penstock.cancelling import end_in_words
from penstock.client.job import CANCEL_GRACE
from penstock.errors import JobNotFound, NotCancellable, PenstockError
from penstock.flower.family_chart import family_chart
from penstock.flower.job_reports import said_by
from penstock.flower.life_chart import MOST_ROWS, life_chart
from penstock.flower.page import Deed, Notice, Page
from penstock.flower.roles import Role
from penstock.job import Reason, State
from penstock.ledger import queries
from penstock.ledger.failed import RETRY
from penstock.ledger.rows import JobRow
from penstock.ledger.session import reading
from penstock.ledger.tables import plain
from penstock.operations.failures.failed import discard_jobs
from penstock.operations.jobs.arguments import as_text, edited, names_of, shown
from penstock.operations.jobs.cancel import cancel
from penstock.operations.jobs.family import Family, Member, find_family
from penstock.operations.jobs.life import Life, find_life
from penstock.operations.jobs.lookup import find_job
from penstock.operations.jobs.retry import Edited, retry_edited
from penstock.operations.jobs.waiting import find_waiting
from penstock.operations.jobs.why import why
from penstock.operations.wording import is_uuid, short_id
from penstock.why.reason import Why

MOST_CHILDREN = 1
"""Of a life: the family has them."""
MOST_EDITABLE = 50_000
"""Characters of arguments beyond which nobody edits them in a form."""
MOST_NAMED = 40
"""Arguments that are shown one by one."""


class NothingToDiscard(PenstockError):
    """A job is no failure that somebody has yet to deal with; reload its page."""


@dataclass(frozen=True)
class Form:
    """The arguments as they can be edited."""

    args: str
    kwargs: str
    is_redacted: bool


class JobPage(Page):
    """One job, with a row or without."""

    template = "job.html"
    tab = "history"
    new: str | None = None
    """The job that a deed has made."""
    refused: Notice | None = None
    """Why the arguments of the form are none."""

    @property
    def given(self) -> str:
        """The id in the address, as the ledger would keep it."""
        return plain(self.path_args[0] or "")

    @property
    def back(self) -> str:
        """After a retry, the page of the new job."""
        return self.link("job", self.new, of=self.given) if self.new else super().back

    @authenticated
    async def get(self, *_: str) -> None:
        """Shows the page of the job, or goes to it from the beginning of its id."""
        # Whatever is wrong is said by the page.
        with suppress(PenstockError):
            whole = await self.ask(self.whole_id)
            if whole is not None:
                self.redirect(self.link("job", whole))
                return
        await self.show_page()

    async def refuse(self, reason: Notice) -> None:
        """Keeps what somebody has typed on the page, to be corrected."""
        if "args" not in self.request.body_arguments:
            await super().refuse(reason)
            return
        self.refused = reason
        await self.show_page()

    def whole_id(self) -> str | None:
        """The only id that begins as the one in the address; None if that is a whole one, with a row or without."""
        if is_uuid(self.given):
            return None
        with reading(self.database_url) as connection:
            ids = queries.ids_like(connection, self.given, 2)
        if len(ids) != 1 or ids[0] == self.given or find_waiting(self.app, self.given):
            return None
        return ids[0]

    def read(self) -> dict[str, Any]:
        """Of a job with a row its life; of one that waits where it does; of any other what is known."""
        try:
            with reading(self.database_url) as connection:
                row = queries.find_job(connection, self.given)
                life = find_life(connection, row.id, MOST_CHILDREN) if row else None
                family = find_family(connection, life.job, life.replays) if life else None
                said = said_by(connection, life, self.text("log"), self.app.settings.timezone) if life else None
        except JobNotFound:
            life = family = None  # Deleted in between.
        found = {"id": self.given, "life": life, "waiting": None, "short": short_id(self.given)}
        if life is None or family is None:
            return found | self._without_row()
        return found | {
            "job": life.job,
            "said": said,
            "family": family,
            "relatives": list(_nested(list(_tree(family)))),
            "family_chart": family_chart(family, lambda id: self.link("job", id)),
            "life_chart": life_chart(life.phases, life.beginning, life.now, life.job.eta),
            "hidden": max(len(life.attempts) - MOST_ROWS, 0),
            "why": self._why(life.job.state),
            "arguments": self._arguments(life.job),
            "form": self._form(life.job),
            "is_open_failure": _is_open_failure(life),
            **({"notice": self.refused} if self.refused else {}),
        }

    def _why(self, state: State) -> Why | None:
        return None if state.is_final or state is State.RUNNING else why(self.app, self.given)

    def _without_row(self) -> dict[str, Any]:
        waiting = find_waiting(self.app, self.given)
        if waiting is not None:
            with suppress(JobNotFound):  # Claimed in between; its row comes.
                return {"waiting": waiting, "why": why(self.app, self.given)}
        if self._is_new():
            return {"reason": "", "live": False}
        self.set_status(404)
        return {"reason": self._why_unknown(), "live": self.given in self.application.events.state.tasks}

    def _is_new(self) -> bool:
        """Whether the retry that the address names has made this job: it has no row yet, and waits no more."""
        old = self.text("of")
        if not old:
            return False
        with reading(self.database_url) as connection:
            audit = queries.audit_of(connection, old)
        return any(isinstance(entry.details, dict) and entry.details.get("new") == self.given for entry in audit)

    def _why_unknown(self) -> str:
        try:
            with reading(self.database_url) as connection:
                find_job(connection, self.given)
        except JobNotFound as error:
            return str(error)
        return f"the ledger has a job whose id begins with {self.given}"

    def _arguments(self, job: JobRow) -> list[tuple[str, Any]]:
        """Each with its name, without secrets; those that are many or were no JSON together."""
        args, kwargs = shown(self.app, job, self.application.redaction)
        if not isinstance(job.args, list) or not isinstance(job.kwargs, dict):
            return []
        if len(args) + len(kwargs) > MOST_NAMED:
            return [("args", args), ("kwargs", kwargs)]
        names = names_of(self.app, job.task)
        named = [(names[place] if place < len(names) else f"[{place}]", value) for place, value in enumerate(args)]
        return [*named, *kwargs.items()]

    def _form(self, job: JobRow) -> Form | None:
        """What to edit; None for a job that has not ended, or whose arguments are far too long."""
        if not job.state.is_final:
            return None
        args, kwargs = (as_text(each) for each in shown(self.app, job, self.application.redaction))
        if len(args) + len(kwargs) > MOST_EDITABLE:
            return None
        is_redacted = (args, kwargs) != (as_text(job.args or []), as_text(job.kwargs or {}))
        return Form(*(self._typed() if self.refused else (args, kwargs)), is_redacted)

    def _typed(self) -> tuple[str, str]:
        """The positional and the named arguments as they are in the form."""
        args, kwargs = (self.get_body_argument(name, "", strip=False) for name in ("args", "kwargs"))
        return args, kwargs

    def retry(self) -> str:
        """Submits the job anew as it was."""
        return self._retry(Edited())

    def retry_edited(self) -> str:
        """Submits it with the arguments of the form."""
        with reading(self.database_url) as connection:
            row = find_job(connection, self.given)
        return self._retry(edited(self.app, row, self.application.redaction, *self._typed()))

    def _retry(self, changes: Edited) -> str:
        done = retry_edited(self.app, self.given, changes, actor=self.actor)
        self.new = done.new
        how = f" with other {' and '.join(changes.names)}" if changes.names else ""
        return f"{short_id(done.job)} is retried{how}; this is the new job"

    def discard(self) -> str:
        """Gives a failed job up."""
        if not discard_jobs(self.app, [self.given], actor=self.actor):
            raise NothingToDiscard("it has not failed, or was retried or discarded already; reload the page")
        return f"{short_id(self.given)} is discarded: it counts as dealt with"

    def cancel(self) -> str:
        """Cancels it; one that runs is asked to stop, and stopped when its grace is over."""
        return self._cancel(CANCEL_GRACE)

    def terminate(self) -> str:
        """Cancels it, and stops it if it runs."""
        return self._cancel(0)

    def _cancel(self, grace: float) -> str:
        done = cancel(self.app, [self.given], actor=self.actor, grace=grace)
        for row in done.ended:
            raise NotCancellable(f"it had ended already: {end_in_words(row)}")
        (meaning,) = done.means.values()
        return f"cancelled: {meaning}"

    deeds: ClassVar = {
        "retry": Deed(Role.OPERATOR, retry),
        "retry-edited": Deed(Role.OPERATOR, retry_edited),
        "discard": Deed(Role.OPERATOR, discard),
        "cancel": Deed(Role.OPERATOR, cancel),
        "terminate": Deed(Role.OPERATOR, terminate),
    }


def _is_open_failure(life: Life) -> bool:
    """Whether the job has failed and nobody has dealt with that; a message that is kept is dealt with itself."""
    if life.job.state is not State.FAILED or life.job.reason is Reason.DISCARDED or life.letters:
        return False
    return all(entry.action != RETRY for entry in life.audit)


def _tree(family: Family, of: str | None = None, depth: int = 0) -> Iterator[tuple[Member, int]]:
    """Each after the one that it comes from, with how deep it is; generations follow each other, so this ends."""
    for member in family.children_of(of):
        yield member, depth
        yield from _tree(family, member.job.id, depth + 1)


def _nested(tree: Sequence[tuple[Member, int]]) -> Iterator[tuple[Member, int]]:
    """Each with how many lists its line opens, or closes as a negative number."""
    for place, (member, depth) in enumerate(tree):
        yield member, (tree[place + 1][1] if place + 1 < len(tree) else 0) - depth
