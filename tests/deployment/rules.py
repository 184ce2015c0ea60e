"""What docker-compose.yml must keep to. Each rule yields one sentence per violation."""

import json
import re
from collections.abc import Iterator

import jsonschema

from penstock.flower.access import PORT as FLOWER_PORT
from tests.deployment import compose as reading
from tests.deployment.compose import IMAGE, ROOT, Compose, command, seconds, services, size, workers
from tests.deployment.dockerfile import image_environment

SCHEMA = json.loads((ROOT / "tests" / "deployment" / "compose-spec.json").read_text())
STORES = ("redis", "postgres")
MARGIN = 15
HEALTHY, SUCCEEDED = "service_healthy", "service_completed_successfully"


def fits_the_schema(compose: Compose) -> Iterator[str]:
    """Compose's own schema; Draft 2020-12, as the schema says of itself."""
    for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(compose):
        yield f"{error.json_path}: {error.message}"


def runs_without_rights(compose: Compose) -> Iterator[str]:
    """Nobody is root, may become root, or writes into the image."""
    wanted = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "read_only": True, "init": True}
    for name, service in services(compose):
        yield from (f"{name}: {key} is not {value}" for key, value in wanted.items() if service.get(key) != value)
        if service.get("privileged") or "cap_add" in service:
            yield f"{name}: has rights"
        # Our image has a user of its own, which the Dockerfile's tests look at.
        if str(service.get("user", "" if "build" in service else "root")).split(":")[0] in ("root", "0"):
            yield f"{name}: is root"


def has_limits(compose: Compose) -> Iterator[str]:
    """Nobody takes the whole host."""
    for name, service in services(compose):
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        yield from (f"{name}: no limit of {key}" for key in ("cpus", "memory", "pids") if key not in limits)


def comes_back(compose: Compose) -> Iterator[str]:
    """What serves is started again; what runs to its end is not."""
    for name, service in services(compose):
        wanted = "no" if reading.runs_once(compose, name) else "unless-stopped"
        if service.get("restart") != wanted:
            yield f"{name}: restart is not {wanted}"


def is_asked_for_its_health(compose: Compose) -> Iterator[str]:
    """Everything that serves has a health check which answers soon after the start."""
    for name, service in services(compose):
        if reading.runs_once(compose, name):
            continue
        check = service.get("healthcheck", {})
        if not check.get("test") or check.get("disable"):
            yield f"{name}: no health check"
            continue
        if seconds(check["start_interval"]) > 5 or seconds(check["timeout"]) > seconds(check["interval"]):
            yield f"{name}: asked too late, or still asked when the next question is due"


def pings_its_own_node(compose: Compose) -> Iterator[str]:
    """A node's health check asks the name that its command or its profile gives it, and %h keeps names apart."""
    for name, service in services(compose, ours=True):
        words = command(service)
        if "-n" in words:
            node = words[words.index("-n") + 1]
        elif "--profile" in words:
            node = f"{words[words.index('--profile') + 1]}@%h"
        else:
            continue
        if not node.endswith("@%h"):
            yield f"{name}: two containers would have the node name {node}"
        # A scheduler's row in the ledger names its process, so it is asked for by its host.
        host = node.replace("%h", "$$HOSTNAME") if "worker" in words else "$$HOSTNAME"
        question = "check --worker" if "worker" in words else "check --beat"
        asked = f'celery -A workers {question} "{host}"'
        if service["healthcheck"]["test"] != ["CMD-SHELL", asked]:
            yield f"{name}: the health check is not {asked}"


def keeps_its_ports_to_itself(compose: Compose) -> Iterator[str]:
    """Redis and PostgreSQL are reached from inside only, and the host publishes to itself alone."""
    inside = {name for name, network in compose["networks"].items() if (network or {}).get("internal")}
    for name, service in services(compose):
        ports = service.get("ports", [])
        yield from (f"{name}: {port} is published" for port in ports if not str(port).startswith("127.0.0.1:"))
        if name in STORES and (ports or not set(service["networks"]) <= inside or "network_mode" in service):
            yield f"{name}: can be reached from outside"
        if not set(service.get("networks", [])) & inside:
            yield f"{name}: cannot reach the servers"


def publishes_flower_where_it_listens(compose: Compose) -> Iterator[str]:
    """The published port, the health check's and Flower's own are one."""
    flower = compose["services"]["flower"]
    if [port.rsplit(":", 1)[1] for port in flower["ports"]] != [str(FLOWER_PORT)]:
        yield f"flower: listens on {FLOWER_PORT}, which is not what is published"
    if f"127.0.0.1:{FLOWER_PORT}/healthcheck" not in " ".join(flower["healthcheck"]["test"]):
        yield "flower: the health check asks elsewhere"
    if flower["environment"].get("FLOWER_ADDRESS") != "0.0.0.0":  # noqa: S104
        yield "flower: serves the container's loopback, which nobody can reach"


