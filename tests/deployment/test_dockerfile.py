"""Dockerfile and .dockerignore against the checkout and the code that the image runs."""

import json
import re
import tomllib

from tests.deployment.conftest import Understood
from tests.deployment.dockerfile import ROOT, copied, image_environment, instructions, stages

IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
# Where the two stages hand over the virtual environment.
ENVIRONMENT = "/opt/penstock"


def _runs(stage: int) -> list[str]:
    return [step.strip() for word, rest in stages()[stage] if word == "RUN" for step in rest.split("&&")]


def test_everything_that_is_copied_exists() -> None:
    for stage in stages():
        for source in copied(stage):
            assert (ROOT / source).exists(), source


def test_nothing_but_what_is_copied_reaches_the_build() -> None:
    assert IGNORED[0] == "*"
    allowed = {line.removeprefix("!") for line in IGNORED if line.startswith("!")}
    assert allowed == {source for stage in stages() for source in copied(stage)}
    assert "**/__pycache__" in IGNORED[1:]


def test_every_package_comes_from_a_lock_with_hashes() -> None:
    installs = [run for stage in range(len(stages())) for run in _runs(stage) if re.search(r"pip\S* install", run)]
    locked = [run for run in installs if "--require-hashes -r requirements/" in run]
    own = [run for run in installs if run.endswith("--no-index --no-deps wheels/*.whl")]
    assert len(locked) == 2
    assert len(own) == 1
    assert sorted(installs) == sorted(locked + own)


def test_the_locks_name_a_hash_for_each_package() -> None:
    for name in re.findall(r"-r (requirements/\S+)", " ".join(_runs(0))):
        packages = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
        named = [package for package in packages if not package.startswith("#")]
        assert named
        assert [package for package in named if "--hash=sha256:" not in package] == []


def test_the_lock_that_is_installed_is_that_of_production() -> None:
    (install,) = (run for run in _runs(0) if run.startswith(f"{ENVIRONMENT}/bin/pip install --require-hashes"))
    assert install.endswith("-r requirements/production.txt")


def test_what_is_installed_lets_a_profile_be_of_any_kind() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["asyncio"]
    needed = {re.split(r"\W", each)[0] for each in asked} - {"penstock"}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/production.txt").read_text(), re.MULTILINE))
    assert needed
    assert needed <= locked


def test_the_library_arrives_as_a_wheel_and_the_rooms_as_folders(understood: Understood) -> None:
    rooms = {source.removesuffix(".py") for source in copied(stages()[-1])}
    # Flower, not the app, reads flowerconfig.
    assert rooms == understood.modules - {"penstock", "tests"} | {"flowerconfig"}
    assert "penstock" in understood.modules
    assert "penstock" in copied(stages()[0])


def test_the_process_is_a_numbered_user_without_rights() -> None:
    users = [rest for word, rest in stages()[-1] if word == "USER"]
    assert len(users) == 1
    uid, gid = users[0].split(":")
    assert int(uid) >= 10000
    assert uid == gid
    assert any(run.startswith(f"useradd --uid {uid} ") for run in _runs(-1))
    assert [word for word, _ in stages()[-1][-3:]] == ["USER", "STOPSIGNAL", "CMD"]


def test_the_folders_that_it_writes_to_are_its_own() -> None:
    (made,) = (run for run in _runs(-1) if run.startswith("install -d -o penstock -g penstock "))
    environment = image_environment()
    assert set(made.split()[6:]) == {environment["PENSTOCK_VAR"], environment["TASKS_REPORTS_FOLDER"]}


def test_the_image_has_the_variables_that_its_process_needs() -> None:
    environment = image_environment()
    assert environment["PATH"] == f"{ENVIRONMENT}/bin:$PATH"
    assert environment["PYTHONUNBUFFERED"] == "1"
    (folder,) = (rest for word, rest in stages()[-1] if word == "WORKDIR")
    assert environment["PYTHONPATH"] == folder


def test_both_stages_have_one_python_of_a_version_that_the_library_supports() -> None:
    (argument,) = (rest for word, rest in instructions() if word == "ARG")
    bases = [stage[0][1].split()[0] for stage in stages()]
    assert bases == ["${PYTHON}", "${PYTHON}"]
    version = re.fullmatch(r"PYTHON=python:(3\.\d+)-slim-\w+", argument)
    assert version is not None
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version[1]}" in classifiers


def test_the_build_tools_stay_behind() -> None:
    kept = [rest for word, rest in stages()[-1] if word == "COPY" and "--from" in rest]
    assert kept == [f"--from=build {ENVIRONMENT} {ENVIRONMENT}"]
    assert _runs(0)[-1] == f"{ENVIRONMENT}/bin/pip uninstall --yes pip"


def test_the_image_alone_checks_itself(understood: Understood) -> None:
    (default,) = (rest for word, rest in stages()[-1] if word == "CMD")
    assert understood.commands[" ".join(json.loads(default))]["path"] == "celery check"
