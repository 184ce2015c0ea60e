"""Where Flower serves and for whom: Flower's own variables first, then loopback and a password that is kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.config import Settings
from penstock.errors import SettingsError
from penstock.flower import Access
from tests.live import ROOT

LOAD = (
    "from penstock import Settings; from penstock.flower import Access; print(*Access.load(Settings.load()).basic_auth)"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({"REDIS_URL": "redis://unused", "PENSTOCK_VAR": str(tmp_path / "var")})


def test_by_default_it_is_on_loopback(settings: Settings) -> None:
    access = Access.load(settings, {})
    assert (access.address, access.port) == ("127.0.0.1", 5555)


def test_flowers_own_variables_decide(settings: Settings) -> None:
    access = Access.load(settings, {"FLOWER_ADDRESS": "0.0.0.0", "FLOWER_PORT": "8080", "FLOWER_BASIC_AUTH": "a:b,c:d"})  # noqa: S104
    assert access == Access("0.0.0.0", 8080, ("a:b", "c:d"), None)  # noqa: S104
    assert not settings.var.exists()


@pytest.mark.parametrize(
    ("address", "url"),
    [("", "http://127.0.0.1:8080"), ("::", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")],
    ids=["by default", "everywhere", "IPv6"],
)
def test_its_url_leads_a_browser_on_this_host_to_it(settings: Settings, address: str, url: str) -> None:
    environ = {"FLOWER_ADDRESS": address, "FLOWER_PORT": "8080", "FLOWER_BASIC_AUTH": "a:b"}
    assert Access.load(settings, environ).url == url


def test_oauth_needs_no_password(settings: Settings) -> None:
    assert Access.load(settings, {"FLOWER_AUTH": ".*@example.org"}).basic_auth == ()


def test_a_password_is_made_once_and_kept_where_only_its_user_can_read_it(settings: Settings) -> None:
    first = Access.load(settings, {})
    assert first.credentials == settings.var / "flower-credentials"
    assert first.credentials.stat().st_mode & 0o777 == 0o600
    assert first.basic_auth == (first.credentials.read_text().strip(),)
    assert Access.load(settings, {}) == first


def test_two_folders_have_different_passwords(settings: Settings, tmp_path: Path) -> None:
    other = Settings.load({"REDIS_URL": "redis://unused", "PENSTOCK_VAR": str(tmp_path / "other")})
    assert Access.load(settings, {}).basic_auth != Access.load(other, {}).basic_auth


def test_processes_that_start_at_once_agree_on_one_password(settings: Settings) -> None:
    environment = {"REDIS_URL": "redis://unused", "PENSTOCK_VAR": str(settings.var), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, "-c", LOAD], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = {process.communicate(timeout=30)[0] for process in started}
    assert answers == {(settings.var / "flower-credentials").read_text()}
    assert [path.name for path in settings.var.iterdir()] == ["flower-credentials"]


@pytest.mark.parametrize("content", [b"", b"no colon", b":no user", b"no password:"])
def test_a_file_that_holds_no_credentials_is_refused(settings: Settings, content: bytes) -> None:
    settings.var.mkdir()
    (settings.var / "flower-credentials").write_bytes(content)
    with pytest.raises(SettingsError, match="does not hold user:password; remove it"):
        Access.load(settings, {})


def test_a_file_that_cannot_be_read_is_refused(settings: Settings) -> None:
    (settings.var / "flower-credentials").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"cannot be used .*; mend or remove it"):
        Access.load(settings, {})


@pytest.mark.parametrize("port", ["http", "0", "65536"])
def test_a_port_that_is_none_is_refused(settings: Settings, port: str) -> None:
    with pytest.raises(SettingsError, match=r"FLOWER_PORT: .* give (one|a number) from 1 to 65535"):
        Access.load(settings, {"FLOWER_PORT": port})
