"""Flower's templates with our pages' links in its navigation; and our own, under ``penstock/``."""

from __future__ import annotations

from pathlib import Path

from tornado.template import BaseLoader, Template

from penstock.errors import PenstockError

OURS = Path(__file__).with_name("templates")
PREFIX = "penstock/"
STYLES = '<link rel="stylesheet" href="{{ handler.application.asset("penstock.css") }}">'
SCRIPT = '<script src="{{ handler.application.asset("penstock.js") }}"></script>'
LEDGER_LINK = '<a class="btn btn-outline-secondary" href="{{ reverse_url("job", task.uuid) }}">In the ledger</a>'
INSERTIONS = {
    "base.html": (
        ("</head>", f"{STYLES}\n</head>", 1),
        ("{% block extra_scripts %}", f"{SCRIPT}\n{{% block extra_scripts %}}", 1),
        ('<main class="app-content"', '{% module Template("penstock/banner.html") %}\n<main class="app-content"', 1),
    ),
    "task.html": (("{% if not read_only %}", f"{LEDGER_LINK}\n{{% if not read_only %}}", 1),),
    "navbar.html": (("</ul>", '{% module Template("penstock/navigation.html", active_tab=active_tab) %}\n</ul>', 1),),
}
"""What is put into Flower's own templates: before the first place of a text, so many times."""


class UnknownFlower(PenstockError):
    """A template of this Flower is not as those that we know; install a version that pyproject.toml allows."""


class Loader(BaseLoader):
    """Finds templates by name.

    Args:
        folder: Flower's.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """All names are whole."""
        return name

    def _create_template(self, name: str) -> Template:
        if name.startswith(PREFIX):
            return Template((OURS / name).read_text(), name=name, loader=self)
        return Template(with_insertions(name, (self._folder / name).read_text()), name=name, loader=self)


def with_insertions(name: str, text: str) -> str:
    """A template of Flower's with what we put into it.

    Raises:
        UnknownFlower: there is no place for it.
    """
    for place, insertion, times in INSERTIONS.get(name, ()):
        if place not in text:
            raise UnknownFlower(f"Flower's {name} has no {place}: this version of Flower is not known here")
        text = text.replace(place, insertion, times)
    return text
