"""The folder of reports: names that cannot lead out of it, and files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tasks.reporting.errors import NameRefused

MAX_DEPTH = 4
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: object) -> str:
    """``name`` if it is one to four parts of letters, digits, dots, dashes and underscores, joined by slashes.

    Raises:
        NameRefused: it is not.
    """
    parts = name.split("/") if isinstance(name, str) else []
    if not 1 <= len(parts) <= MAX_DEPTH or not all(_PART.fullmatch(part) for part in parts):
        raise NameRefused(
            f"the name {name!r}: letters, digits, '.', '-' and '_', each part beginning with a letter or a digit, "
            f"at most {MAX_DEPTH} parts joined by '/'"
        )
    return str(name)


def find(folder: Path, name: str) -> Path:
    """The path of a finished file.

    Raises:
        NameRefused: the name leads out of the folder.
        FileNotFoundError: there is none.
    """
    path = folder / check_name(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {name} in {folder}; workers on several hosts need one TASKS_REPORTS_FOLDER between them"
        )
    if not path.resolve().is_relative_to(folder.resolve()):
        raise NameRefused(f"the name {name!r} leads out of {folder}")
    return path


@contextmanager
def drafting(folder: Path) -> Iterator[Draft]:
    """Files that replace their predecessors at the end, each in one step; an error leaves everything as it was."""
    with Draft(folder) as draft:
        yield draft
        draft.publish()


class Draft:
    """Files in the making; see :func:`drafting`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._files: list[tuple[IO[Any], Path, Path]] = []

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        for _file, draft, _final in self._files:
            with suppress(FileNotFoundError):
                draft.unlink()

    def text(self, name: str) -> IO[str]:
        """A text file in UTF-8 whose line ends are written as given."""
        return self._make(name, "x", encoding="utf-8", errors="replace", newline="")

    def binary(self, name: str) -> IO[bytes]:
        """A file of bytes."""
        return self._make(name, "xb")

    def publish(self) -> None:
        """Puts every file into its place; the disk has their contents before any name points to them."""
        for file, _draft, _final in self._files:
            file.flush()
            os.fsync(file.fileno())
        self._open.close()
        for _file, draft, final in self._files:
            draft.replace(final)

    def _make(self, name: str, mode: str, **options: Any) -> IO[Any]:
        final = self._folder / check_name(name)
        final.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, so that two attempts of one job do not write into each other's file; the dot keeps it
        # out of every listing and check_name refuses it.
        draft = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
        file = self._open.enter_context(draft.open(mode, **options))
        self._files.append((file, draft, final))
        return file
