"""How far something is that takes longer than a page."""

from __future__ import annotations

from typing import Any, ClassVar

from penstock.errors import PenstockError
from penstock.flower.auditing import Action, note
from penstock.flower.errands import Errand
from penstock.flower.page import Deed, Page
from penstock.flower.roles import Role


class ErrandNotFound(PenstockError):
    """There is no such errand, or Flower was started anew since; the audit says how far it came then."""


class ErrandPage(Page):
    """One errand."""

    template = "errand.html"

    def read(self) -> dict[str, Any]:
        """The errand of the address."""
        return {"errand": self.errand}

    @property
    def errand(self) -> Errand:
        """The one that the address names.

        Raises:
            ErrandNotFound: nobody knows it.
        """
        found = self.application.errands.find(self.path_args[0])
        if found is None:
            raise ErrandNotFound(
                "this errand is not known: it is long over, or Flower was started anew and it has ended with that; "
                "the page Audit says how far it came"
            )
        return found

    def stop(self) -> str:
        """Has it end after the step that it is at."""
        errand = self.errand
        errand.stop()
        note(self.app, Action(self.actor, "stop errand", errand.title, {}, 200))
        return "it stops after what it is at"

    deeds: ClassVar = {"stop": Deed(Role.OPERATOR, stop)}
