"""How a list that goes on is told on a terminal."""

from __future__ import annotations

from penstock.ledger.search import LOOKED_AT, Page


def more_of(page: Page) -> str:
    """What follows a page that is not the last one; the cursor stands at the end, where it is easily copied."""
    if page.after is None:
        return ""
    if page.is_cut_short:
        back = f"{page.after.updated_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"looked at {LOOKED_AT:,} jobs, back to {back}; look on with --after {page.after.cursor}"
    return f"there are more: --after {page.after.cursor}"
