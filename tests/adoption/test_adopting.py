"""An ordinary Celery project adopts Penstock and goes back, by the lines of docs/adopt.md; each job is done once."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis

from tests.adoption.project import SHOP, Project, command
from tests.faults.servers import Server
from tests.live import Worker, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PATIENCE = 40
EACH = ("charged", "confirmed", "shipped")


class Place:
    """A Redis and two copies of the shop: one that stays as it is, and one that is adopted."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.redis: redis.Redis = server.client()
        self.folder = folder
        self.stock, self.adopted = (
            Project(folder / name, server.url, folder / "books") for name in ("stock", "adopted")
        )
        self.adopted.adopt()

    def wait_until_done(self, *lines: str) -> None:
        """Waits for these lines of the books."""
        wait_for(lambda: set(lines) <= set(self.stock.done), f"the books have {lines}", PATIENCE)

    def wait_until_settled(self) -> None:
        """Waits until no queue and nobody has a message any more."""
        wait_for(lambda: not self.left(), "everything is settled", PATIENCE)

    def left(self) -> list[bytes]:
        """Keys of waiting, claimed, parked and unacknowledged messages."""
        wanted = (b"celery", b"mail", b"unacked", b"penstock:inflight:", b"penstock:parked:", b"penstock:blocked")
        return [key for key in self.redis.scan_iter() if key.startswith(wanted)]

    def gate(self) -> Path:
        """A file that is not there yet, for which packing waits."""
        return self.folder / "gate"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Server(tmp_path / "redis") as server:
        yield Place(server, tmp_path)


def lines(*orders: str, each: tuple[str, ...] = EACH) -> list[str]:
    """What the books say of these orders when all is done."""
    return sorted(f"{what} {order}" for order in orders for what in each)


def test_the_project_knows_nothing_of_us() -> None:
    assert not [file for file in SHOP.rglob("*.py") if "penstock" in file.read_text().lower()]


def test_it_works_on_stock_celery(place: Place) -> None:
    with place.stock.worker() as worker:
        assert place.stock.front("place", "1", "2", "--wait") == [
            "{'order': '1', 'paid': 350}",
            "{'order': '2', 'paid': 350}",
        ]
        place.wait_until_done(*lines("1", "2"))
        assert "kombu" not in worker.log
    assert sorted(place.stock.done) == lines("1", "2")


def test_adopted_it_does_the_same_for_the_same_producers(place: Place) -> None:
    place.stock.front("place", "1", "2")
    with place.adopted.worker():
        place.wait_until_done(*lines("1", "2"))
        assert place.stock.front("place", "3", "--wait") == ["{'order': '3', 'paid': 350}"]
        assert place.adopted.front("place", "4", "--wait") == ["{'order': '4', 'paid': 350}"]
        place.wait_until_settled()
    assert sorted(place.stock.done) == lines("1", "2", "3", "4")


def test_the_pages_command_starts_a_worker(place: Place) -> None:
    app, name, worker, *options = command("worker")
    assert (app, name, worker) == ("-A", "shop", "worker")
    with place.adopted.worker(*options):
        assert place.stock.front("place", "1", "--wait") == ["{'order': '1', 'paid': 350}"]


@pytest.mark.parametrize("kind", [None, "asyncio", "threads"])
def test_an_adopted_project_runs_tasks_that_are_coroutines(place: Place, kind: str | None) -> None:
    place.adopted.add_rates(kind)
    with place.adopted.worker(children=1) as worker:
        place.adopted.run("from shop.rates import fetch; [fetch.enqueue(each) for each in '123']")
        place.adopted.run("from shop.celery import app; app.send_task('shop.rates.fetch', ['4'])")
        place.wait_until_done(*lines(*"1234", each=("fetched",)))
        place.stock.front("place", "5")
        place.wait_until_done(*lines("5"))
        place.wait_until_settled()
        assert "ERROR" not in worker.log
    assert sorted(place.stock.done) == sorted([*lines(*"1234", each=("fetched",)), *lines("5")])


