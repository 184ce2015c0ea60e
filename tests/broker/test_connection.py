"""The connection to Redis: kombu's addresses, bounded times, and what each refusal says. On real servers."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis
from redis.commands.core import Script

from penstock.broker.connection import connect, shown, translated, unavailable
from penstock.config import SENTINEL_SECONDS, Settings
from penstock.errors import BrokerUnavailable, SettingsError
from tests.live import wait_for
from tests.servers import KINDS, Server, running

NOWHERE = "redis://127.0.0.1:1/0"
USERS = ("user default off", "user ada on >gehe!m ~* &* +@all")


@dataclass
class Place:
    """An address with what kombu needs to know beside it."""

    url: str
    options: dict[str, Any] = field(default_factory=dict)


@contextmanager
def by_tcp() -> Iterator[Place]:
    with running("valkey", tcp=True, config=USERS) as server:
        yield Place(f"redis://ada:gehe%21m@127.0.0.1:{server.port}/3")


@contextmanager
def by_socket() -> Iterator[Place]:
    with running("redis", config=USERS) as server:
        yield Place(f"redis+socket://ada:gehe%21m@{server.path}?virtual_host=3")


@contextmanager
def by_tls() -> Iterator[Place]:
    with secured() as (server, authority):
        yield Place(f"rediss://localhost:{server.port}/3?ssl_cert_reqs=required&ssl_ca_certs={authority}")


@contextmanager
def by_sentinel() -> Iterator[Place]:
    with running("valkey", "--requirepass", "geheim", tcp=True) as master, watched(master, "geheim") as sentinel:
        # The first one is down.
        url = f"sentinel://:geheim@127.0.0.1:1/3;sentinel://:geheim@127.0.0.1:{sentinel.port}/3"
        yield Place(url, {"master_name": "main"})


@contextmanager
def watched(master: Server, password: str = "") -> Iterator[Server]:
    """A Sentinel that watches this master and is alone in its judgement."""
    config = [
        "port {port}",
        f"sentinel monitor main 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds main 300",
        "sentinel failover-timeout main 2000",
        *([f"sentinel auth-pass main {password}"] if password else []),
    ]
    with running("valkey", "--sentinel", tcp=True, config=config) as sentinel:
        yield sentinel


@contextmanager
def secured() -> Iterator[tuple[Server, Path]]:
    """A Redis that speaks TLS alone, with a certificate for localhost, and the file of who signed it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(running("valkey")).folder)
        authority, certificate, key = folder / "authority.pem", folder / "server.pem", folder / "server.key"
        _certify(folder, authority, certificate, key)
        options = ("--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no")
        files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(authority))
        yield stack.enter_context(running("redis", *options, *files, tcp=True)), authority


def _certify(folder: Path, authority: Path, certificate: Path, key: Path) -> None:
    """Makes an authority that nobody knows, and has it sign a certificate for localhost."""
    own, config = folder / "authority.key", folder / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name = name\n[name]\n")
    new = ["openssl", "req", "-config", str(config), "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    made = [
        *new,
        "-keyout",
        str(own),
        "-out",
        str(authority),
        "-subj",
        "/CN=nobody",
        *_extended("CA:TRUE", "keyCertSign"),
    ]
    named = [
        "-subj",
        "/CN=localhost",
        *_extended("CA:FALSE", "digitalSignature"),
        "-addext",
        "subjectAltName=DNS:localhost",
    ]
    signed = [*new, "-keyout", str(key), "-out", str(certificate), "-CA", str(authority), "-CAkey", str(own), *named]
    for command in (made, signed):
        subprocess.run(command, check=True, capture_output=True, timeout=20)


def _extended(constraints: str, usage: str) -> list[str]:
    """What Python 3.13 insists on."""
    extensions = [f"basicConstraints=critical,{constraints}", f"keyUsage=critical,{usage}"]
    extensions += ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid:always"]
    return [part for extension in extensions for part in ("-addext", extension)]


@pytest.mark.parametrize("form", [by_tcp, by_socket, by_tls, by_sentinel])
def test_every_form_of_address_leads_to_the_place_that_kombu_means(form: Callable[[], Any]) -> None:
    with form() as place:
        with kombu.Connection(place.url, transport_options=place.options) as kombus:
            kombus.default_channel.client.set("written by", "kombu")
            assert kombus.default_channel.client.connection_pool.connection_kwargs["db"] == 3
        with connect(place.url, place.options) as ours:
            assert ours.get("written by") == b"kombu"


