"""Options of a worker"""

import os
import signal
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from billiard.exceptions import TimeLimitExceeded

from tests.celery_promises import jobs
from tests.celery_promises.system import System
from tests.live import wait_for

PATIENCE = 15


@dataclass(frozen=True)
class Dressed:
    """A worker with many options, after it has ended."""

    name: str
    pid: int
    purged: list[Any]
    queues: list[str]
    pool: dict[str, Any]
    conf: dict[str, Any]
    pidfile: str
    pidfile_afterwards: bool
    printed: str
    logs: dict[str, str]
    logged: dict[str, str]
    heartbeats: int
    gossips: bool
    limit: BaseException


def dressed(system: System) -> Dressed:
    """Lets a worker run with options that do not depend on each other."""
    short, key, folder = f"dressed{uuid.uuid4().hex[:6]}", uuid.uuid4().hex, system.folder
    jobs.note.apply_async((f"{key}-before",), queue="kept")
    bindings = system.broker.smembers("_kombu.binding.celeryev")
    with system.worker_beside(
        *("-X", "celery,everyone", "--purge", "--without-gossip", "--without-heartbeat"),
        *("--logfile", str(folder / "%n%I.log"), "--pidfile", str(folder / "%n.pid")),
        *("--time-limit", "2", "--max-tasks-per-child", "500"),
        *("--prefetch-multiplier", "2", "worker.lost_wait=7"),
        name=f"{short}@%h",
        children=2,
        silent=True,
    ) as one:
        gossips = system.broker.smembers("_kombu.binding.celeryev") != bindings
        beats = len(heartbeats(system, system.main))
        queues = [queue["name"] for queue in system.inspect("active_queues", worker=one.name)]
        stats, conf = system.inspect("stats", worker=one.name), system.inspect("conf", worker=one.name)
        pidfile = (folder / f"{short}.pid").read_text().strip()
        logged = {}
        for _ in range(2):
            result = jobs.logs_and_holds.apply_async((key,), queue="kept")
            logged[result.id] = ""
        pids = {note["id"]: note["pid"] for note in system.noted(key, 2)}
        system.release(key, 2)
        jobs.add.apply_async((1, 1), queue="kept").get(timeout=PATIENCE)
        limit = jobs.sleeps.apply_async((20,), queue="kept").get(timeout=PATIENCE, propagate=False)
        wait_for(lambda: len(heartbeats(system, system.main)) >= beats + 2, "two heartbeats of another one")
        printed = one.worker.log
    assert set(pids) == set(logged)
    return Dressed(
        one.name,
        one.worker.pid,
        system.notes_on(f"{key}-before"),
        queues,
        stats["pool"],
        conf,
        pidfile,
        (folder / f"{short}.pid").exists(),
        printed,
        {path.name.removeprefix(short): path.read_text() for path in folder.glob(f"{short}[.-]*log")},
        logged,
        len(heartbeats(system, one.name)),
        gossips,
        limit,
    )


def heartbeats(system: System, name: str) -> list[dict[str, Any]]:
    return [event for event in system.events() if (event["type"], event["hostname"]) == ("worker-heartbeat", name)]


def test_name(system: System) -> None:
    """`-n NAME@%h` is the worker's name, and `%h` the host's."""
    name, _, host = system.once(dressed).name.partition("@")
    assert name.startswith("dressed")
    assert host == socket.gethostname()


def test_exclude(system: System) -> None:
    """`-X` consumes from all declared queues but these."""
    assert system.once(dressed).queues == ["kept"]


def test_purge(system: System) -> None:
    """`--purge` deletes what waits in its queues when it starts."""
    assert system.once(dressed).purged == []


def test_pidfile(system: System) -> None:
    """`--pidfile` keeps the worker's process id while it runs, `%n` in its path being the name before the `@`."""
    worker = system.once(dressed)
    assert (worker.pidfile, worker.pidfile_afterwards) == (str(worker.pid), False)


def test_logfile(system: System) -> None:
    """`--logfile` takes the log, and nothing of it is printed."""
    worker = system.once(dressed)
    assert f"{worker.name} ready." in worker.logs[".log"]
    assert f"{worker.name} ready." not in worker.printed


def test_logfiles_of_processes(system: System) -> None:
    """With `%I` in the path of `--logfile` each process of the pool writes a file of its own, by its number."""
    worker = system.once(dressed)
    assert set(worker.logs) == {".log", "-1.log", "-2.log"}
    lines = [[id for id in worker.logged if f"[{id}]: from its process" in worker.logs[f"-{i}.log"]] for i in (1, 2)]
    assert [len(found) for found in lines] == [1, 1]


