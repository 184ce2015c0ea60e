"""What a guard is: a line that protects something, and the test that must notice when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ASSERTION = "AssertionError"


class Moved(Exception):
    """The text of a guard is not exactly once in its file: the code has changed, and the table must follow."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """One protection of the code.

    Args:
        name: what is protected, in a few words with dashes.
        file: path from the root of the project.
        text: the guard; exactly once in ``file``.
        replacement: what stands there when the guard is gone.
        test: node id of the narrowest test that must turn red.
        why: one sentence: what goes wrong without it.
        red: how the test turns red. A failed assertion by default; else the name of an exception that the test lets
            through, or ``Collection`` or ``Timeout``.
    """

    name: str
    file: str
    text: str
    replacement: str
    test: str
    why: str
    red: str = ASSERTION

    def apply(self, tree: Path) -> None:
        """Removes the guard from the copy of the project at ``tree``.

        Raises:
            Moved: the text is not exactly once in the file.
        """
        path = tree / self.file
        self.locate(tree)
        path.write_text(path.read_text().replace(self.text, self.replacement))

    def locate(self, tree: Path) -> None:
        """Raises Moved unless the text is exactly once in the file."""
        path = tree / self.file
        count = path.read_text().count(self.text) if path.is_file() else 0
        if count != 1:
            raise Moved(f"guard has moved: its text is {count} times in {self.file}")


def require_sound(guards: Sequence[Guard]) -> None:
    """Raises ValueError for a table that has two guards of one name, or one that replaces nothing."""
    names = [guard.name for guard in guards]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"more than one guard is called {', '.join(twice)}")
    if idle := [guard.name for guard in guards if guard.text == guard.replacement]:
        raise ValueError(f"the replacement is the text itself: {', '.join(idle)}")