def test_nothing_is_opened_before_it_is_used() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        connect(f"redis://{address}/0")
        connect(f"sentinel://{address}", {"master_name": "main"})
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of somebody who takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["redis", "sentinel"])
def test_a_silent_server_costs_no_more_than_was_said(silent: str, scheme: str) -> None:
    begun = time.monotonic()
    client = connect(f"{scheme}://{silent}", {"master_name": "main"}, connect_seconds=0.5, answer_seconds=1.0)
    with client, pytest.raises(redis.RedisError):
        client.ping()
    # When the first answer is overdue, the time for another try is over as well.
    assert time.monotonic() - begun < 1.9


def test_a_server_that_is_down_is_known_at_once() -> None:
    begun = time.monotonic()
    with connect(NOWHERE) as client, pytest.raises(redis.ConnectionError):
        client.ping()
    assert time.monotonic() - begun < 1


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("valkey") as running_server:
        yield running_server


def test_a_command_whose_connection_is_cut_is_sent_again(server: Server) -> None:
    with connect(server.url, wait=10) as client, connect(server.url) as other:
        cut = threading.Thread(target=lambda: (cut_off_who_waits(other), other.lpush("later", "job")))
        cut.start()
        assert client.blpop(["later"], timeout=10) == (b"later", b"job")
        cut.join()


def test_a_command_that_must_not_be_repeated_is_not(server: Server) -> None:
    with connect(server.url, wait=10, retries=0) as client, connect(server.url) as other:
        cut = threading.Thread(target=cut_off_who_waits, args=[other])
        cut.start()
        with pytest.raises(redis.ConnectionError):
            client.blpop(["never"], timeout=10)
        cut.join()


def cut_off_who_waits(client: redis.Redis) -> None:
    wait_until_blocked(client)
    for other in client.client_list():
        if other["cmd"] == "blpop":
            client.client_kill_filter(_id=other["id"])


def test_a_blocking_command_may_wait_longer_than_an_answer(server: Server) -> None:
    with connect(server.url, answer_seconds=0.2, wait=0.5) as waiting:
        assert waiting.blpop(["nothing"], timeout=0.5) is None
    with connect(server.url, answer_seconds=0.2, retries=0) as impatient, pytest.raises(redis.TimeoutError):
        impatient.blpop(["nothing"], timeout=0.5)


def test_replies_are_bytes_and_the_connection_has_a_name(server: Server) -> None:
    with connect(server.url, name="keeper") as client:
        assert client.execute_command("CLIENT", "GETNAME") == b"keeper"


def test_kombus_options_take_effect(server: Server) -> None:
    options = {"socket_timeout": 0.2, "max_connections": 1, "visibility_timeout": 3600}
    with connect(server.url, options, retries=0) as client:
        with pytest.raises(redis.TimeoutError):
            client.blpop(["nothing"], timeout=0.5)
        assert client.connection_pool.max_connections == 1


class Provider(redis.CredentialProvider):
    """Hands out the user and password of ``USERS``."""

    def get_credentials(self) -> tuple[str, str]:
        return "ada", "gehe!m"


def test_a_provider_of_credentials_is_asked() -> None:
    name = f"{__name__}:Provider"
    with running("valkey", tcp=True, config=USERS) as server:
        for url in (f"redis://127.0.0.1:{server.port}/0", server.url):
            with connect(f"{url}?credential_provider={name}") as client:
                assert client.execute_command("ACL", "WHOAMI") == b"ada"


def test_the_clients_of_a_sentinel_find_the_new_master() -> None:
    with running("valkey", tcp=True) as master, ExitStack() as stack:
        replica = stack.enter_context(running("valkey", "--replicaof", f"127.0.0.1 {master.port}", tcp=True))
        sentinel = stack.enter_context(watched(master))
        asked = stack.enter_context(redis.Redis(port=sentinel.port, decode_responses=True))
        wait_for(lambda: asked.sentinel_master("main")["num-slaves"] == 1, "the Sentinel has found the replica")
        client = stack.enter_context(connect(f"sentinel://127.0.0.1:{sentinel.port}", {"master_name": "main"}))
        client.set("accepted", 1)
        client.wait(1, 5000)
        master.process.kill()
        wait_for(lambda: _takes_writes(client), "the client has found the new master", 30)
        assert client.info("server")["tcp_port"] == replica.port
        assert client.get("accepted") == b"1"


