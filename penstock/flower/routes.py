"""The addresses of our pages."""

from __future__ import annotations

from penstock.flower.page import Page
from penstock.flower.pages.errand import ErrandPage
from penstock.flower.pages.history import HistoryPage

ROUTES: tuple[tuple[str, type[Page], str], ...] = (
    (r"/history", HistoryPage, "history"),
    (r"/errand/([\w-]+)", ErrandPage, "errand"),
)
"""Pattern, page and name of each; a page is named to be linked to."""