def test_workers_of_both_kinds_share_the_queues(place: Place) -> None:
    orders = [str(number) for number in range(20)]
    with place.stock.worker() as stock, place.adopted.worker() as adopted:
        place.stock.front("place", *orders[:10])
        place.adopted.front("place", *orders[10:])
        place.wait_until_done(*lines(*orders))
        place.wait_until_settled()
        assert all("succeeded in" in worker.log for worker in (stock, adopted))
    assert sorted(place.stock.done) == lines(*orders)


def test_adopted_workers_take_over_what_stock_ones_leave(place: Place) -> None:
    """A rolling deployment: the old worker drains while the new one is at work."""
    with ExitStack() as stack:
        stock = stack.enter_context(place.stock.worker(children=1))
        place.stock.front("pack", str(place.gate()), "0")
        place.wait_until_done("packing 0")
        place.stock.front("place", *"123456")
        stack.enter_context(place.adopted.worker())
        assert stock.process is not None
        stock.process.send_signal(signal.SIGTERM)
        place.gate().touch()
        assert stock.process.wait(PATIENCE) == 0
        place.wait_until_done("packed 0", *lines(*"123456"))
    assert sorted(place.stock.done) == sorted(["packing 0", "packed 0", *lines(*"123456")])


def test_after_going_back_stock_workers_do_all_that_waits(place: Place) -> None:
    with place.adopted.worker(children=1) as worker:
        place.adopted.front("pack", str(place.gate()), "1")
        place.wait_until_done("packing 1")
        place.adopted.front("remind", "25", "2")
        place.stock.front("place", "3")
        place.adopted.front("place", "4")
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)
        place.gate().touch()
        assert worker.process.wait(PATIENCE) == 0
    assert "1 parked" in released(place.adopted)
    place.adopted.take_out()
    assert place.adopted.file.read_text() == (SHOP / "celery.py").read_text()
    done_by_ours = place.stock.done
    with place.adopted.worker():
        place.wait_until_done("packed 1", "reminded 2", *lines("3", "4"))
        place.wait_until_settled()
    assert len(done_by_ours) < len(place.stock.done)
    assert sorted(place.stock.done) == sorted(["packing 1", "packed 1", "reminded 2", *lines("3", "4")])


def test_after_going_back_stock_workers_start_again_what_died_with_its_host(place: Place) -> None:
    with place.adopted.worker(children=1) as worker:
        place.adopted.front("pack", str(place.gate()), "1")
        place.wait_until_done("packing 1")
        place.stock.front("place", "2")
        lose_host_of(worker)
    assert "in flight" in released(place.adopted)
    place.adopted.take_out()
    place.gate().touch()
    with place.adopted.worker():
        place.wait_until_done("packed 1", *lines("2"))
        place.wait_until_settled()
    assert sorted(place.stock.done) == sorted(["packing 1", "packing 1", "packed 1", *lines("2")])


def lose_host_of(worker: Worker) -> None:
    """Kills all processes of a worker, none of which sees another one die."""
    processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    for process in processes:
        process.suspend()
    for process in processes:
        process.kill()
    worker.stop()


def released(project: Project) -> str:
    """What the page's way back says."""
    return project.celery(*command("release"))


@pytest.mark.parametrize(
    ("pool", "shown"), [("processes", "prefork"), ("threads", "thread"), ("solo", "solo"), ("gevent", "gevent")]
)
def test_each_of_celerys_own_pools_can_be_asked_for(place: Place, pool: str, shown: str) -> None:
    # Patching for gevent makes Celery look for a celeryconfig, and finds that of this checkout.
    place.adopted.environment |= {"REDIS_URL": place.adopted.environment["SHOP_BROKER"]}
    with place.adopted.worker("-P", pool) as worker:
        assert place.adopted.front("place", "1", "--wait") == ["{'order': '1', 'paid': 350}"]
        assert f"({shown})" in worker.log