def _takes_writes(client: redis.Redis) -> bool:
    try:
        return bool(client.set("taken", 1))
    except redis.RedisError:
        return False


def test_a_silent_sentinel_is_passed_over(silent: str) -> None:
    with running("valkey", tcp=True) as master, watched(master) as sentinel:
        given = {"REDIS_URL": f"sentinel://{silent};sentinel://127.0.0.1:{sentinel.port}"}
        settings = Settings.load(given | {"PENSTOCK_SENTINEL_MASTER": "main"})
        begun = time.monotonic()
        with connect(settings.redis_url, settings.broker_options) as client:
            assert client.ping()
        assert time.monotonic() - begun < SENTINEL_SECONDS + 1


def test_sentinels_without_the_name_of_a_master_are_refused() -> None:
    with pytest.raises(SettingsError, match="PENSTOCK_SENTINEL_MASTER"):
        connect("sentinel://127.0.0.1:26379")


def test_a_master_that_no_sentinel_knows_is_named() -> None:
    with running("valkey", tcp=True) as master, watched(master) as sentinel:
        url = f"sentinel://127.0.0.1:{sentinel.port}"
        with connect(url, {"master_name": "mian"}) as client:
            assert_sentence(url, client.ping, "No master found for 'mian'", "PENSTOCK_SENTINEL_MASTER")


