"""What our pages share: questions and deeds in threads, errors as pages, and a sentence about what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

from tornado.escape import xhtml_escape
from tornado.web import HTTPError, RequestHandler, authenticated

from penstock.errors import BrokerUnavailable, LedgerOutdated, LedgerUnavailable, PenstockError
from penstock.flower.errands import Errand, Work
from penstock.flower.guard import Guarded, reason_of
from penstock.flower.roles import Role
from penstock.flower.show import Show
from penstock.operations.deployment import booked
from penstock.wording import printable

T = TypeVar("T")
AWAY = (LedgerUnavailable, LedgerOutdated, BrokerUnavailable)
NOTICE, NOTICE_BYTES = "notice", 2500
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)


@dataclass(frozen=True)
class Notice:
    """What the page says of the deed before it."""

    sentence: str
    is_error: bool = False


@dataclass(frozen=True)
class Deed:
    """What can be done on a page.

    Attributes:
        role: who may do it.
        act: does it in a thread; returns the sentence that the page says then, or an errand that was begun.
    """

    role: Role
    act: Callable[[Any], str | Errand]


class Page(Guarded):
    """A page of ours. Its GET shows what :meth:`read` finds; its POST does the deed that the form names.

    Attributes:
        template: under ``templates/penstock``.
        tab: of the navigation: the name of the page's route, or of the page that it belongs to.
        label: in the navigation; a page without one is reached from others.
        deeds: what can be done here, by the value of the form's field ``deed``.
    """

    template: ClassVar[str]
    tab: ClassVar[str] = ""
    label: ClassVar[str] = ""
    deeds: ClassVar[Mapping[str, Deed]] = {}
    records_itself = True

    def set_default_headers(self) -> None:
        """Nothing but files of Flower and of ours runs here, whatever a job's arguments hold."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Cache-Control", "no-store")

    def read(self) -> dict[str, Any]:
        """What the template shows; runs in a thread, and asks a bounded number of questions."""
        raise NotImplementedError

    @authenticated
    async def get(self, *_: str) -> None:
        """Shows the page."""
        await self.show_page()

    @authenticated
    async def post(self, *_: str) -> None:
        """Does a deed, and shows the page that was asked for anew: a reload repeats nothing."""
        deed = self.deeds.get(self.get_body_argument("deed", ""))
        if deed is None:
            raise HTTPError(400, reason_of(f"there is no such deed; known are {', '.join(sorted(self.deeds))}"))
        self.require(deed.role)
        try:
            done = await self.ask(deed.act, self)
        except PenstockError as error:
            await self.refuse(Notice(str(error), is_error=True))
            return
        if isinstance(done, Errand):
            self.redirect(self.reverse_url("errand", done.id), status=303)
            return
        self._remember(Notice(done))
        self.redirect(self.back, status=303)

    async def refuse(self, reason: Notice) -> None:
        """After a deed that cannot be done: shows the page anew, and the reason on it."""
        self._remember(reason)
        self.redirect(self.back, status=303)

    def needed_role(self) -> Role:
        """Each deed asks for its own."""
        return Role.VIEWER

    def check_xsrf_cookie(self) -> None:
        """Every deed comes from a form that this Flower has made, whoever is logged in and however."""
        super().check_xsrf_cookie()
        # Flower's own check leaves the token out where it takes the browser's word for the origin.
        RequestHandler.check_xsrf_cookie(self)

    @property
    def back(self) -> str:
        """Where the browser goes after a deed: this page with its filters."""
        query = self.request.query
        return f"{self.request.path}?{query}" if query else self.request.path

    @property
    def app(self) -> Any:
        """The deployment."""
        return booked(self.application.capp)

    @property
    def database_url(self) -> str:
        """Of the ledger."""
        return str(self.app.settings.database_url)

    async def ask(self, question: Callable[..., T], *args: Any) -> T:
        """Asks in a thread, so that a slow server holds up nobody else's page."""
        answer: Awaitable[T] = self.application.io_loop.run_in_executor(
            self.application.executor, partial(question, *args)
        )
        return await answer

    def begin(self, title: str, work: Work, total: int | None = None) -> Errand:
        """Begins what takes longer; the browser is shown how far it is."""
        errand = Errand(title, self.actor, self.back, total=total)
        return self.application.errands.begin(errand, work)

    async def show_page(self) -> None:
        """Reads and renders; a server that is away, or a filter that cannot be, is a page of its own."""
        try:
            found = await self.ask(self.read)
        except AWAY as error:
            self.set_status(503)
            self.render("penstock/away.html", active_tab=self.tab, reason=str(error), **self._common())
            return
        except PenstockError as error:
            self.set_status(404 if "NotFound" in type(error).__name__ else 400)
            self.render("penstock/refused.html", active_tab=self.tab, reason=str(error), **self._common())
            return
        self.render(f"penstock/{self.template}", active_tab=self.tab, **{**self._common(), **found})

    def _common(self) -> dict[str, Any]:
        return {
            "show": Show(self.app.settings.timezone, self.application.redaction),
            "notice": self._take_notice(),
            "may": self._may,
            "link": self.link,
            "job_link": self.job_link,
        }

    def _may(self, deed: str) -> bool:
        """Whether the user may do a deed of this page: a button that is refused would be no help."""
        return deed in self.deeds and self.role >= self.deeds[deed].role

    def link(self, name: str, /, *path: str, **query: Any) -> str:
        """The address of a page by its name, with a query of what is not empty."""
        words = [(key, value) for key, value in query.items() if value not in (None, "", (), [])]
        address = str(self.reverse_url(name, *path))
        return f"{address}?{urlencode(words, doseq=True)}" if words else address

    def job_link(self, id: str) -> str:
        """HTML of a link to a job, by its short id; the whole of it when pointed at."""
        return (
            f'<a href="{xhtml_escape(self.link("job", id))}" title="{xhtml_escape(printable(id))}">'
            f"<code>{Show.id(id)}</code></a>"
        )

    def text(self, name: str) -> str:
        """A word of the query or the form, as it was typed; empty without one.

        Raises:
            HTTPError: 400, it holds characters that nobody types.
        """
        value = str(self.get_argument(name, "", escape=False) or "")
        if any(not (character.isprintable() or character in "\r\n\t") for character in value):
            raise HTTPError(400, reason_of(f"{name} holds characters that cannot be shown"))
        return value

    def texts(self, name: str) -> list[str]:
        """All words of one name."""
        return [value for value in self.get_arguments(name) if value and value.isprintable()]

    def _remember(self, notice: Notice) -> None:
        kind = "error" if notice.is_error else "done"
        # A browser drops a cookie of more than 4,096 bytes.
        sentence = printable(notice.sentence).encode()[:NOTICE_BYTES].decode(errors="ignore")
        self.set_signed_cookie(NOTICE, f"{kind} {sentence}", expires_days=None, httponly=True, samesite="Lax")

    def _take_notice(self) -> Notice | None:
        found = self.get_signed_cookie(NOTICE)
        if not found:
            return None
        self.clear_cookie(NOTICE)
        kind, _, sentence = found.decode().partition(" ")
        return Notice(sentence, is_error=kind == "error")
