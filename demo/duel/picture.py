"""The final screen as an SVG that brings no font along and asks for none: a page may show it as an image."""

from __future__ import annotations

import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

FONT_FACE = re.compile(r"@font-face \{\{.*?\}\}\n", re.DOTALL)
FONTS = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"
TITLE = "make duel"


def save(console: Console, path: Path) -> None:
    """Writes what a recording console has shown."""
    form = FONT_FACE.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code, monospace", FONTS)
    path.write_text(console.export_svg(title=TITLE, theme=DIMMED_MONOKAI, code_format=form, unique_id="duel") + "\n")
