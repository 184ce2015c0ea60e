"""Declaring profiles: what cannot work is refused where it is declared, all of it at once."""

from typing import Any

import pytest

from penstock.app import make_app
from penstock.config import Settings
from penstock.errors import DeclarationError
from penstock.profile import Profile

SETTINGS = Settings.load({"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "sqlite:///unused"})


def profile(**changes: Any) -> Profile:
    return Profile(**{"name": "io", "queues": ("web",), "children": 2, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "i o"}, "name must be letters, digits, - and _"),
        ({"name": "io@%h"}, "name must be letters, digits, - and _"),
        ({"name": None}, "name must be letters, digits, - and _"),
        ({"queues": ()}, "queues must name at least one"),
        ({"queues": "web"}, "queues must be a tuple of names, not 'web'"),
        ({"queues": ("web", "")}, "queues has '', which is no name of a queue"),
        ({"queues": ("a,b",)}, "queues has 'a,b', which is no name of a queue"),
        ({"queues": ("web", "web")}, "queues has 'web' twice"),
        ({"children": 0}, "children must be a whole number from 1 on, not 0"),
        ({"children": "2"}, "children must be a whole number from 1 on, not '2'"),
        ({"children": True}, "children must be a whole number from 1 on, not True"),
        ({"autoscale_to": 2}, "autoscale_to must be more than the 2 children, not 2"),
        ({"time_limit": 0}, "time_limit must be seconds, more than 0, not 0"),
        ({"time_limit": float("inf")}, "time_limit must be seconds, more than 0, not inf"),
        ({"soft_time_limit": "5"}, "soft_time_limit must be seconds, more than 0, not '5'"),
        ({"soft_time_limit": 5, "time_limit": 5}, r"soft_time_limit \(5 s\) must come before time_limit \(5 s\)"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child must be a whole number from 1 on, not 0"),
        ({"kind": "fibers"}, "kind must be 'single', 'threads', 'asyncio', not 'fibers'"),
        ({"size": 10}, "size is for children that run many jobs; kind 'single' runs one"),
        ({"kind": "asyncio", "size": 0}, "size must be a whole number from 1 to 2000, not 0"),
        ({"kind": "asyncio", "size": 2001}, "size must be a whole number from 1 to 2000, not 2001"),
        ({"max_mib_per_child": 0.5}, "max_mib_per_child must be a whole number from 1 on, not 0.5"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeclarationError, match=sentence):
        profile(**changes)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(DeclarationError) as caught:
        profile(queues=(), children=0, time_limit=-1, max_mib_per_child=0)
    assert str(caught.value) == (
        "profile 'io': queues must name at least one; children must be a whole number from 1 on, not 0; "
        "max_mib_per_child must be a whole number from 1 on, not 0; time_limit must be seconds, more than 0, not -1"
    )


def test_two_profiles_cannot_have_one_name() -> None:
    with pytest.raises(DeclarationError, match="declared twice: profile 'io'; give each a name of its own"):
        make_app("app", settings=SETTINGS, profiles=[profile(), profile(queues=("other",))])
