"""Settings: read as a whole, every problem at once, each with its remedy."""

import dataclasses
import json
from pathlib import Path

import pytest

from penstock import Settings, load
from penstock.errors import SettingsError
from tasks.config import TaskSettings

REDIS = {"REDIS_URL": "redis://localhost:6379/0"}


def problems(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.load(environ)
    return str(raised.value)


def test_every_problem_is_reported_at_once() -> None:
    text = problems({"REDIS_URL": "amqp://host", "DATABASE_URL": "oracle://x", "PENSTOCK_DRAIN_SECONDS": "soon"})
    assert text.startswith("3 problems")
    assert all(name in text for name in ("REDIS_URL", "DATABASE_URL", "PENSTOCK_DRAIN_SECONDS"))


def test_the_problems_of_several_classes_come_in_one_error() -> None:
    with pytest.raises(SettingsError) as raised:
        load(Settings, TaskSettings, environ={"REDIS_URL": "amqp://host", "TASKS_EGRESS_ALLOW": "everything"})
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["REDIS_URL", "TASKS_EGRESS_ALLOW"]


def test_a_misspelt_setting_is_an_error_that_suggests_the_right_name() -> None:
    assert "did you mean PENSTOCK_DRAIN_SECONDS?" in problems(REDIS | {"PENSTOCK_DRAIN_SECOND": "5"})


def test_a_number_out_of_bounds_names_the_bounds() -> None:
    assert "from 1 to 3600" in problems(REDIS | {"PENSTOCK_DRAIN_SECONDS": "0"})


def test_every_rule_of_retention_that_makes_no_sense_is_named() -> None:
    text = problems(REDIS | {"PENSTOCK_RETENTION": "succeeded=7d,running=1d,failed=soon", "PENSTOCK_CRASH_LIMIT": "0"})
    assert "PENSTOCK_RETENTION: 'running' is none of succeeded, failed, cancelled" in text
    assert "'failed=soon': give an age from 1h to 3650d, such as 12h, 7d or 2w, or forever" in text
    assert "PENSTOCK_CRASH_LIMIT" in text


def test_an_unknown_time_zone_suggests_the_nearest() -> None:
    assert "did you mean Europe/Berlin?" in problems(REDIS | {"PENSTOCK_TIMEZONE": "Europe/Berlim"})


def test_a_password_in_a_refused_address_is_not_shown() -> None:
    assert "geheim" not in problems(REDIS | {"DATABASE_URL": "oracle://user:geheim@host/db"})
    assert "geheim" not in problems({"REDIS_URL": "amqp://user:geheim@host"})


@pytest.mark.parametrize(
    ("variable", "address", "complaint"),
    [
        ("REDIS_URL", "redis://localhost:abc/0", "the port is not a number"),
        ("REDIS_URL", "redis://localhost/abc", "the database is not a number"),
        ("REDIS_URL", "redis://localhost/0?db=1", "'db' is not an option"),
        ("REDIS_URL", "rediss://localhost/0?ssl_cert_reqs=yes", "write ?ssl_cert_reqs=required"),
        ("REDIS_URL", "redis+socket://", "the path of the socket is missing"),
        ("REDIS_URL", "redis+socket:///run/redis?virtual_host=a", "the database is not a number"),
        ("REDIS_URL", "redis+socket:///run/redis?password=secret", "'password' is not an option"),
        ("REDIS_URL", "sentinel://a:26379;b:26379", "write sentinel://host:26379/0;sentinel://host:26379/0"),
        ("REDIS_URL", "sentinel://a:26379;sentinel://b:abc", "the port is not a number"),
        ("REDIS_URL", "sentinel://a:26379;sentinel://b:26379/1", "the same in each address"),
        ("REDIS_URL", "sentinel://:secret@a:26379;sentinel://b:26379", "the same in each address"),
        ("DATABASE_URL", "postgresql://host:abc/db", "the port is not a number"),
        ("DATABASE_URL", "sqlite://", "name a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "name a file"),
    ],
)
def test_an_address_that_cannot_work_is_refused(variable: str, address: str, complaint: str) -> None:
    assert complaint in problems(REDIS | {variable: address})


def test_without_a_broker_the_remedy_is_named(tmp_path: Path) -> None:
    text = problems({"PENSTOCK_VAR": str(tmp_path)})
    assert "REDIS_URL: is not set" in text
    assert "make up" in text


def test_the_embedded_server_is_found_through_its_file(tmp_path: Path) -> None:
    (tmp_path / "embedded.json").write_text(json.dumps({"redis_url": "redis://127.0.0.1:4711/0"}))
    assert Settings.load({"PENSTOCK_VAR": str(tmp_path)}).redis_url == "redis://127.0.0.1:4711/0"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"redis_url"'])
def test_a_broken_file_of_the_embedded_server_is_a_problem_with_a_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "embedded.json").write_text(content)
    assert "run `make up` again" in problems({"PENSTOCK_VAR": str(tmp_path)})


def test_an_empty_variable_counts_as_absent(tmp_path: Path) -> None:
    settings = Settings.load(REDIS | {"DATABASE_URL": "", "PENSTOCK_VAR": str(tmp_path)})
    assert settings.database_url == f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_common_spelling_of_postgresql_gets_the_right_driver(scheme: str) -> None:
    settings = Settings.load(REDIS | {"DATABASE_URL": f"{scheme}://u:p@h/db"})
    assert settings.database_url == "postgresql+psycopg://u:p@h/db"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    assert "is a file; name a folder" in problems(REDIS | {"PENSTOCK_VAR": str(tmp_path / "var")})


@pytest.mark.parametrize(
    "address",
    [
        "redis://ada:secret@localhost:6379/0",
        "rediss://localhost/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false",
        "redis+socket://:secret@/run/redis.sock?virtual_host=1",
        "redis://localhost/0?credential_provider=rooms.access:Provider",
        "sentinel://:secret@a:26379/1;sentinel://:secret@b/1",
    ],
)
def test_every_form_of_address_that_kombu_reads_is_accepted(address: str) -> None:
    assert Settings.load({"REDIS_URL": address, "PENSTOCK_SENTINEL_MASTER": "main"}).redis_url == address


def test_sentinels_need_the_name_of_the_master() -> None:
    text = problems({"REDIS_URL": "sentinel://a:26379;sentinel://b:26379"})
    assert "PENSTOCK_SENTINEL_MASTER: is not set" in text
    assert text.startswith("1 problem")


def test_the_name_of_the_master_reaches_kombu() -> None:
    settings = Settings.load({"REDIS_URL": "sentinel://a:26379", "PENSTOCK_SENTINEL_MASTER": "main"})
    assert settings.broker_options["master_name"] == "main"
    assert "master_name" not in Settings.load(REDIS).broker_options


def test_the_lease_and_the_crash_limit_reach_the_transport() -> None:
    """By kombu's transport options, as in an app of somebody else."""
    settings = Settings.load({**REDIS, "PENSTOCK_LEASE_SECONDS": "7", "PENSTOCK_CRASH_LIMIT": "2"})
    assert settings.broker_options["lease_seconds"] == 7
    assert settings.broker_options["crash_limit"] == 2


@pytest.mark.parametrize(
    ("variable", "outside", "bounds"),
    [("PENSTOCK_LEASE_SECONDS", "4", "from 5 to 300"), ("PENSTOCK_CRASH_LIMIT", "101", "from 1 to 100")],
)
def test_the_bounds_of_recovery_are_named(variable: str, outside: str, bounds: str) -> None:
    assert bounds in problems(REDIS | {variable: outside})


def test_a_silent_worker_keeps_its_claims_for_ten_seconds_and_a_job_may_crash_three_times() -> None:
    settings = Settings.load(REDIS)
    assert (settings.lease_seconds, settings.crash_limit) == (10, 3)


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.load(REDIS).timezone = "Europe/Berlin"  # type: ignore[misc]


def test_names_of_secrets_and_of_what_may_be_searched_are_words() -> None:
    settings = Settings.load(
        {**REDIS, "PENSTOCK_REDACT": "iban, Pass-Phrase", "PENSTOCK_SEARCHABLE": "order_id,customer"}
    )
    assert (settings.redact, settings.searchable) == (("iban", "Pass-Phrase"), ("order_id", "customer"))
    assert [settings.redaction.is_secret(name) for name in ("IBAN_2", "passphrase", "password")] == [True, True, False]


def test_the_usual_names_of_secrets_are_hidden_and_no_argument_may_be_searched_unless_settings_say_so() -> None:
    settings = Settings.load({**REDIS, "PENSTOCK_REDACT": " , "})
    assert settings.redaction.is_secret("db_password")
    assert settings.searchable == ()
    assert Settings.load(REDIS).redact == settings.redact


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("PENSTOCK_REDACT", "iban,a b", "'a b' is no part of a name; give letters"),
        ("PENSTOCK_REDACT", "_", "'_' is no part of a name"),
        ("PENSTOCK_SEARCHABLE", "order_id,order-id", "'order-id' is no name that an argument can be searched by"),
        ("PENSTOCK_SEARCHABLE", "größe", "'größe' is no name"),
        (
            "PENSTOCK_SEARCHABLE",
            "a,user_token",
            "'user_token' is hidden by PENSTOCK_REDACT; take it out of one of them",
        ),
    ],
)
def test_words_that_can_name_nothing_are_refused(variable: str, text: str, complaint: str) -> None:
    assert f"{variable}: {complaint}" in problems({**REDIS, variable: text})