def can_have_many_workers(compose: Compose) -> Iterator[str]:
    """Nothing in a worker service exists once per host."""
    for name, service in workers(compose):
        once = [key for key in ("container_name", "ports", "hostname") if key in service]
        yield from (f"{name}: {key} hinders --scale" for key in once)


def has_two_beats(compose: Compose) -> Iterator[str]:
    """One service runs beat, in two containers, so that one may die while the other goes on."""
    beats = [(name, service) for name, service in services(compose) if command(service)[3:4] == ["beat"]]
    if len(beats) != 1:
        yield f"{len(beats)} services run beat"
    for name, service in beats:
        if "container_name" in service:
            yield f"{name}: cannot be scaled"
        if service.get("deploy", {}).get("replicas", 1) < 2:
            yield f"{name}: is the only one"


def names_versions(compose: Compose) -> Iterator[str]:
    """Every image has a version of its own; ours has the library's, and one name."""
    for name, service in services(compose):
        image = reading.filled_in(service["image"], {})
        if not re.search(r":\d+\.\d+(\.\d+)?(-\w+)?$|:\d{2}-\w+$", image):
            yield f"{name}: {image} is not a version"
        if "build" in service and not image.startswith(f"{IMAGE}:"):
            yield f"{name}: {image} is not this project's image"


def drains_before_it_is_killed(compose: Compose) -> Iterator[str]:
    """SIGTERM starts a drain with an end, and Docker waits for that end."""
    for name, service in workers(compose):
        environment = service["environment"]
        if environment.get("REMAP_SIGTERM") != "SIGQUIT" or "stop_signal" in service:
            yield f"{name}: a stop waits for running jobs without a bound"
        drain = int(environment["PENSTOCK_DRAIN_SECONDS"])
        if seconds(service.get("stop_grace_period", "10s")) < drain + MARGIN:
            yield f"{name}: killed before its drain of {drain} s is over"


def starts_in_order(compose: Compose) -> Iterator[str]:
    """PostgreSQL, then the migration, then everything of ours, with Redis."""
    for name, service in services(compose, ours=True):
        waits = {other: wait["condition"] for other, wait in service["depends_on"].items()}
        wanted = {"postgres": HEALTHY} if name == "migrate" else {"redis": HEALTHY, "migrate": SUCCEEDED}
        if waits != wanted:
            yield f"{name}: does not wait for {wanted}"
    if command(compose["services"]["migrate"])[3:] != ["ledger", "upgrade"]:
        yield "migrate: does not migrate"


def asks_for_what_it_needs(compose: Compose) -> Iterator[str]:
    """Every variable has a default or a remedy, and no password has a default."""
    for text in reading.texts(compose):
        for match in reading.VARIABLE.finditer(text):
            if match["name"] and not match["word"]:
                yield f"{match[0]}: neither a default nor a remedy"
            secret = match["name"] and re.search("PASSWORD|AUTH|SECRET", match["name"])
            if secret and match["sign"] != ":?":
                yield f"{match[0]}: a password with a default"
    for name, service in services(compose):
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|_URL", key) and ":?" not in str(value):
                yield f"{name}: {key} is written down"


def mounts_what_exists(compose: Compose) -> Iterator[str]:
    """Volumes are declared, files are there, and what the image keeps on disk lies on a volume."""
    for name, service in services(compose):
        mounted = [mount.split(":") for mount in service.get("volumes", [])]
        for source, *_ in mounted:
            exists = (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"]
            if not exists:
                yield f"{name}: {source} does not exist"
        if "build" in service and not any(target == image_environment()["PENSTOCK_VAR"] for _, target, *_ in mounted):
            yield f"{name}: PENSTOCK_VAR is not on a volume"


def leaves_redis_room(compose: Compose) -> Iterator[str]:
    """A full Redis refuses jobs before the kernel kills it, also while it rewrites its file."""
    configured = (ROOT / "ops" / "redis" / "redis.conf").read_text()
    maximum = re.search(r"^maxmemory (\w+)$", configured, re.MULTILINE)
    limit = compose["services"]["redis"]["deploy"]["resources"]["limits"]["memory"]
    if maximum is None or size(maximum[1]) * 2 > size(limit):
        yield f"redis: a limit of {limit} does not hold maxmemory twice"


RULES = (
    fits_the_schema,
    runs_without_rights,
    has_limits,
    comes_back,
    is_asked_for_its_health,
    pings_its_own_node,
    keeps_its_ports_to_itself,
    publishes_flower_where_it_listens,
    can_have_many_workers,
    has_two_beats,
    names_versions,
    drains_before_it_is_killed,
    starts_in_order,
    asks_for_what_it_needs,
    mounts_what_exists,
    leaves_redis_room,
)
