"""Arguments that are shown without secrets and come back edited: what was hidden and not touched stays as it was."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.app import PenstockApp
from penstock.operations.jobs.arguments import BadArguments, as_text, edited, names_of, shown
from penstock.operations.jobs.retry import Edited
from penstock.redaction import Redaction
from tests import jobs as tasks
from tests.conftest import NewLedger
from tests.operations.jobs.lives import job

HIDES = Redaction()


@pytest.fixture
def database_url(new_ledger: NewLedger) -> Iterator[str]:
    """No statement runs here."""
    with new_ledger("sqlite") as url:
        yield url


def after(app: PenstockApp, args: list[Any], kwargs: dict[str, Any], *replaced: tuple[str, str]) -> Edited:
    """What comes of it when somebody replaces texts in the form."""
    row = job(task="t", args=args, kwargs=kwargs)
    texts = [as_text(each) for each in shown(app, row, HIDES)]
    for old, new in replaced:
        assert any(old in text for text in texts)
        texts = [text.replace(old, new) for text in texts]
    return edited(app, row, HIDES, *texts)


def test_a_form_that_was_not_touched_changes_nothing(app: PenstockApp) -> None:
    assert after(app, [{"password": "abc"}], {"token": "xyz"}) == Edited()


def test_a_secret_that_was_not_touched_is_the_jobs_own(app: PenstockApp) -> None:
    changed = after(app, [], {"token": "xyz", "user": {"name": "ann", "password": "abc"}}, ("ann", "bob"))
    assert changed == Edited(kwargs={"token": "xyz", "user": {"name": "bob", "password": "abc"}})


def test_a_secret_can_be_written_anew(app: PenstockApp) -> None:
    assert after(app, [], {"token": "xyz"}, ("***", "new")) == Edited(kwargs={"token": "new"})


def test_a_secret_inside_a_text_is_kept_with_its_text(app: PenstockApp) -> None:
    url = "https://ann:abc@example.org"
    assert after(app, [url, 1], {}, ("1", "2")) == Edited(args=[url, 2])


def test_a_text_with_a_hidden_part_cannot_be_edited_around_it(app: PenstockApp) -> None:
    with pytest.raises(BadArguments, match=r"args\[0\] holds \*\*\*"):
        after(app, ["https://ann:abc@example.org"], {}, ("example.org", "example.com"))


def test_a_secret_that_was_moved_is_refused(app: PenstockApp) -> None:
    with pytest.raises(BadArguments, match=r"kwargs\.other holds \*\*\*"):
        after(app, [], {"token": "xyz"}, ("token", "other"))


def test_in_a_list_of_another_length_nobody_guesses_which_secret_is_which(app: PenstockApp) -> None:
    secrets = [{"token": "one"}, {"token": "two"}]
    hidden = '  {\n    "token": "***"\n  },\n'
    with pytest.raises(BadArguments, match=r"args\[0\]\.token holds"):
        after(app, secrets, {}, (hidden, ""))


def test_a_new_argument_is_taken(app: PenstockApp) -> None:
    assert after(app, [1], {}, ("1", "1, 2")) == Edited(args=[1, 2])


def test_true_in_place_of_one_is_a_change(app: PenstockApp) -> None:
    changed = after(app, [1], {}, ("1", "true"))
    assert changed.args is not None
    assert changed.args[0] is True


def test_stars_of_the_jobs_own_are_kept(app: PenstockApp) -> None:
    assert after(app, ["***", 1], {}, ("1", "2")) == Edited(args=["***", 2])


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ("[1,", "{}", "the positional arguments are not JSON"),
        ("{}", "{}", "the positional arguments are to be a JSON array"),
        ("[]", "[]", "the named arguments are to be a JSON object"),
        ("[NaN]", "{}", "hold NaN, which is no JSON"),
        ("[" * 100_000, "{}", "the positional arguments are not JSON"),
    ],
)
def test_what_cannot_be_arguments_is_refused(app: PenstockApp, args: str, kwargs: str, message: str) -> None:
    with pytest.raises(BadArguments, match=message):
        edited(app, job(task="t", args=[], kwargs={}), HIDES, args, kwargs)


def test_arguments_that_the_ledger_has_not_can_be_given(app: PenstockApp) -> None:
    row = job(task="t", args=None, kwargs=None)
    assert edited(app, row, HIDES, "[]", "{}") == Edited(args=[], kwargs={})


def test_what_cannot_be_seen_comes_back_as_it_was() -> None:
    assert as_text(["a\u202eb\u00a0\x00\U000e0001"]) == '[\n  "a\\u202eb\\u00a0\\u0000\\udb40\\udc01"\n]'


def test_positional_arguments_are_named_by_their_task(app: PenstockApp) -> None:
    assert names_of(app, tasks.add.name) == ["left", "right"]
    assert names_of(app, "tests.progressing") == ["until"]
    assert names_of(app, "nobody.knows") == []
