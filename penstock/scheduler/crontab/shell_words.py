"""What a shell makes of a plain command: its words. Whatever needs more of a shell than that is refused.

``shlex`` is not enough: it knows no pipes or variables, and reads backslashes within double quotes differently.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PIECE = re.compile(
    r"""(?P<blanks>[ \t]+)
    | '(?P<single>[^']*)'
    | "(?P<double>(?:[^"\\]|\\.)*)"
    | \\(?P<escaped>.)
    | (?P<comment>\#)
    | (?P<syntax>&&|\|\||>>|<<|\$\(|[|&;<>()$`*?\[~'"\\]|\{(?!\}))
    | (?P<plain>\{\}|[^ \t'"\\\#|&;<>()$`*?\[~{]+)
    """,
    re.VERBOSE,
)
#: In double quotes. Backslashes go before these only.
_EXPANSION, _ESCAPED = re.compile(r"\\.|([$`])"), re.compile(r'\\([$`"\\])')
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_MEANING = {
    "|": "a pipe",
    ">": "a redirection",
    ">>": "a redirection",
    "<": "a redirection",
    "<<": "a redirection",
    "&": "a command in the background",
    "$": "a variable",
    "$(": "the output of another command",
    "`": "the output of another command",
    "*": "a pattern of file names",
    "?": "a pattern of file names",
    "[": "a pattern of file names",
    "~": "a home folder",
    "'": "quotes that do not match",
    '"': "quotes that do not match",
    "\\": "a backslash with nothing behind it",
    "(": "a subshell",
    ")": "a subshell",
    "{": "braces",
}
_SEVERAL = "more than one command"
_REDIRECTION = r"""(?:
    (?:(?<=[ \t])[12])?>>?[ \t]*/dev/null | &>>?[ \t]*/dev/null | >&[ \t]*/dev/null
    | (?:(?<=[ \t])[12])?>&[ \t]*[12-] | (?:(?<=[ \t])0)?<[ \t]*/dev/null
)"""
#: A digit or backslash right before it would belong to it, or take its meaning away.
_DISCARDING = re.compile(rf"(?:(?:(?<![ \t])[ \t]+|(?<![\\0-9])){_REDIRECTION})+[ \t]*$", re.VERBOSE)


class NeedsShell(ValueError):
    """A command is more than words.

    Attributes:
        sign: what only a shell understands, as it is written.
    """

    def __init__(self, sign: str) -> None:
        self.sign = sign
        super().__init__(f"it needs a shell ({_MEANING.get(sign, _SEVERAL)}: {sign})")


class Word(NamedTuple):
    """One argument."""

    raw: str
    """As it is written, with quotes."""
    text: str

    @property
    def variable(self) -> tuple[str, str] | None:
        """Name and value, if it sets a variable where it stands before the command."""
        found = _ASSIGNMENT.match(self.raw)
        return (found[1], self.text[found.end() :]) if found else None


def split(command: str) -> list[Word]:
    """The words of a command without line ends; a comment behind them is left out.

    Raises:
        NeedsShell: a shell would make more of it than words.
    """
    words: list[Word] = []
    raw = text = ""
    for piece in _PIECE.finditer(command):
        kind = str(piece.lastgroup)
        if kind == "comment" and not raw:
            break
        if kind == "blanks":
            words += [Word(raw, text)] if raw else []
            raw = text = ""
        else:
            text += _read(kind, piece, raw)
            raw += piece[0]
    return [*words, Word(raw, text)] if raw else words


def _read(kind: str, piece: re.Match[str], raw: str) -> str:
    """What a piece of a word means, of which ``raw`` has come before."""
    if kind == "syntax" and (piece[0] != "~" or not raw or raw.endswith(("=", ":"))):
        raise NeedsShell(piece[0])
    if kind == "double":
        if expansion := next((found[1] for found in _EXPANSION.finditer(piece["double"]) if found[1]), None):
            raise NeedsShell(expansion)
        return _ESCAPED.sub(r"\1", piece["double"])
    return piece[kind] if kind in ("single", "escaped") else piece[0]


def without_discarding(command: str) -> tuple[str, str]:
    """A command without redirections at its end that throw output away or merge it, and what was left out."""
    found = _DISCARDING.search(command)
    return (command[: found.start()], found[0].strip()) if found else (command, "")