def test_limits(system: System) -> None:
    """`--time-limit` kills tasks that run longer."""
    worker = system.once(dressed)
    assert isinstance(worker.limit, TimeLimitExceeded)


def test_stats(system: System) -> None:
    """`inspect stats` shows the pool's limits: processes, tasks for each of them, and times."""
    pool = system.once(dressed).pool
    assert (pool["max-concurrency"], pool["max-tasks-per-child"], pool["timeouts"]) == (2, 500, [0, 2])


def test_settings(system: System) -> None:
    """Settings may follow the options, as `worker.lost_wait=7`."""
    assert system.once(dressed).conf["worker_lost_wait"] == 7


def test_without_heartbeat(system: System) -> None:
    """`--without-heartbeat` sends no heartbeat events."""
    assert system.once(dressed).heartbeats == 0


def test_without_gossip(system: System) -> None:
    """`--without-gossip` does not listen to the events of other workers."""
    assert system.once(dressed).gossips is False


@dataclass(frozen=True)
class Beaten:
    """A worker that runs beat as well, and logs warnings only."""

    ran: int
    schedule: bool
    log: str


def beaten(system: System) -> Beaten:
    """Runs a worker with `-B`, a schedule's file and a log level."""
    key, schedule = uuid.uuid4().hex, system.folder / "schedule"
    with system.worker_beside("-B", "-s", str(schedule), "-l", "WARNING", "-Q", "beaten", silent=True) as one:
        ran = len(system.noted("beaten", 2))
        jobs.logs.apply_async((key,), queue="beaten").get(timeout=PATIENCE)
        wait_for(lambda: key in one.worker.log, "its warning is logged")
        kept = any(system.folder.glob("schedule*"))
    return Beaten(ran, kept, one.worker.log)


def test_beat(system: System) -> None:
    """`-B` runs the schedule of `beat_schedule` in a process beside the pool."""
    assert system.once(beaten).ran >= 2


def test_schedule_file(system: System) -> None:
    """`-s` names the file in which it remembers when its tasks ran last."""
    assert system.once(beaten).schedule


def test_beat_signal(system: System) -> None:
    """It sends beat_embedded_init."""
    system.once(beaten)
    assert system.signal("beat", "beat_embedded_init") == {"sender": "Service"}


def test_loglevel(system: System) -> None:
    """`-l WARNING` leaves out what is below, such as received and succeeded tasks."""
    log = system.once(beaten).log
    assert ": WARNING/" in log
    assert ": INFO/" not in log
    assert "received" not in log


@dataclass(frozen=True)
class Plain:
    """A worker with settings of its own."""

    printed: str
    refused: dict[str, str]


def plain(system: System) -> Plain:
    """A worker that neither redirects what is printed nor restarts its pool."""
    key = uuid.uuid4().hex
    settings = {"worker_redirect_stdouts": False, "worker_pool_restarts": False}
    with system.worker_beside(settings=settings, environment={"PYTHONUNBUFFERED": "1"}) as one:
        jobs.prints.apply_async((f"printed {key}",), queue=one.queue).get(timeout=PATIENCE)
        line = wait_for(lambda: [line for line in one.worker.log.splitlines() if f"printed {key}" in line], "printed")[
            0
        ]
        refused = system.control("pool_restart", worker=one.name)
    return Plain(line.replace(key, "…"), refused)


def test_unredirected(system: System) -> None:
    """With `worker_redirect_stdouts` off what a task prints is printed as it is."""
    assert system.once(plain).printed == "printed …"


def test_restarts_refused(system: System) -> None:
    """`control pool_restart` is refused unless `worker_pool_restarts` is set."""
    assert "Pool restarts not enabled" in system.once(plain).refused["error"]


def test_detach(system: System, key: str) -> None:
    """`-D` starts the worker in the background and returns; it writes its process id to the file of `--pidfile`."""
    pidfile, name = system.folder / f"{key}.pid", f"detached{key[:4]}@{system.engine.name}"
    files = ("--pidfile", str(pidfile), "--logfile", str(system.folder / f"{key}.log"))
    system.command("worker", "-D", "-n", name, "-Q", key, "-c", "1", *files, *system.engine.options)
    try:
        wait_for(system.app.control.inspect([name], timeout=1, limit=1).ping, "it answers", 40)
        pid = int(pidfile.read_text())
        assert system.inspect("stats", worker=name)["pid"] == pid
        assert jobs.add.apply_async((1, 1), queue=key).get(timeout=PATIENCE) == 2
        system.app.control.shutdown(destination=[name])
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")
    finally:
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
