"""docker-compose.yml against Compose's schema, our own rules, and the code that it starts."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest

from penstock.config import Settings, load
from tasks.config import TaskSettings
from tests.deployment import compose as reading
from tests.deployment import rules
from tests.deployment.compose import ROOT, Compose, Missing, services, workers
from tests.deployment.conftest import WRONG_COMMANDS, Understood
from tests.deployment.dockerfile import image_environment

Rule = Callable[[Compose], Iterator[str]]
Change = Callable[[dict[str, Any]], object]
REQUIRED = ("REDIS_PASSWORD", "POSTGRES_PASSWORD", "FLOWER_BASIC_AUTH")

# Each changes the services (or, where it says so, the file) in a way that its rule must see.
VIOLATIONS: list[tuple[Rule, str, Change]] = [
    (rules.fits_the_schema, "a misspelt key", lambda s: s["redis"].update(comand="redis-server")),
    (rules.fits_the_schema, "a wrong type", lambda s: s["beat"].update(read_only=["yes"])),
    (rules.runs_without_rights, "a root user", lambda s: s["redis"].update(user="0:0")),
    (rules.runs_without_rights, "an image's own root", lambda s: s["postgres"].pop("user")),
    (rules.runs_without_rights, "a writable image", lambda s: s["flower"].update(read_only=False)),
    (rules.runs_without_rights, "a capability", lambda s: s["redis"].update(cap_add=["CHOWN"])),
    (rules.has_limits, "no limits", lambda s: s["worker-io"].pop("deploy")),
    (rules.comes_back, "a worker that stays down", lambda s: s["worker-io"].update(restart="no")),
    (rules.comes_back, "a migration without an end", lambda s: s["migrate"].update(restart="always")),
    (rules.is_asked_for_its_health, "no health check", lambda s: s["beat"].pop("healthcheck")),
    (rules.is_asked_for_its_health, "a late one", lambda s: s["redis"]["healthcheck"].update(start_interval="1m")),
    (rules.pings_its_own_node, "another node's name", lambda s: _say(s["worker-io"], "--profile io", "--profile cpu")),
    (rules.pings_its_own_node, "a shared node name", lambda s: _say(s["worker-io"], "--profile", "-n io@x --profile")),
    (rules.keeps_its_ports_to_itself, "a published Redis", lambda s: s["redis"].update(ports=["127.0.0.1:6379:6379"])),
    (rules.keeps_its_ports_to_itself, "Flower for everybody", lambda s: s["flower"].update(ports=["5555:5555"])),
    (rules.keeps_its_ports_to_itself, "a way out", lambda s: s["postgres"].update(networks=["servers", "outside"])),
    (rules.keeps_its_ports_to_itself, "a lonely worker", lambda s: s["worker-cpu"].update(networks=["outside"])),
    (rules.publishes_flower_where_it_listens, "another port", lambda s: s["flower"].update(ports=["127.0.0.1:80:80"])),
    (rules.publishes_flower_where_it_listens, "loopback", lambda s: s["flower"]["environment"].pop("FLOWER_ADDRESS")),
    (rules.can_have_many_workers, "a fixed name", lambda s: s["worker-io"].update(container_name="io")),
    (rules.can_have_many_workers, "a fixed port", lambda s: s["worker-io"].update(ports=["127.0.0.1:9000:9000"])),
    (rules.has_two_beats, "a second service of beats", lambda s: s.update(beat2=s["beat"])),
    (rules.has_two_beats, "a beat that cannot be scaled", lambda s: s["beat"].update(container_name="beat")),
    (rules.has_two_beats, "a beat alone", lambda s: s["beat"]["deploy"].update(replicas=1)),
    (rules.names_versions, "the latest", lambda s: s["redis"].update(image="redis:latest")),
    (rules.names_versions, "no version", lambda s: s["postgres"].update(image="postgres")),
    (rules.drains_before_it_is_killed, "a short grace", lambda s: s["worker-io"].update(stop_grace_period="30s")),
    (rules.drains_before_it_is_killed, "no end", lambda s: s["worker-io"]["environment"].pop("REMAP_SIGTERM")),
    (rules.starts_in_order, "no wait", lambda s: s["beat"].update(depends_on={"redis": {"condition": rules.HEALTHY}})),
    (rules.starts_in_order, "no migration", lambda s: _say(s["migrate"], "upgrade", "status")),
    (rules.asks_for_what_it_needs, "no remedy", lambda s: s["beat"]["environment"].update(X="${REDIS_PASSWORD}")),
    (rules.asks_for_what_it_needs, "a default password", lambda s: s["beat"]["environment"].update(X="${PASSWORD:-x}")),
    (rules.asks_for_what_it_needs, "a password", lambda s: s["postgres"]["environment"].update(POSTGRES_PASSWORD="x")),
    (rules.mounts_what_exists, "an undeclared volume", lambda s: s["redis"]["volumes"].append("other:/other")),
    (rules.mounts_what_exists, "a missing file", lambda s: s["redis"]["volumes"].append("./ops/none:/none:ro")),
    (rules.mounts_what_exists, "a folder that is lost", lambda s: s["beat"].update(volumes=[])),
    (rules.leaves_redis_room, "a small limit", lambda s: _limits(s["redis"]).update(memory="768M")),
]  # fmt: skip


def _say(service: dict[str, Any], old: str, new: str) -> None:
    service["command"] = service["command"].replace(old, new)


def _limits(service: dict[str, Any]) -> dict[str, Any]:
    limits: dict[str, Any] = service["deploy"]["resources"]["limits"]
    return limits


@pytest.fixture
def compose() -> Compose:
    return reading.read()


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_compose_file_keeps_the_rule(compose: Compose, rule: Rule) -> None:
    assert list(rule(compose)) == []


@pytest.mark.parametrize(
    ("rule", "change"), [v[::2] for v in VIOLATIONS], ids=[f"{rule.__name__}: {what}" for rule, what, _ in VIOLATIONS]
)
def test_the_rule_sees_a_violation(compose: Compose, rule: Rule, change: Change) -> None:
    # Anchors make services share objects; a change here must be a change of one service.
    changed: Compose = json.loads(json.dumps(compose))
    change(changed["services"])
    assert list(rule(changed))


def test_every_rule_is_shown_to_see_something() -> None:
    assert {rule for rule, *_ in VIOLATIONS} == set(rules.RULES)


def test_celery_understands_every_command_and_every_health_check(understood: Understood) -> None:
    wrong = {line: answer["error"] for line, answer in understood.commands.items() if "error" in answer}
    assert sorted(wrong) == sorted(WRONG_COMMANDS)


def test_every_profile_has_a_service_that_serves_it(compose: Compose, understood: Understood) -> None:
    found = []
    for name, service in workers(compose):
        answer = understood.commands[service["command"]]
        profile = answer["hostname"].split("@")[0]
        assert name == f"worker-{profile}"
        found.append((profile, answer["queues"], answer["concurrency"]))
    assert sorted(found) == sorted(understood.profiles)


def test_every_variable_of_ours_is_a_setting(compose: Compose) -> None:
    declared = {field.metadata["variable"] for field in fields(Settings) + fields(TaskSettings)}
    for name, service in services(compose, ours=True):
        ours = {key for key in service["environment"] if re.match("PENSTOCK_|TASKS_|REDIS_URL|DATABASE_URL", key)}
        assert ours <= declared, name


def test_every_setting_reaches_the_workers(compose: Compose) -> None:
    for name, service in workers(compose):
        for settings in (Settings, TaskSettings):
            expected = {field.metadata["variable"] for field in fields(settings)}
            assert expected <= set(service["environment"]) | set(image_environment()), name


def test_the_settings_accept_what_each_service_gets(compose: Compose) -> None:
    for _, service in services(compose, ours=True):
        given = image_environment() | reading.environment(service, reading.complete())
        settings, _ = load(Settings, TaskSettings, environ=given)
        assert settings.redis_url == "redis://:0a1b2c@redis:6379/0"
        assert settings.database_url == "postgresql+psycopg://penstock:3d4e5f@postgres:5432/penstock"
        assert settings.timezone == reading.example()["PENSTOCK_TIMEZONE"]


def test_the_settings_need_nothing_but_what_is_required(compose: Compose) -> None:
    needed = {name: reading.complete()[name] for name in REQUIRED}
    for _, service in services(compose, ours=True):
        load(Settings, TaskSettings, environ=image_environment() | reading.environment(service, needed))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_password_is_named_with_its_remedy(compose: Compose, name: str) -> None:
    variables = reading.complete() | {name: ""}
    with pytest.raises(Missing, match=f"{name}: copy ops/example.env to .env"):
        reading.filled_in(compose, variables)


def test_the_example_environment_holds_every_variable_and_no_password(compose: Compose) -> None:
    used = {match["name"] for text in reading.texts(compose) for match in reading.VARIABLE.finditer(text)}
    handed_on = {
        key
        for _, service in services(compose)
        for key, value in service.get("environment", {}).items()
        if value is None
    }
    # Compose itself sets the name of the project.
    assert set(reading.example()) == (used - {None, "COMPOSE_PROJECT_NAME"}) | handed_on
    assert {name for name, value in reading.example().items() if not value} == set(REQUIRED)


def test_the_image_has_the_version_of_the_library(compose: Compose) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {reading.filled_in(service["image"], {}) for _, service in services(compose, ours=True)}
    assert images == {f"{reading.IMAGE}:{version}"}


def test_the_postgresql_that_is_started_is_the_one_that_is_addressed(compose: Compose) -> None:
    server = compose["services"]["postgres"]["environment"]
    address = compose["x-penstock"]["environment"]["DATABASE_URL"]
    assert address.startswith(f"postgresql://{server['POSTGRES_USER']}:")
    assert address.endswith(f"@postgres:5432/{server['POSTGRES_DB']}")
