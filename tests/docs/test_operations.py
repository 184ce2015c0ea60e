"""docs/operations.md: the configuration that it shows works, and its tables have what there is."""

import json
import re
import subprocess
import sys

from demo.operations.questions import QUESTIONS
from penstock.flower.roles import Role
from penstock.flower.routes import ROUTES
from tests.live import ROOT

PAGE = (ROOT / "docs/operations.md").read_text()
TELL = "\nimport json\nprint(json.dumps([address, port, basic_auth]))\n"


def rows(heading: str) -> list[str]:
    """The first cells of the table whose first heading is this."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)


def test_the_configuration_of_flower_that_it_shows_works(environment: dict[str, str]) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    variables = environment | {"FLOWER_BASIC_AUTH": "ada:secret", "FLOWER_PORT": "5999"}
    done = subprocess.run(
        [sys.executable, "-c", block + TELL], env=variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["127.0.0.1", 5999, ["ada:secret"]]


def test_it_has_every_page_of_the_navigation_and_the_job() -> None:
    labels = [page.label for _, page, _ in ROUTES if page.label]
    assert [name for name in rows("page") if name != "Job"] == labels


def test_it_has_every_role() -> None:
    assert rows("role") == [role.word for role in Role]


def test_it_has_a_picture_for_every_question() -> None:
    pictures = re.findall(r"\]\(pictures/operations/(\w+)\.png\)", PAGE)
    assert pictures == [question.name for question in QUESTIONS]
    assert all((ROOT / f"docs/pictures/operations/{name}.png").is_file() for name in pictures)