def assert_sentence(url: str, command: Callable[[], object], *words: str) -> None:
    """The command is refused with one sentence that has all these words."""
    with pytest.raises(BrokerUnavailable) as caught, translated(url):
        command()
    for word in ("Redis at ", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
class TestSentences:
    """What each refusal of a real server says."""

    def test_full_memory(self, kind: str) -> None:
        options = ("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
        with running(kind, *options) as server, connect(server.url) as client:
            for push in (client.lpush, client.register_script("redis.call('LPUSH', KEYS[1], ARGV[1])")):
                assert_sentence(server.url, lambda push=push: fill(push), "is full", "raise its maxmemory")

    def test_no_password(self, kind: str) -> None:
        with running(kind, "--requirepass", "geheim") as server, connect(server.url) as client:
            assert_sentence(server.url, client.ping, "wants a password", "write it in REDIS_URL")

    def test_a_wrong_password(self, kind: str) -> None:
        with running(kind, "--requirepass", "geheim") as server:
            url = f"redis+socket://:falsch@{server.path}"
            with connect(url) as client:
                assert_sentence(url, client.ping, "does not know this user and password", "correct them in REDIS_URL")

    def test_a_command_that_the_user_may_not_use(self, kind: str) -> None:
        users = ["user default on nopass ~* &* +@all -lpush"]
        with running(kind, config=users) as server, connect(server.url) as client:
            assert_sentence(server.url, lambda: client.lpush("default", "job"), "does not allow", "ACL rule")

    def test_a_replica(self, kind: str) -> None:
        with running(kind, "--replicaof", "127.0.0.1 1") as server, connect(server.url) as client:
            assert_sentence(server.url, lambda: client.lpush("default", "job"), "is a replica", "name the master")

    def test_a_replica_without_a_master(self, kind: str) -> None:
        options = ("--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
        with running(kind, *options) as server, connect(server.url) as client:
            assert_sentence(server.url, lambda: client.get("x"), "has lost its master", "name the master")

    def test_a_master_that_becomes_a_replica_while_somebody_waits(self, kind: str) -> None:
        with running(kind) as server, connect(server.url, wait=5) as client, connect(server.url) as other:
            demotion = threading.Thread(target=lambda: (wait_until_blocked(other), other.replicaof("127.0.0.1", 1)))
            demotion.start()
            assert_sentence(server.url, lambda: client.blpop(["x"], timeout=5), "become a replica", "name the master")
            demotion.join()

    def test_a_part_of_a_cluster(self, kind: str) -> None:
        with running(kind, "--cluster-enabled", "yes", tcp=True) as server:
            url = f"redis://127.0.0.1:{server.port}/0"
            with connect(url) as client:
                assert_sentence(url, lambda: client.set("x", 1), "is part of a cluster", "Sentinel")

    def test_too_few_replicas(self, kind: str) -> None:
        with running(kind, "--min-replicas-to-write", "1") as server, connect(server.url) as client:
            assert_sentence(server.url, lambda: client.set("x", 1), "too few replicas", "min-replicas-to-write")

    def test_a_disk_that_takes_nothing(self, kind: str) -> None:
        with running(kind, "--save", "3600 1000", "--dbfilename", "dump") as server, connect(server.url) as client:
            client.set("x", 1)
            # A folder in the place of the file that Redis wants to write.
            (server.folder / "dump").mkdir()
            client.bgsave()
            wait_for(lambda: client.info()["rdb_last_bgsave_status"] == "err", "the snapshot has failed")
            assert_sentence(server.url, lambda: client.set("x", 1), "cannot write to its disk", "make room")

    def test_a_script_that_does_not_end(self, kind: str) -> None:
        with running(kind, "--busy-reply-threshold", "10") as server, ExitStack() as stack:
            client = stack.enter_context(connect(server.url, answer_seconds=20))
            other = stack.enter_context(connect(server.url))
            other.ping()  # A new connection would be refused before SCRIPT KILL could be said.
            held = threading.Thread(target=lambda: error_of(lambda: client.eval("while true do end", 0)))
            held.start()
            wait_for(lambda: "BUSY" in error_of(other.ping), "the server is busy")
            assert_sentence(server.url, other.ping, "is held up by somebody's script", "SCRIPT KILL")
            other.script_kill()
            held.join()

    def test_a_server_that_still_loads(self, kind: str) -> None:
        with running(kind) as server, connect(server.url) as client:
            client.mset({str(number): "x" * 100 for number in range(20_000)})
            client.save()
            dump = (server.folder / "dump.rdb").read_bytes()
        slowly = ("--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024")
        with restored(kind, dump, *slowly) as url, connect(url, answer_seconds=10) as client:
            assert_sentence(url, client.ping, "is still loading", "repeat when it has")

    def test_a_command_that_it_does_not_know(self, kind: str) -> None:
        with running(kind) as server, connect(server.url) as client:
            assert_sentence(server.url, lambda: client.execute_command("FROB"), "refused a command", "FROB")


def fill(push: Callable[..., Any]) -> None:
    job = "x" * 1000
    for _ in range(5000):
        push(["default"], [job]) if isinstance(push, Script) else push("default", job)


def wait_until_blocked(client: redis.Redis) -> None:
    wait_for(lambda: client.info("clients")["blocked_clients"], "somebody waits")


@contextmanager
def restored(kind: str, dump: bytes, *options: str) -> Iterator[str]:
    """The address of a server that begins with these data."""
    with running(kind) as place:
        (place.folder / "given.rdb").write_bytes(dump)
        given = ("--dir", str(place.folder), "--dbfilename", "given.rdb")
        with running(kind, *given, *options) as server:
            yield server.url


def error_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except redis.RedisError as error:
        return str(error)
    return ""


def test_a_certificate_that_nobody_vouches_for_is_named() -> None:
    with secured() as (server, _):
        url = f"rediss://localhost:{server.port}/0?ssl_cert_reqs=required"
        with connect(url) as client:
            assert_sentence(url, client.ping, "a certificate that is not trusted", "correct ssl_ca_certs")


def test_a_server_that_is_down_or_silent_is_named_with_its_remedy(silent: str) -> None:
    with connect(NOWHERE) as client:
        assert_sentence(NOWHERE, client.ping, "does not answer", "Connection refused", "correct REDIS_URL")
    with connect(f"redis://{silent}/0", answer_seconds=0.1, retries=0) as client:
        assert_sentence(f"redis://{silent}/0", client.ping, "does not answer (Timeout", "correct REDIS_URL")


@pytest.mark.parametrize(
    "url",
    [
        "redis://ada:geheim@host:6379/0",
        "rediss://:geheim@host/0?ssl_cert_reqs=none",
        "redis+socket://:geheim@/run/redis.sock?virtual_host=1",
        "sentinel://:geheim@a:26379/0;sentinel://:geheim@b:26379/0",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    assert "geheim" not in shown(url)
    assert "geheim" not in str(unavailable(url, redis.ConnectionError("refused")))
