"""Who may do what in Flower: three roles, who has them, and which one each of Flower's own routes asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Self

from penstock.config import named_values
from penstock.errors import SettingsError

ROLES_VARIABLE = "FLOWER_ROLES"
RUN_TASKS_VARIABLE = "FLOWER_RUN_TASKS"
TRUE_WORDS, FALSE_WORDS = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
READ_BY_POST = "/tasks/datatable"
"""The rows of Flower's page of tasks, whose query is too long for an address."""


class Role(IntEnum):
    """What a user may do; each may do what those before it may."""

    VIEWER = 1
    """Looks."""
    OPERATOR = 2
    """Retries, cancels, discards, pauses, triggers, drains: what a shift has to do."""
    ADMIN = 3
    """Ends workers, and runs any task if the deployment allows that."""

    @property
    def word(self) -> str:
        """As it is written in FLOWER_ROLES."""
        return self.name.lower()


@dataclass(frozen=True)
class Roles:
    """Which user has which role.

    Attributes:
        by_user: a role for each user, or for each pattern of users (``*@example.com``); the first one that fits.
        default: of users that none fits.
        may_run_tasks: whether admins may start any task by Flower's API.
    """

    by_user: Mapping[str, Role]
    default: Role
    may_run_tasks: bool = False

    @classmethod
    def load(cls, environ: Mapping[str, str], *, everybody: Role, owner: str | None = None) -> Self:
        """Reads ``FLOWER_ROLES`` (``alice=admin,*@example.com=viewer``) and ``FLOWER_RUN_TASKS``.

        Whoever is not named by FLOWER_ROLES looks on.

        Args:
            everybody: the role of all, if FLOWER_ROLES names nobody.
            owner: a user who is an admin, unless FLOWER_ROLES says otherwise.

        Raises:
            SettingsError: one of the two cannot be read.
        """
        text = environ.get(ROLES_VARIABLE, "").strip()
        try:
            by_user = {user: _role(word) for user, word in named_values(text).items()}
        except ValueError as error:
            raise SettingsError([f"{ROLES_VARIABLE}: {error}"]) from None
        word = environ.get(RUN_TASKS_VARIABLE, "").strip().lower()
        if word not in TRUE_WORDS + FALSE_WORDS:
            raise SettingsError([f"{RUN_TASKS_VARIABLE}: {word!r} is neither true nor false"])
        default = Role.VIEWER if by_user else everybody
        return cls({**({owner: Role.ADMIN} if owner else {}), **by_user}, default, word in TRUE_WORDS)

    def of(self, user: str) -> Role:
        """The role of a user."""
        if user in self.by_user:
            return self.by_user[user]
        return next((role for pattern, role in self.by_user.items() if fnmatchcase(user, pattern)), self.default)


def _role(word: str) -> Role:
    try:
        return Role[word.upper()]
    except KeyError:
        raise ValueError(f"{word!r} is no role; known are {', '.join(role.word for role in Role)}") from None


_OPERATORS = re.compile(
    r"/api/(worker/(pool/(grow|shrink|autoscale)|queue/(add|cancel)-consumer)|task/(abort|timeout|rate-limit|revoke))/"
)
_RUNS_TASKS = re.compile(r"/api/task/(apply|async-apply|send-task)/")


def runs_any_task(path: str) -> bool:
    """Whether a path of Flower's API starts any task that it is told, with any arguments."""
    return _RUNS_TASKS.match(path) is not None


def needed(method: str, path: str) -> Role:
    """The role that one of Flower's own routes asks for, without the prefix of its address.

    What is not known to be an operator's is an admin's, so that a route of a later Flower is not open by accident.
    """
    if method in SAFE_METHODS or path == READ_BY_POST:
        return Role.VIEWER
    return Role.OPERATOR if _OPERATORS.match(path) else Role.ADMIN
