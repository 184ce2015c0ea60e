"""keys.py and keys.lua are twins, and the names in kombu's part are kombu's."""

import re
from importlib import resources
from typing import Any

import pytest
import redis
from kombu.transport.redis import Channel

from penstock.broker.keys import PRIORITY_STEPS, Keys, step_of

LUA = resources.files("penstock.broker") / "lua"
PREFIXES = ("", "app.", "{ü}:")
TWINS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("ready_key", "ready", ("mail", 0)),
    ("ready_key", "ready", ("mail", 9)),
    ("waiting_key", "waiting", ("a:b",)),
    ("parked_key", "parked", ("mail",)),
    ("wake_key", "wake", ("mäil",)),
    ("unknown_key", "unknown_list", ("mail", 3, "demo.x")),
    ("breaker_key", "breaker", ("demo.x",)),
    ("attempts_key", "attempts", ("demo.x",)),
    ("broken_key", "broken_list", ("mail", 3, "demo.x")),
    ("inflight_key", "inflight", ("ant@host/00000001/2", "mail")),
    ("worker_key", "worker", ("ant@host/00000001",)),
    ("dead_key", "dead_entry", ("ant@host/00000001:7:0",)),
    ("producer_key", "producer", ("p",)),
    ("ended_channel", "ended", ("j:1",)),
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("lua", "python", "arguments"), TWINS)
def test_both_languages_build_the_same_name(
    server: redis.Redis, prefix: str, lua: str, python: str, arguments: tuple[Any, ...]
) -> None:
    names = ", ".join(f"ARGV[{place}]" for place in range(2, 2 + len(arguments)))
    built = server.eval(f"{(LUA / 'keys.lua').read_text()}\nreturn {lua}({names})", 0, prefix, *arguments)
    assert built.decode() == getattr(Keys(prefix), python)(*arguments)


def test_every_builder_in_lua_is_compared() -> None:
    builders = re.findall(r"local function (\w+_(?:key|channel))\(", (LUA / "keys.lua").read_text())
    assert set(builders) == {lua for lua, _, _ in TWINS}


def test_every_fixed_name_in_lua_is_one_of_python() -> None:
    scripts = [file.read_text() for file in LUA.iterdir() if file.name.endswith(".lua")]
    in_lua = {name for text in scripts for name in re.findall(r"ours \.\. '([^']+)'(?! \.\.)", text)}
    in_python = {getattr(Keys(), name) for name, kind in vars(Keys).items() if isinstance(kind, property)}
    assert in_lua
    assert {f"penstock:{name}" for name in in_lua} <= in_python


@pytest.mark.parametrize("priority", range(10))
def test_a_priority_belongs_to_the_list_that_kombu_puts_it_in(priority: int) -> None:
    channel = Channel.__new__(Channel)
    assert Keys().ready("mail", step_of(priority)) == channel._q_for_pri("mail", channel.priority(priority))


def test_a_priority_out_of_range_belongs_to_the_nearest_list() -> None:
    assert (step_of(-1), step_of(255)) == (PRIORITY_STEPS[0], PRIORITY_STEPS[-1])
