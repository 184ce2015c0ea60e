"""`worker --profile NAME` as Celery's own command line reads it; real workers are in tests/workers."""

import copy
from typing import Any

import click
import pytest
from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.worker import worker
from celery.concurrency.prefork import TaskPool

from penstock.profile import Profile
from penstock.profile_option import ProfileOption

PROFILES = (
    Profile(name="plain", queues=("default",), children=3),
    Profile(
        name="full",
        queues=("a", "b"),
        children=2,
        autoscale_to=5,
        soft_time_limit=1.5,
        time_limit=2,
        max_tasks_per_child=10,
        max_mib_per_child=3,
    ),
)
LIMITS = ("autoscale", "time_limit", "soft_time_limit", "max_tasks_per_child", "max_memory_per_child")


def read(*words: str) -> dict[str, Any]:
    """The parameters that Celery's worker gets from this command line."""
    command = copy.copy(worker)
    command.params = [*worker.params, ProfileOption(PROFILES)]
    app = Celery(set_as_current=False)
    app.conf.worker_pool = TaskPool
    return command.make_context("worker", list(words), obj=CLIContext(app, no_color=True, workdir=None)).params


def test_a_profile_names_queues_node_and_children_and_sets_its_limits() -> None:
    found = read("--profile", "full")
    assert found["queues"] == ["a", "b"]
    assert found["hostname"].startswith("full@")
    assert found["hostname"] != "full@%h"
    assert found["concurrency"] == 2
    assert [found[name] for name in LIMITS] == [(5, 2), 2, 1.5, 10, 3 * 1024]


def test_what_a_profile_leaves_out_stays_celerys() -> None:
    assert [read("--profile", "plain")[name] for name in LIMITS] == [read()[name] for name in LIMITS]


def test_without_a_profile_nothing_changes() -> None:
    assert read()["queues"] is None


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (("-Q", "other"), "queues", ["other"]),
        (("-n", "other@here"), "hostname", "other@here"),
        (("-c", "7"), "concurrency", 7),
        (("--autoscale", "9,4"), "autoscale", (9, 4)),
        (("--time-limit", "8"), "time_limit", 8),
        (("--soft-time-limit", "7"), "soft_time_limit", 7),
        (("--max-tasks-per-child", "6"), "max_tasks_per_child", 6),
        (("--max-memory-per-child", "5"), "max_memory_per_child", 5),
    ],
)
def test_the_command_line_wins_wherever_it_stands(words: tuple[str, ...], name: str, value: Any) -> None:
    assert read("--profile", "full", *words)[name] == read(*words, "--profile", "full")[name] == value


def test_a_number_of_children_on_the_command_line_is_not_scaled() -> None:
    assert read("--profile", "full", "-c", "7")["autoscale"] is None


def test_an_unknown_name_is_one_sentence_with_the_known_ones() -> None:
    with pytest.raises(click.ClickException, match=r"^there is no profile 'ful'; known: plain, full$"):
        read("--profile", "ful")
